//! Why frames cannot be sampled.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::{filter::FilterError, kernel::KernelError};

/// Why frames cannot be sampled.
#[derive(Debug, Error)]
pub enum SamplingError {
    /// The filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// Another process samples.
    #[error(
        "{} samples refused frames in this network namespace already, and only one can at a time: \
         end it first",
        process(*.0)
    )]
    Busy(Option<u32>),
    /// Another process goes first.
    #[error(
        "{} samples refused frames now, and this one gave way to it",
        process(*.0)
    )]
    GaveWay(Option<u32>),
    /// The programs have no maps for samples.
    #[error(
        "the programs in force cannot hand out samples: they are those of an earlier mpls-xdp, or \
         the pin {0} was removed; apply the policy again"
    )]
    NoPins(PathBuf),
    /// No such ingress.
    #[error("the policy in force has no ingress {0}; it has {1}")]
    NoIngress(String, String),
    /// The filter went away.
    #[error("the filter was taken off: nothing is refused any more")]
    TakenOff,
    /// The lock that says who goes first.
    #[error("cannot see whether somebody else wants to sample: {0}")]
    Right(#[source] io::Error),
    /// The clock.
    #[error("cannot read the clock: {0}")]
    Clock(#[from] nix::Error),
}

impl From<KernelError> for SamplingError {
    fn from(error: KernelError) -> Self {
        FilterError::from(error).into()
    }
}

fn process(number: Option<u32>) -> String {
    number.map_or_else(|| "another process".to_owned(), |number| format!("process {number}"))
}
