//! The command line; everything that it does is in the library.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "log")]
    env_logger::builder().filter_module("mpls_xdp_kernel", log::LevelFilter::Trace).init();
    cli::run()
}
