//! What only the running system can say about a policy.

use std::collections::HashSet;

use super::diagnostic::{Diagnostic, Finding, Severity};
use super::source::Site;
use super::wording::quoted;
use super::{InterfaceName, Parsed, VlanId};

/// How many VLAN devices may stand on one another before this stops looking further down.
const MAX_STACKED: usize = 8;

/// What a system knows about its interfaces.
pub trait LiveFacts {
    /// Whether there is an interface of this name.
    fn exists(&self, name: &str) -> bool;

    /// The interface below and the VLAN ID, when `name` is a VLAN device.
    fn vlan_device(&self, name: &str) -> Option<(String, u16)>;
}

/// The interface of an ingress, and where the file names it.
#[derive(Debug)]
pub(super) struct NamedInterface {
    pub(super) name: InterfaceName,
    pub(super) vlans: Vec<VlanId>,
    pub(super) site: Site,
}

/// Compares the interfaces that a file names with those of a system.
///
/// A VLAN device is an error, since XDP sees the port below it; an interface that does not exist
/// (yet) is a warning. Works on a file with errors as well, as far as its interfaces were readable.
pub fn check_live(parsed: &Parsed, facts: &dyn LiveFacts) -> Vec<Diagnostic> {
    let mut missing = HashSet::new();
    let mut diagnostics = Vec::new();
    for interface in &parsed.interfaces {
        let name = interface.name.as_str();
        if let Some((port, outer)) = below(name, facts) {
            let finding = vlan_device(interface, &port, &outer);
            diagnostics.push((Severity::Error, &interface.site, finding));
        } else if !facts.exists(name) && missing.insert(name) {
            diagnostics.push((Severity::Warning, &interface.site, absent(interface)));
        }
    }
    let diagnostics = diagnostics.into_iter();
    diagnostics
        .map(|(severity, site, finding)| Diagnostic::new(severity, site.clone(), finding))
        .collect()
}

/// The port under the VLAN device `name`, and the VLAN IDs that lead to it, outer to inner.
fn below(name: &str, facts: &dyn LiveFacts) -> Option<(String, Vec<u16>)> {
    let (mut port, vlan) = facts.vlan_device(name)?;
    let mut vlans = vec![vlan];
    while vlans.len() < MAX_STACKED
        && let Some((parent, vlan)) = facts.vlan_device(&port)
    {
        port = parent;
        vlans.insert(0, vlan);
    }
    Some((port, vlans))
}

fn vlan_device(interface: &NamedInterface, port: &str, outer: &[u16]) -> Finding {
    let name = quoted(interface.name.as_str());
    let message = format!("{name} is a VLAN device; the filter sits on the port below it");
    let inner = interface.vlans.iter().map(|vlan| vlan.get());
    let vlans: Vec<_> = outer.iter().copied().chain(inner).collect();
    let help = if vlans.len() > 2 {
        format!("`interface = \"{port}\"`; an ingress with more than two VLAN IDs is not possible")
    } else {
        format!("`interface = \"{port}\"` and `vlan = {vlans:?}`")
    };
    Finding::new("vlan-device", interface.site.span.clone(), message).help(help)
}

fn absent(interface: &NamedInterface) -> Finding {
    let message = format!("there is no interface {} here (yet)", quoted(interface.name.as_str()));
    Finding::new("interface-absent", interface.site.span.clone(), message)
        .help("the name of an interface of this system; until it is there, it is not filtered")
}
