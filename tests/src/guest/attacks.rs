//! The attack suite on NICs.

use anyhow::{Result, ensure};

use super::nic::{self, DRIVERS, Driver, MTU};
use super::{Notes, Report};
use crate::attacks::{ATTACKS, Attack, Mode};
use crate::oracle::Oracle;

/// Attacks with more frames are for faster machines.
const FRAMES: usize = 1_000;
/// These leave frames as short as they are; attacks count every byte.
const SENDERS: [(&str, &str); 2] = [("eth2", "virtio_net"), ("eth3", "vmxnet3")];

/// Carries the attacks out, family by family.
///
/// # Errors
///
/// When the report cannot be written.
pub fn check(report: &mut Report) -> Result<()> {
    for family in ATTACKS.chunk_by(|one, next| one.family == next.family) {
        let Some(first) = family.first() else { continue };
        report.check(format!("attacks on NICs: {}", first.family), |notes| {
            carry_out(family, notes)
        })?;
    }
    Ok(())
}

fn carry_out(family: &[Attack], notes: &mut Notes) -> Result<()> {
    let short = |attack: &&Attack| {
        let story = attack.story();
        story.mtu == MTU && story.frames.take(FRAMES + 1).count() <= FRAMES
    };
    let mut errors = Vec::new();
    let mut carried_out = 0_u32;
    for attack in family.iter().filter(short) {
        if let Err(error) = one(attack) {
            errors.push(format!("{error:#}"));
        }
        carried_out += 1;
    }
    notes.add("carried out", carried_out);
    ensure!(errors.is_empty(), "{}", errors.join("\n"));
    Ok(())
}

fn one(attack: &Attack) -> Result<()> {
    let story = attack.story();
    let oracle = Oracle::new(story.policy);
    let mut interfaces = Vec::new();
    for interface in oracle.interfaces() {
        interfaces.push((interface, driver_of(interface)?));
    }
    let router = nic::router(&interfaces)?;
    attack.run(&*router, Mode::Enforce)
}

/// The driver of an interface, unless it is a veth.
fn driver_of(interface: &str) -> Result<Option<&'static Driver>> {
    let name = SENDERS.iter().find(|(name, _)| *name == interface).map(|(_, driver)| *driver);
    let Some(driver) = DRIVERS.iter().find(|driver| Some(driver.name) == name) else {
        return Ok(None);
    };
    Ok(driver.is_native()?.then_some(driver))
}
