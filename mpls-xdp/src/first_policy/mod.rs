//! The first policy of a router, from what its kernel knows.
//!
//! A kernel knows interfaces, VRFs and labels, and not who is on the other side. What it does not
//! know is left to the operator and marked with `DECIDE`; until then nothing is accepted there.

mod contexts;
mod ingresses;
mod text;

use crate::router::{self, LabelRoute, Links, RouterError};

pub use self::ingresses::UnknownCore;

/// What a kernel knows about its router.
#[derive(Debug, Clone)]
pub struct Router {
    /// The interfaces.
    pub links: Links,
    /// Names of the interfaces on which it accepts MPLS.
    pub inputs: Vec<String>,
    /// The label table.
    pub labels: Vec<LabelRoute>,
}

impl Router {
    /// Asks the kernel, about the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub fn read() -> Result<Self, RouterError> {
        Ok(Self {
            links: Links::read()?,
            inputs: router::mpls_inputs()?,
            labels: router::label_table()?,
        })
    }

    /// The text of a policy file; the interfaces of `core` are known to be the own network.
    ///
    /// # Errors
    ///
    /// When one of `core` does not accept MPLS here, or can be no ingress.
    pub fn first_policy(&self, core: &[String]) -> Result<String, UnknownCore> {
        let contexts = contexts::find(self);
        let ingresses = ingresses::find(self, core)?;
        Ok(text::write(self, &contexts, &ingresses))
    }
}

#[cfg(test)]
mod tests;
