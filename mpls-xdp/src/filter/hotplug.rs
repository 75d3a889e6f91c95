//! Interfaces that appear or are made anew while a policy is in force.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::{
    AttachMode, FilterError, Session,
    active::{Active, settled},
    apply::fitting,
    offload,
};
use crate::{
    kernel::{CounterMap, FilterProgram, KernelError, PinnedProgram, Settings},
    manifest::{InterfaceEntry, Manifest},
    router::{Link, Links},
};

/// Folder below the state folder that has an entry for every interface that a policy in force
/// names. The udev rule looks there, so that it runs nothing for any other interface. An entry is a
/// folder with a file for each network namespace whose policy names the interface.
const NAMED: &str = "interfaces";

/// An interface that had no program, and whether it has one now.
#[derive(Debug)]
pub struct Reattached {
    /// The interface.
    pub interface: String,
    /// Why it is still not filtered.
    pub result: Result<(), FilterError>,
}

/// Puts the filter on every interface that the policy in force names and that has none. The policy
/// does not change; one that was taken off with `detach --interface` is left alone.
///
/// # Errors
///
/// When no policy is in force, or the kernel cannot be asked.
pub fn reattach(session: &Session, mode: AttachMode) -> Result<Vec<Reattached>, FilterError> {
    let active = Active::policy(&session.pins)?;
    let entries = active.manifest.interfaces.iter().filter(|entry| !entry.detached);
    let names = entries.clone().map(|entry| entry.name.as_str()).collect();
    let (links, programs, stale) = settled(&session.pins, &names)?;
    let mut attached = Vec::new();
    for entry in entries {
        let Some(link) = links.by_name(&entry.name) else {
            continue;
        };
        let ours = programs.iter().find(|program| program.ifindex == link.index);
        let result = match ours {
            Some(program) if program.slot == entry.slot => continue,
            Some(_) => Err(FilterError::OtherRules(entry.name.clone())),
            None => attach(session, &active, (entry, link, &links), mode),
        };
        attached.push(Reattached { interface: entry.name.clone(), result });
    }
    for program in stale {
        session.pins.remove(&program.path)?;
    }
    Ok(attached)
}

fn attach(
    session: &Session,
    active: &Active,
    (entry, link, links): (&InterfaceEntry, &Link, &Links),
    mode: AttachMode,
) -> Result<(), FilterError> {
    if let Some(xdp) = &link.xdp {
        let id = format!(" (id {})", xdp.program_id);
        return Err(KernelError::ForeignProgram { interface: entry.name.clone(), id }.into());
    }
    let counters = &CounterMap::pinned_for(&session.pins, active.manifest.counter_end())?;
    let offloads = offload::on_now(links, link)?;
    let pinned = fitting(false, |fragments| {
        let (slot, policy) = (entry.slot, &active.map);
        let settings = Settings { slot, policy, counters, fragments, tracing: false };
        let mut program = FilterProgram::load(settings, Some(&session.pins))?;
        offload::turn_off(&session.state, &offloads)?;
        let interface = (entry.name.as_str(), link.index);
        let mode = mode.into();
        Ok(PinnedProgram::attach(&mut program, &session.pins, entry.slot, interface, mode)?)
    });
    if let Err(error) = pinned {
        let receivers = offloads.into_iter().map(|(receiver, _)| receiver);
        offload::restore(&session.state, links, receivers)?;
        return Err(error);
    }
    Ok(())
}

/// Makes the entries of a policy's interfaces. They are there before its programs are, so that an
/// interface is either seen by the command that applies the policy, or by the udev rule.
pub(super) fn announce(session: &Session, manifest: &Manifest) -> Result<(), FilterError> {
    for entry in &manifest.interfaces {
        let folder = folder(session).join(&entry.name);
        let make = || {
            fs::create_dir_all(&folder)?;
            File::create(folder.join(namespace(session)))
        };
        let made = loop {
            match make() {
                // The command of another network namespace has just removed the folder.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                made => break made,
            }
        };
        made.map_err(|source| FilterError::State { path: folder.clone(), source })?;
    }
    Ok(())
}

/// Removes this network namespace's entries but for the interfaces of `manifest`.
pub(super) fn withdraw(session: &Session, manifest: &Manifest) -> Result<(), FilterError> {
    let folder = folder(session);
    let named: HashSet<&str> =
        manifest.interfaces.iter().map(|entry| entry.name.as_str()).collect();
    let remove = || {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| named.contains(name)) {
                continue;
            }
            unless(
                io::ErrorKind::NotFound,
                fs::remove_file(entry.path().join(namespace(session))),
            )?;
            // Other network namespaces may have theirs in it.
            let removed = unless(io::ErrorKind::DirectoryNotEmpty, fs::remove_dir(entry.path()));
            unless(io::ErrorKind::NotFound, removed)?;
        }
        unless(io::ErrorKind::DirectoryNotEmpty, fs::remove_dir(&folder))
    };
    unless(io::ErrorKind::NotFound, remove())
        .map_err(|source| FilterError::State { path: folder.clone(), source })
}

/// What went well, or failed in a way that is as good.
fn unless(kind: io::ErrorKind, result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == kind => Ok(()),
        result => result,
    }
}

fn folder(session: &Session) -> PathBuf {
    session.state.with_file_name(NAMED)
}

/// What this network namespace's files are called.
fn namespace(session: &Session) -> &Path {
    session.state.file_name().map_or(&session.state, Path::new)
}
