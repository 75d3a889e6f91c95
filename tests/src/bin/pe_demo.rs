//! Shows `mpls-xdp` on a PE that forwards: `cargo xtask vm demo`, or as root where the kernel has
//! MPLS and VRFs.

use std::io::stdout;
use std::process::ExitCode;

use mpls_xdp_tests::pe;

fn main() -> ExitCode {
    match pe::run(&mut stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pe_demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}
