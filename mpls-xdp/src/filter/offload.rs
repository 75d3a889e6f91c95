//! Receive VLAN offload: off while an interface is filtered, as it was afterwards.
//!
//! A driver that strips tags turns a customer's tagged frame into an untagged one of the core.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::FilterError;
use crate::router::{self, Link, Links, VlanOffload};

/// What was on before the filter, by interface.
type Saved = BTreeMap<String, Vec<String>>;

/// The interfaces whose driver sees the frames of `link`: a bond's members, or itself.
pub(super) fn receivers<'a>(links: &'a Links, link: &'a Link) -> Vec<&'a Link> {
    let members: Vec<&Link> = links.members(link.index).collect();
    if link.kind.as_deref() == Some("bond") && !members.is_empty() { members } else { vec![link] }
}

/// What is on now at the receivers of `link`.
pub(super) fn on_now(
    links: &Links,
    link: &Link,
) -> Result<Vec<(String, VlanOffload)>, FilterError> {
    let mut on = Vec::new();
    for receiver in receivers(links, link) {
        for offload in router::vlan_offloads_on(&receiver.name)? {
            on.push((receiver.name.clone(), offload));
        }
    }
    Ok(on)
}

/// Turns offloads off; what was on is written down before.
pub(super) fn turn_off(state: &Path, on: &[(String, VlanOffload)]) -> Result<(), FilterError> {
    let mut saved = load(state)?;
    for (interface, offload) in on {
        let names = saved.entry(interface.clone()).or_default();
        if !names.iter().any(|name| name == offload.name()) {
            names.push(offload.name().to_owned());
        }
    }
    store(state, &saved)?;
    for (interface, offload) in on {
        router::set_vlan_offload(interface, *offload, false).map_err(|source| {
            FilterError::Offload { interface: interface.clone(), offload: offload.name(), source }
        })?;
    }
    Ok(())
}

/// Turns on again what was on at these interfaces, and says what that was. An interface that is gone
/// has nothing to restore.
pub(super) fn restore(
    state: &Path,
    links: &Links,
    interfaces: impl IntoIterator<Item = String>,
) -> Result<Vec<(String, VlanOffload)>, FilterError> {
    let mut saved = load(state)?;
    let mut restored = Vec::new();
    for interface in interfaces {
        let names = saved.remove(&interface).unwrap_or_default();
        if links.by_name(&interface).is_none() {
            continue;
        }
        for offload in VlanOffload::ALL {
            if names.iter().any(|name| name == offload.name()) {
                router::set_vlan_offload(&interface, offload, true)?;
                restored.push((interface.clone(), offload));
            }
        }
    }
    store(state, &saved)?;
    Ok(restored)
}

/// Every interface that has something to restore.
pub(super) fn saved_interfaces(state: &Path) -> Result<Vec<String>, FilterError> {
    Ok(load(state)?.into_keys().collect())
}

fn file(state: &Path) -> PathBuf {
    state.join("offload.json")
}

fn load(state: &Path) -> Result<Saved, FilterError> {
    let path = file(state);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|error| FilterError::State { path, source: error.into() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Saved::new()),
        Err(source) => Err(FilterError::State { path, source }),
    }
}

fn store(state: &Path, saved: &Saved) -> Result<(), FilterError> {
    let path = file(state);
    let bytes = serde_json::to_vec(saved)
        .map_err(|error| FilterError::State { path: path.clone(), source: error.into() })?;
    super::session::write(&path, &bytes)
}
