//! State and counters for Prometheus.
//!
//! [`Exposition`] is one look at the filter and its text, [`serve`] hands it out over HTTP.

mod exposition;
mod families;
mod server;

pub use self::{
    exposition::{Exposition, Format},
    server::{Server, serve},
};
