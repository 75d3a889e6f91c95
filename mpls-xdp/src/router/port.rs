use super::coverage::{MAX_STACK, MAX_VIDS, TUNNELS};
use super::{Link, Links};

/// Where frames for an interface come in, in the terms of an ingress.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// The interface that the filter sits on.
    pub interface: String,
    /// The VLAN IDs, outer to inner, two at most.
    pub vlans: Vec<u16>,
}

/// Why no ingress can stand for an interface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPort {
    /// Only the router itself sends there.
    #[error("only this router itself can send there")]
    Loopback,
    /// More tags than an ingress can have.
    #[error("its frames have more than two VLAN tags")]
    TooManyVlans,
    /// The port is not to be seen from here.
    #[error("its port is in another network namespace, or gone")]
    Elsewhere,
    /// Frames come in over the members of something.
    #[error("{device} is a VRF: its frames come in over its members")]
    Vrf {
        /// The VRF.
        device: String,
    },
    /// A bridge, or a port of it: other people's frames.
    #[error("{device} is a bridge: its ports carry other people's frames and must not be filtered")]
    Bridge {
        /// The bridge.
        device: String,
    },
    /// The bond is the ingress.
    #[error("a member of {device}: its frames are those of {device}")]
    Member {
        /// The bond.
        device: String,
    },
    /// Frames inside of another protocol.
    #[error("{device} is a tunnel ({kind}): the filter does not look into tunnels")]
    Tunnel {
        /// The device.
        device: String,
        /// What kind of tunnel.
        kind: String,
    },
    /// A device that shares a port with others.
    #[error("{device} is a {kind}: its frames are not told apart from those of its port")]
    Shared {
        /// The device.
        device: String,
        /// `macvlan` and its like.
        kind: String,
    },
}

impl Port {
    /// The port of an interface: itself, or below its VLAN devices.
    ///
    /// # Errors
    ///
    /// Where an ingress cannot stand for the interface.
    pub fn of(links: &Links, link: &Link) -> Result<Self, NoPort> {
        let mut vlans = Vec::new();
        let mut port = link;
        for _ in 0..=MAX_STACK {
            let Some(vlan) = port.vlan else {
                check(links, port)?;
                if vlans.len() > MAX_VIDS {
                    return Err(NoPort::TooManyVlans);
                }
                return Ok(Self { interface: port.name.clone(), vlans });
            };
            // The device nearest to the wire takes the outermost tag; VID 0 binds nothing.
            if vlan.vid != 0 {
                vlans.insert(0, vlan.vid);
            }
            let parent = vlan.parent.and_then(|index| links.by_index(index));
            port = parent.ok_or(NoPort::Elsewhere)?;
        }
        Err(NoPort::Elsewhere)
    }
}

/// Whether the filter can sit on a device.
fn check(links: &Links, port: &Link) -> Result<(), NoPort> {
    let device = port.name.clone();
    let kind = port.kind.clone().unwrap_or_default();
    match kind.as_str() {
        _ if device == "lo" => return Err(NoPort::Loopback),
        "vrf" => return Err(NoPort::Vrf { device }),
        "bridge" | "openvswitch" => return Err(NoPort::Bridge { device }),
        "macvlan" | "macvtap" | "ipvlan" | "ipvtap" => return Err(NoPort::Shared { device, kind }),
        tunnel if TUNNELS.contains(&tunnel) => return Err(NoPort::Tunnel { device, kind }),
        _ => {}
    }
    let controller = port.controller.and_then(|index| links.by_index(index));
    let device = controller.map(|controller| controller.name.clone()).unwrap_or_default();
    match controller.and_then(|controller| controller.kind.as_deref()) {
        Some("bond" | "team") => Err(NoPort::Member { device }),
        Some("bridge" | "openvswitch") => Err(NoPort::Bridge { device }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::hand_made::{router, vlan};
    use super::super::uncovered;
    use super::*;

    fn of(name: &str) -> Result<Port, NoPort> {
        let links = router();
        Port::of(&links, links.by_name(name).unwrap())
    }

    #[track_caller]
    fn is(name: &str, interface: &str, vlans: &[u16]) {
        let expected = Port { interface: interface.to_owned(), vlans: vlans.to_vec() };
        assert_eq!(of(name), Ok(expected), "{name}");
    }

    #[test]
    fn a_port_is_itself_and_a_vlan_device_is_tags_at_its_port() {
        is("eth1", "eth1", &[]);
        is("eth2.200", "eth2", &[200]);
        is("eth2.200.100", "eth2", &[200, 100]);
        is("eth2.0", "eth2", &[]);
        is("bond0", "bond0", &[]);
        is("bond0.100", "bond0", &[100]);
        is("eth6", "eth6", &[]);
    }

    #[test]
    fn what_no_ingress_can_stand_for_says_why() {
        let cases = [
            ("lo", "only this router itself"),
            ("eth2.200.100.7", "more than two VLAN tags"),
            ("eth3", "a member of bond0"),
            ("br0", "br0 is a bridge"),
            ("br0.5", "br0 is a bridge"),
            ("eth5", "br0 is a bridge"),
            ("red", "red is a VRF"),
            ("mv0", "mv0 is a macvlan"),
            ("gre1", "gre1 is a tunnel (gretap)"),
            ("gre1.9", "gre1 is a tunnel (gretap)"),
            ("sec0", "a tunnel (macsec)"),
            ("far.8", "another network namespace"),
            ("lost.8", "another network namespace, or gone"),
        ];
        for (name, words) in cases {
            let why = of(name).unwrap_err().to_string();
            assert!(why.contains(words), "{name}: {why}");
        }
    }

    #[test]
    fn devices_in_a_circle_end() {
        let links = Links::from_iter([vlan(1, "a", 2, 0), vlan(2, "b", 1, 5)]);
        assert_eq!(Port::of(&links, links.by_name("a").unwrap()), Err(NoPort::Elsewhere));
    }

    #[test]
    fn an_ingress_at_the_port_covers_the_interface() {
        let links = router();
        for link in links.iter() {
            if let Ok(Port { interface, vlans }) = Port::of(&links, link) {
                let holes =
                    uncovered(&links, std::slice::from_ref(&link.name), &[(interface, vlans)]);
                assert_eq!(holes, [], "{}", link.name);
            }
        }
    }
}
