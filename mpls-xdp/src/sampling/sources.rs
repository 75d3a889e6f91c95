//! Who sent the frames that have something in common.

use super::MacAddress;

/// Sources of frames, of which the first `KEPT` are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources<const KEPT: usize> {
    /// Those that are kept, in the order in which they were seen.
    pub kept: Vec<MacAddress>,
    /// Whether there are others.
    pub more: bool,
}

impl<const KEPT: usize> Sources<KEPT> {
    /// Adds one, unless it is there.
    pub fn add(&mut self, source: MacAddress) {
        if self.kept.contains(&source) {
            return;
        }
        if self.kept.len() < KEPT {
            self.kept.push(source);
        } else {
            self.more = true;
        }
    }

    /// Adds those of others.
    pub fn join(&mut self, others: &Self) {
        others.kept.iter().for_each(|source| self.add(*source));
        self.more |= others.more;
    }
}
