//! Shows `mpls-xdp` at work: `cargo xtask demo`, as root.

use std::io::stdout;
use std::process::ExitCode;

use mpls_xdp_tests::demo;

fn main() -> ExitCode {
    match demo::run(&mut stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}
