//! A look at the filter that keeps no command from its work, nor waits for one.

use std::{collections::BTreeSet, ffi::OsString, path::Path};

use super::{FilterError, Folders, Stats, Status, stats::stats_of, status::status_of};
use crate::{
    kernel::{Pins, PolicyMap},
    router,
};

/// How often a look is taken again because a command changed the policy meanwhile.
const ATTEMPTS: usize = 10;

/// The filter's state and counters, both of one generation.
#[derive(Debug)]
pub struct Observation {
    /// What is in force, and whether it is.
    pub status: Status,
    /// The counters.
    pub stats: Stats,
}

/// Looks at the policy in force and its counters, also while another command is at work: before it
/// has switched that is the old policy, afterwards the new one.
///
/// # Errors
///
/// When no policy is applied, or the kernel cannot be asked.
pub fn observe(folders: &Folders) -> Result<Observation, FilterError> {
    let namespace = router::namespace_cookie()?;
    let pins = Pins::new(&folders.bpffs, namespace)?;
    let state = folders.state_of(namespace);
    let mut last = Err(FilterError::KeepsChanging);
    for _ in 0..ATTEMPTS {
        let before = stamp(&pins)?;
        last = look(&pins, &state);
        // Counter slots get other names only after the policy was changed twice.
        let steady = before == stamp(&pins)?;
        match &last {
            Ok(observation) if steady && observation.is_of_one_generation() => return last,
            // What it was looking for may have gone while it looked.
            Err(_) => {}
            Ok(_) => last = Err(FilterError::KeepsChanging),
        }
    }
    last
}

/// The pins of maps with their inodes, and how often each policy map was written.
type Stamp = (BTreeSet<(OsString, u64)>, Vec<u32>);

/// What changes when another policy is written or comes into force.
fn stamp(pins: &Pins) -> Result<Stamp, FilterError> {
    let mut writes = Vec::new();
    for (path, _) in pins.numbered("policy-")? {
        // One that has gone meanwhile is not in the other stamp.
        writes.extend(PolicyMap::open(&path).map(|map| map.writes()));
    }
    Ok((pins.maps()?, writes))
}

fn look(pins: &Pins, state: &Path) -> Result<Observation, FilterError> {
    Ok(Observation { status: status_of(pins, state)?, stats: stats_of(pins)? })
}

impl Observation {
    fn is_of_one_generation(&self) -> bool {
        self.status.generation == self.stats.generation
    }
}
