//! What is looked at in a guest.

use std::env;

use anyhow::{Result, ensure};
use aya::programs::loaded_programs;

use super::nic::DRIVERS;
use super::{Notes, Report, attacks, devices, driver};
use crate::demo::{self, Router};

/// Carries all checks out.
///
/// # Errors
///
/// When one of them failed.
pub fn checks() -> Result<()> {
    let mut report = Report::of(env::args().skip(1).collect());
    report.check("the kernel takes the program", the_kernel_takes_the_program)?;
    for one in &DRIVERS {
        let name = |what: &str| format!("{}: {what}", one.name);
        // First, because it looks at what the driver does before anybody has touched it.
        report.check(name("tags are not stripped"), |notes| {
            driver::tags_are_not_stripped(one, notes)
        })?;
        report.check(name("frames meet their fate"), |notes| {
            driver::frames_meet_their_fate(one, notes)
        })?;
        report.check(name("policies change under traffic"), |notes| {
            driver::policies_change_under_traffic(one, notes)
        })?;
        report.check(name("jumbo frames"), |notes| driver::jumbo_frames(one, notes))?;
        report.check(name("nothing is left"), |notes| driver::nothing_is_left_after(one, notes))?;
    }
    devices::check(&mut report)?;
    attacks::check(&mut report)?;
    report.finish()
}

/// The verifier's work is noted: it grows with what the program does, and has a limit.
fn the_kernel_takes_the_program(notes: &mut Notes) -> Result<()> {
    let router = Router::new(&[("eth1", "site"), ("eth2", "peer"), ("eth3", "core")])?;
    router.apply(demo::POLICY, &[])?;
    let mut found = 0;
    for program in loaded_programs() {
        let program = program?;
        if program.name_as_str().is_some_and(|name| name.starts_with("mpls_xdp")) {
            found += 1;
            notes.add("verified instructions", program.verified_instruction_count());
        }
    }
    ensure!(found > 0, "no program is there after `apply`");
    Ok(())
}
