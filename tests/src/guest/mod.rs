//! Inside a virtual machine: the first process, and the filter on kernels and drivers that the
//! machine outside does not have. `cargo xtask vm --help` boots them.

mod attacks;
mod checks;
mod devices;
mod driver;
mod init;
mod nic;
mod report;
mod trial;

pub use checks::checks;
pub use init::init;
pub use report::{Notes, Report};
