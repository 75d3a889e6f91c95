//! The attack suite on NICs.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::nic::{self, DRIVERS, Driver, MTU};
use super::{Notes, Report};
use crate::attacks::{ATTACKS, Attack, Flooded, Mode, Target};
use crate::demo::Router;
use crate::oracle::Oracle;

/// Attacks with more frames are for faster machines.
const FRAMES: usize = 1_000;
/// How often the frames of a flood are sent.
const ROUNDS: usize = 64;
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
        // Slow machines take minutes for a family, and silence would be taken for a hang.
        println!("        {}", attack.title());
        if let Err(error) = one(attack) {
            errors.push(format!("{error:#}"));
        }
        carried_out += 1;
    }
    notes.add("carried out", carried_out);
    ensure!(carried_out > 0, "none of {} attacks was carried out", family.len());
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
    attack.run(&Emulated(&router), Mode::Enforce)
}

/// A router that takes what emulation can give it.
struct Emulated<'a>(&'a Router);

impl Target for Emulated<'_> {
    fn apply(&self, policy: &str) -> Result<()> {
        Target::apply(self.0, policy)
    }

    fn probe(&self, interface: &str, frames: &[&[u8]]) -> Result<Vec<bool>> {
        Target::probe(self.0, interface, frames)
    }

    fn flood(&self, interface: &str, frames: &[&[u8]]) -> Result<Flooded> {
        let arrived = self.probe(interface, &frames.repeat(ROUNDS))?;
        let arrived = arrived.iter().filter(|&&arrived| arrived).count() as u64;
        Ok(Flooded { rounds: ROUNDS, arrived })
    }

    fn stats(&self) -> Result<Value> {
        Target::stats(self.0)
    }
}

/// The driver of an interface, unless it is a veth.
fn driver_of(interface: &str) -> Result<Option<&'static Driver>> {
    let name = SENDERS.iter().find(|(name, _)| *name == interface).map(|(_, driver)| *driver);
    let Some(driver) = DRIVERS.iter().find(|driver| Some(driver.name) == name) else {
        return Ok(None);
    };
    Ok(driver.is_native()?.then_some(driver))
}
