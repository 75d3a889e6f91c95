//! Where a policy file says what its policy means.

use std::ops::RangeInclusive;

use super::ContextId;
use super::draft::Draft;
use super::labels::LabelList;
use super::source::Source;

/// The lines of a policy file, from 1, for those who explain what the policy decides.
#[derive(Debug, Default)]
pub struct Places {
    contexts: Vec<Place>,
    ingresses: Vec<Place>,
}

/// The lines of a context or an ingress.
#[derive(Debug)]
struct Place {
    line: usize,
    /// By both ends, and the line of each.
    labels: Vec<(RangeInclusive<u32>, usize)>,
}

impl Places {
    pub(super) fn new(source: &Source<'_>, draft: &Draft) -> Self {
        let place = |name: &toml::Spanned<String>, labels: Option<&LabelList>| Place {
            line: source.line(name.span().start),
            labels: labels
                .into_iter()
                .flat_map(LabelList::written)
                .map(|range| (range.first..=range.last, source.line(range.span.start)))
                .collect(),
        };
        let contexts = draft.contexts.iter();
        let ingresses = draft.ingresses.iter();
        Self {
            contexts: contexts
                .map(|context| place(&context.name, context.labels.as_ref()))
                .collect(),
            ingresses: ingresses
                .map(|ingress| place(&ingress.name, ingress.labels.as_ref()))
                .collect(),
        }
    }

    /// The line of a context.
    pub fn context(&self, context: ContextId) -> Option<usize> {
        Some(self.contexts.get(context.0)?.line)
    }

    /// The line of the ingress at this place of [`Policy::ingresses`](super::Policy::ingresses).
    pub fn ingress(&self, index: usize) -> Option<usize> {
        Some(self.ingresses.get(index)?.line)
    }

    /// The line on which a context has a label.
    pub fn context_label(&self, context: ContextId, label: u32) -> Option<usize> {
        self.contexts.get(context.0)?.label(label)
    }

    /// The line on which the `labels` of an ingress have a label.
    pub fn ingress_label(&self, index: usize, label: u32) -> Option<usize> {
        self.ingresses.get(index)?.label(label)
    }
}

impl Place {
    fn label(&self, label: u32) -> Option<usize> {
        let found = self.labels.partition_point(|(range, _)| *range.end() < label);
        let (range, line) = self.labels.get(found)?;
        range.contains(&label).then_some(*line)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ContextId, parse};

    const POLICY: &str = "version = 1
[contexts.core]
kind = \"transport\"
labels = [
  16,
  \"100-199\", 300,
]

[ingress.p]
interface = \"eth1\"
role = \"peer\"
contexts = [\"core\"]
labels = [400]
";

    #[test]
    fn contexts_ingresses_and_labels_are_found_again() {
        let places = parse("p.toml", POLICY).places;
        let core = ContextId(0);
        assert_eq!((places.context(core), places.ingress(0)), (Some(2), Some(9)));
        let lines = [16, 17, 100, 199, 200, 300, 301].map(|l| places.context_label(core, l));
        assert_eq!(lines, [Some(5), None, Some(6), Some(6), None, Some(6), None]);
        assert_eq!([400, 100].map(|l| places.ingress_label(0, l)), [Some(13), None]);
    }

    #[test]
    fn what_is_not_in_the_file_has_no_line() {
        let places = parse("p.toml", "version = 1\n").places;
        assert_eq!(places.context(ContextId(0)), None);
        assert_eq!(places.ingress_label(0, 16), None);
    }
}
