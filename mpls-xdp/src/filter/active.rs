//! What the kernel holds now.

use std::{
    collections::HashSet,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use super::{FilterError, Folders};
use crate::{
    kernel::{FilterProgram, KernelError, PinnedProgram, Pins, PolicyMap},
    manifest::Manifest,
    router::{self, Links},
};

/// The generation in force.
#[derive(Debug)]
pub(crate) struct Active {
    /// The map that holds it.
    pub(crate) map: PolicyMap,
    pub(crate) manifest: Manifest,
    /// The map's pin.
    pub(super) policy_pin: PathBuf,
}

impl Active {
    /// Finds it among the pins. Two policy maps are there only when a command died while it moved
    /// programs to a larger one; both hold the same policy then, until the newer one is switched.
    pub(super) fn find(pins: &Pins) -> Result<Option<Self>, KernelError> {
        let mut newest: Option<Self> = None;
        for (policy_pin, _) in pins.numbered("policy-")? {
            let map = PolicyMap::open(&policy_pin)?;
            let manifest = map.manifest()?;
            if newest.as_ref().is_none_or(|newest| manifest.generation > newest.manifest.generation)
            {
                newest = Some(Self { map, manifest, policy_pin });
            }
        }
        Ok(newest)
    }
}

impl Active {
    /// The policy in force; before the first one was switched to, there is none.
    pub(crate) fn policy(pins: &Pins) -> Result<Self, FilterError> {
        match Self::find(pins)?.filter(|active| active.manifest.generation > 0) {
            Some(active) => Ok(active),
            None if PinnedProgram::all(pins)?.is_empty() => Err(FilterError::NoPolicy),
            None => Err(FilterError::PolicyLost),
        }
    }
}

/// The names of the policy in force, without waiting for a command that is at work.
///
/// # Errors
///
/// When no policy is in force, or it cannot be read.
pub fn in_force(folders: &Folders) -> Result<Manifest, FilterError> {
    let pins = Pins::new(&folders.bpffs, router::namespace_cookie()?)?;
    Ok(Active::policy(&pins)?.manifest)
}

/// How long the kernel may take to take a program off whose pin is gone.
const PATIENCE: Duration = Duration::from_secs(5);
const INTERVAL: Duration = Duration::from_millis(10);

/// The links, with the programs on them and those that are stale, as soon as no copy of the program
/// that nobody holds any more is on an interface called one of `names`: the kernel takes these off
/// in the background, after the command that removed their pins has ended or died.
pub(super) fn settled(
    pins: &Pins,
    names: &HashSet<&str>,
) -> Result<(Links, Vec<PinnedProgram>, Vec<PinnedProgram>), FilterError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let links = Links::read()?;
        let (live, stale) = live_programs(pins, &links)?;
        let leaving = names.iter().filter_map(|name| links.by_name(name)).any(|link| {
            let held = live.iter().any(|program| program.ifindex == link.index);
            !held && link.xdp.as_ref().is_some_and(|xdp| FilterProgram::is_copy(xdp.program_id))
        });
        if !leaving || Instant::now() > deadline {
            return Ok((links, live, stale));
        }
        thread::sleep(INTERVAL);
    }
}

/// The programs whose interface is still there and still runs them.
pub(super) fn live_programs(
    pins: &Pins,
    links: &Links,
) -> Result<(Vec<PinnedProgram>, Vec<PinnedProgram>), KernelError> {
    Ok(PinnedProgram::all(pins)?.into_iter().partition(|program| {
        links
            .by_index(program.ifindex)
            .and_then(|link| link.xdp.as_ref())
            .is_some_and(|xdp| xdp.program_id == program.program_id)
    }))
}
