//! Interfaces as unit tests need them: not every kernel that tests run on has all kinds.

use super::{Link, Links, VlanDevice};

/// A port without a driver of its own kind.
pub(crate) fn port(index: u32, name: &str) -> Link {
    Link {
        index,
        name: name.to_owned(),
        kind: None,
        mtu: 1500,
        vlan: None,
        lower: None,
        controller: None,
        xdp: None,
    }
}

/// A device of a kind, on top of another.
pub(crate) fn device(index: u32, name: &str, kind: &str, lower: Option<u32>) -> Link {
    Link { kind: Some(kind.to_owned()), lower, ..port(index, name) }
}

/// A VLAN device.
pub(crate) fn vlan(index: u32, name: &str, parent: u32, vid: u16) -> Link {
    let vlan = Some(VlanDevice { parent: Some(parent), vid });
    Link { vlan, ..device(index, name, "vlan", Some(parent)) }
}

/// The same interface, as a member of a bond, bridge or VRF.
pub(crate) fn member(link: Link, controller: u32) -> Link {
    Link { controller: Some(controller), ..link }
}

/// A router with a device of each kind.
pub(crate) fn router() -> Links {
    Links::from_iter([
        port(1, "lo"),
        port(2, "eth1"),
        port(3, "eth2"),
        vlan(4, "eth2.200", 3, 200),
        vlan(5, "eth2.200.100", 4, 100),
        vlan(6, "eth2.200.100.7", 5, 7),
        vlan(7, "eth2.0", 3, 0),
        device(10, "bond0", "bond", None),
        member(port(11, "eth3"), 10),
        member(port(12, "eth4"), 10),
        vlan(13, "bond0.100", 10, 100),
        device(14, "bond1", "bond", None),
        device(20, "br0", "bridge", None),
        member(port(21, "eth5"), 20),
        vlan(22, "br0.5", 20, 5),
        device(23, "red", "vrf", None),
        device(24, "mv0", "macvlan", Some(2)),
        device(30, "gre1", "gretap", Some(2)),
        vlan(31, "gre1.9", 30, 9),
        device(32, "sec0", "macsec", Some(2)),
        Link {
            vlan: Some(VlanDevice { parent: None, vid: 8 }),
            ..device(33, "far.8", "vlan", None)
        },
        vlan(34, "lost.8", 99, 8),
        member(port(35, "eth6"), 23),
    ])
}
