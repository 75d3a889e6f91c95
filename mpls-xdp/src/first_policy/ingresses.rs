//! From interfaces to ingresses.

use std::collections::HashMap;

use thiserror::Error;

use super::Router;
use crate::policy::writing::free_name;
use crate::router::{Link, NoPort, Port, uncovered, vrf_of};

/// What is to be filtered, and what is not.
pub(super) struct Found {
    pub(super) ingresses: Vec<FoundIngress>,
    /// Interfaces that accept MPLS or are in a VRF, and that no ingress can stand for.
    pub(super) without: Vec<Without>,
    /// Interfaces that need no ingress.
    pub(super) quiet: Vec<String>,
}

/// An interface without an ingress of its own.
pub(super) struct Without {
    pub(super) interface: String,
    pub(super) why: String,
    /// Whether the kernel accepts MPLS there that the filter does not see.
    pub(super) is_hole: bool,
}

/// An ingress that an interface speaks of.
pub(super) struct FoundIngress {
    pub(super) name: String,
    pub(super) port: Port,
    pub(super) who: Who,
    /// The interface that it stands for.
    pub(super) interface: String,
    /// Whether the kernel accepts MPLS there.
    pub(super) accepts_mpls: bool,
    /// How many labels have their next hop there.
    pub(super) next_hop_of: usize,
}

/// Who is on the other side.
pub(super) enum Who {
    /// The customer of a VRF.
    Customer {
        /// The VRF.
        vrf: String,
    },
    /// The own network, as the operator says.
    Core,
    /// The kernel cannot know.
    Unknown,
}

/// An interface that was said to be the core's, and is not one that can be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnknownCore {
    /// The kernel does not accept MPLS there.
    #[error(
        "--core {interface}: the kernel accepts no MPLS on an interface of this name; it does on: {}",
        if accepting.is_empty() { "none" } else { accepting }
    )]
    NoMpls {
        /// The name that was given.
        interface: String,
        /// The names that would be right.
        accepting: String,
    },
    /// A VRF has it, so it is a customer's.
    #[error("--core {interface}: it is a member of VRF {vrf}, so it is a customer's")]
    InVrf {
        /// The name that was given.
        interface: String,
        /// The VRF.
        vrf: String,
    },
    /// No ingress can stand for it.
    #[error("--core {interface}: no ingress can stand for it: {why}")]
    NoPort {
        /// The name that was given.
        interface: String,
        /// Why not.
        why: NoPort,
    },
}

/// The ingresses, in the order of the kernel's interfaces.
pub(super) fn find(router: &Router, core: &[String]) -> Result<Found, UnknownCore> {
    for interface in core {
        check_core(router, interface)?;
    }
    let mut found = Found { ingresses: Vec::new(), without: Vec::new(), quiet: Vec::new() };
    let mut taken: HashMap<Port, String> = HashMap::new();
    for link in router.links.iter() {
        let accepts_mpls = router.inputs.contains(&link.name);
        let vrf = vrf_of(&router.links, link).filter(|vrf| vrf.index != link.index);
        if !accepts_mpls && vrf.is_none() {
            if Port::of(&router.links, link).is_ok() {
                found.quiet.push(link.name.clone());
            }
            continue;
        }
        let port = match Port::of(&router.links, link) {
            Ok(port) => port,
            // Nobody else can send there, and a router that pops its own labels needs it.
            Err(NoPort::Loopback) => continue,
            Err(why) => {
                without(&mut found, link, why.to_string());
                continue;
            }
        };
        if let Some(other) = taken.get(&port) {
            let why = format!("its frames come in like those of {}", other.escape_debug());
            without(&mut found, link, why);
            continue;
        }
        let who = match vrf {
            Some(vrf) => Who::Customer { vrf: vrf.name.clone() },
            None if core.contains(&link.name) => Who::Core,
            None => Who::Unknown,
        };
        let names: Vec<_> = found.ingresses.iter().map(|ingress| ingress.name.as_str()).collect();
        let name = free_name(&link.name, &names);
        taken.insert(port.clone(), link.name.clone());
        found.ingresses.push(FoundIngress {
            name,
            port,
            who,
            interface: link.name.clone(),
            accepts_mpls,
            next_hop_of: next_hop_of(router, link),
        });
    }
    let bindings: Vec<_> = taken.into_keys().map(|port| (port.interface, port.vlans)).collect();
    for hole in uncovered(&router.links, &router.inputs, &bindings) {
        let entry = found.without.iter_mut().find(|entry| entry.interface == hole.interface);
        if let Some(entry) = entry {
            entry.is_hole = true;
        }
    }
    Ok(found)
}

fn without(found: &mut Found, link: &Link, why: String) {
    found.without.push(Without { interface: link.name.clone(), why, is_hole: false });
}

fn next_hop_of(router: &Router, link: &Link) -> usize {
    let leaves = |hop: &crate::router::LabelHop| hop.interface == Some(link.index);
    router.labels.iter().filter(|route| route.hops.iter().any(leaves)).count()
}

fn check_core(router: &Router, interface: &str) -> Result<(), UnknownCore> {
    let interface = interface.to_owned();
    let link = router.links.by_name(&interface).filter(|_| router.inputs.contains(&interface));
    let Some(link) = link else {
        return Err(UnknownCore::NoMpls { interface, accepting: router.inputs.join(", ") });
    };
    if let Some(vrf) = vrf_of(&router.links, link) {
        return Err(UnknownCore::InVrf { interface, vrf: vrf.name.clone() });
    }
    match Port::of(&router.links, link) {
        Ok(_) => Ok(()),
        Err(why) => Err(UnknownCore::NoPort { interface, why }),
    }
}
