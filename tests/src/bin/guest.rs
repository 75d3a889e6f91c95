//! What `cargo xtask vm` boots: the first process of a guest, and the checks that it starts.

use std::process::{self, ExitCode};

use mpls_xdp_tests::guest;

fn main() -> ExitCode {
    let ended = if process::id() == 1 { guest::init() } else { guest::checks() };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guest: {error:#}");
            ExitCode::FAILURE
        }
    }
}
