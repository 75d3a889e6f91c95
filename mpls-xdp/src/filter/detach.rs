//! Takes the filter off.

use std::{fs, io};

use super::{
    FilterError, Session,
    active::{Active, live_programs},
    apply::amend,
    hotplug, offload, rollout,
};
use crate::{
    kernel::{FilterProgram, KernelError},
    manifest::Manifest,
    router::{Links, VlanOffload},
};

/// What was done to interfaces.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Detached {
    /// Those that were filtered and are not any more.
    pub interfaces: Vec<String>,
    /// Offloads that are on again, as they were before the filter.
    pub offloads: Vec<(String, VlanOffload)>,
}

/// Takes the filter off every interface and removes its pins, programs and maps, and the history.
///
/// # Errors
///
/// When something stays behind.
pub fn detach_all(session: &Session) -> Result<Detached, FilterError> {
    let detached = take_off(session)?;
    rollout::forget(session)?;
    Ok(detached)
}

/// Takes the filter off every interface and removes its pins, programs and maps.
pub(super) fn take_off(session: &Session) -> Result<Detached, FilterError> {
    let links = Links::read()?;
    // Pins of another build that cannot be read go all the same.
    let (programs, _) = live_programs(&session.pins, &links).unwrap_or_default();
    let names = programs.iter().filter_map(|program| links.by_index(program.ifindex));
    let interfaces = names.map(|link| link.name.clone()).collect();
    match Active::find(&session.pins) {
        // All interfaces at once: a detach that dies half-way leaves no half policy in force.
        Ok(Some(active)) if FilterProgram::maps_are_pinned(&session.pins) => {
            amend(session, &active, |manifest| {
                for entry in &mut manifest.interfaces {
                    entry.detached = true;
                }
            })?;
        }
        Ok(_) | Err(KernelError::OtherAbi { .. } | KernelError::Manifest(_)) => {}
        Err(error) => return Err(error.into()),
    }
    session.pins.clear()?;
    hotplug::withdraw(session, &Manifest::default())?;
    let saved = offload::saved_interfaces(&session.state)?;
    let offloads = offload::restore(&session.state, &links, saved)?;
    match fs::remove_file(session.state.join("offload.json")) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(FilterError::State { path: session.state.clone(), source })
        }
        _ => Ok(Detached { interfaces, offloads }),
    }
}

/// Takes the filter off one interface; the policy still names it.
///
/// # Errors
///
/// When the policy in force does not name it.
pub fn detach_interface(session: &Session, interface: &str) -> Result<Detached, FilterError> {
    let active = Active::policy(&session.pins)?;
    if !active.manifest.interfaces.iter().any(|entry| entry.name == interface) {
        let names: Vec<&str> =
            active.manifest.interfaces.iter().map(|entry| entry.name.as_str()).collect();
        return Err(FilterError::NotNamed(interface.to_owned(), names.join(", ")));
    }
    amend(session, &active, |manifest| {
        for entry in manifest.interfaces.iter_mut().filter(|entry| entry.name == interface) {
            entry.detached = true;
        }
    })?;
    let links = Links::read()?;
    let Some(link) = links.by_name(interface) else {
        return Ok(Detached::default());
    };
    let (mut programs, _) = live_programs(&session.pins, &links)?;
    programs.retain(|program| program.ifindex == link.index);
    for program in &programs {
        session.pins.remove(&program.path)?;
    }
    let receivers = offload::receivers(&links, link).into_iter().map(|link| link.name.clone());
    let offloads = offload::restore(&session.state, &links, receivers)?;
    let interfaces = programs.first().map(|_| link.name.clone()).into_iter().collect();
    Ok(Detached { interfaces, offloads })
}
