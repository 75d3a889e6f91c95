//! One answer to a scrape.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, prometheus_text, text},
    registry::Registry,
};

use super::families::{Families, PREFIX};
use crate::filter::{FilterError, Folders, Observation, observe};

/// How an exposition is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The older text format 0.0.4, which is all that node_exporter's textfile collector reads.
    Text,
}

impl Format {
    /// The best that an HTTP client takes, by its `Accept` header.
    pub fn accepted(header: &str) -> Self {
        match header.contains("application/openmetrics-text") {
            true => Self::OpenMetrics,
            false => Self::Text,
        }
    }

    /// The `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// What there is to tell at one moment.
#[derive(Debug)]
pub struct Exposition {
    in_force: Option<Observation>,
    problems: usize,
}

impl Exposition {
    /// Looks at the filter. No policy is an answer too.
    ///
    /// # Errors
    ///
    /// When the kernel cannot be asked.
    pub fn take(folders: &Folders) -> Result<Self, FilterError> {
        match observe(folders) {
            Ok(observation) => {
                let problems = observation.status.problems.len();
                Ok(Self { in_force: Some(observation), problems })
            }
            Err(FilterError::NoPolicy) => Ok(Self { in_force: None, problems: 0 }),
            Err(FilterError::PolicyLost) => Ok(Self { in_force: None, problems: 1 }),
            Err(error) => Err(error),
        }
    }

    /// Its text.
    pub fn write(self, format: Format) -> String {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        let written = match format {
            Format::OpenMetrics => text::encode(&mut text, &registry),
            Format::Text => prometheus_text::encode(&mut text, &registry),
        };
        written.expect("every value is a number that both formats have");
        text
    }
}

impl Collector for Exposition {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        families.build()?;
        families.in_force(self.in_force.is_some())?;
        families.problems(self.problems)?;
        self.in_force.as_ref().map_or(Ok(()), |observation| families.policy(observation))
    }
}
