//! mpls-xdp: a kernel fast-path MPLS filter.
//!
//! [`policy`] reads the policy file, [`compile`] turns it into the tables that the kernel program
//! reads, [`kernel`] holds programs, maps and pins, [`filter`] puts a policy in force and looks at
//! it, [`metrics`] tells Prometheus of it, [`sampling`] takes samples of what it refuses, and
//! [`replay`] runs captured frames through the kernel program. [`explain`] says step by step why a
//! frame meets its fate, and [`reasons`] what each reason means to an operator. What is decided about
//! a frame is in the crate `mpls-xdp-ebpf`, which the kernel program is built from as well.
//! [`first_policy`] writes a policy for a router that has none, and [`suggestion`] adds to one what was
//! seen.

pub mod capture;
pub mod compile;
pub mod explain;
pub mod filter;
pub mod first_policy;
pub mod kernel;
pub mod manifest;
pub mod metrics;
pub mod policy;
pub mod reasons;
pub mod replay;
pub mod router;
pub mod sampling;
pub mod suggestion;
