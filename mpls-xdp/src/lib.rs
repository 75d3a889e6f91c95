//! mpls-xdp: a kernel fast-path MPLS filter.
//!
//! [`policy`] reads the policy file, [`compile`] turns it into the tables that the kernel program
//! reads, [`kernel`] holds programs, maps and pins, [`filter`] puts a policy in force and looks at
//! it, [`sampling`] takes samples of what it refuses, and [`replay`] runs captured frames through
//! the kernel program. What is decided about a frame is in the crate `mpls-xdp-ebpf`, which the kernel program is built from as well.

pub mod capture;
pub mod compile;
pub mod filter;
pub mod kernel;
pub mod manifest;
pub mod policy;
pub mod replay;
pub mod router;
pub mod sampling;
