use super::{Link, Links};

/// The most VLAN tags that an ingress can have.
pub(super) const MAX_VIDS: usize = 2;

/// More devices on top of each other than the kernel allows (8).
pub(super) const MAX_STACK: usize = 16;

/// Devices that carry frames inside another protocol, which hides type 0x8847 from the port.
pub(super) const TUNNELS: &[&str] = &[
    "amt",
    "bareudp",
    "batadv",
    "erspan",
    "geneve",
    "gre",
    "gretap",
    "gtp",
    "hsr",
    "ip6erspan",
    "ip6gre",
    "ip6gretap",
    "ip6tnl",
    "ipip",
    "ipoib",
    "l2tp",
    "l2tp_eth",
    "macsec",
    "ovpn",
    "ovpn-dco",
    "pfcp",
    "ppp",
    "rmnet",
    "sit",
    "tun",
    "vti",
    "vti6",
    "vxlan",
    "wireguard",
    "wwan",
    "xfrm",
];

/// An interface on which the kernel accepts MPLS and that no ingress covers.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Uncovered {
    /// The name of the interface.
    pub interface: String,
    /// Why, in one clause.
    pub why: String,
}

/// Which of the interfaces that accept MPLS no ingress covers, and why.
///
/// A binding is the interface of an ingress and its VLAN IDs, outer to inner.
#[must_use]
pub fn uncovered(
    links: &Links,
    inputs: &[String],
    bindings: &[(String, Vec<u16>)],
) -> Vec<Uncovered> {
    let policy = Policy { links, bindings };
    let uncovered = |interface: &String| {
        policy.hole(interface).map(|why| Uncovered { interface: interface.clone(), why })
    };
    inputs.iter().filter_map(uncovered).collect()
}

/// The ingresses of a policy, on the interfaces of a router.
struct Policy<'a> {
    links: &'a Links,
    bindings: &'a [(String, Vec<u16>)],
}

impl Policy<'_> {
    /// Whether an ingress is exactly this.
    fn binds(&self, interface: &str, vids: &[u16]) -> bool {
        self.bindings.iter().any(|(name, bound)| name == interface && bound == vids)
    }

    /// Whether the filter is on this interface at all.
    fn filters(&self, interface: &str) -> bool {
        self.bindings.iter().any(|(name, _)| name == interface)
    }

    /// Why frames reach MPLS on this interface unfiltered, if they do.
    fn hole(&self, interface: &str) -> Option<String> {
        match self.links.by_name(interface) {
            _ if self.binds(interface, &[]) => None,
            _ if interface == "lo" => Some("only this router itself can send there".to_owned()),
            Some(link) => self.hole_below(link, &[], 0),
            None => Some("no ingress names it, and the kernel no longer lists it".to_owned()),
        }
    }

    /// Why frames that come in on this link with these VLAN IDs (outer to inner) are unfiltered.
    ///
    /// `above` counts the devices on top of it that led here.
    fn hole_below(&self, link: &Link, vids: &[u16], above: usize) -> Option<String> {
        if self.binds(&link.name, vids) {
            return None;
        }
        if above > MAX_STACK {
            return Some("its devices stand on each other in a circle".to_owned());
        }
        if let Some(vlan) = link.vlan {
            let Some(parent) = vlan.parent else {
                return Some(
                    "its port is in another network namespace: filter it there".to_owned(),
                );
            };
            let Some(parent) = self.links.by_index(parent) else {
                return Some("its port is gone".to_owned());
            };
            // The device nearest to the wire takes the outermost tag. VID 0 is no part of a
            // binding.
            let outer = (vlan.vid != 0).then_some(vlan.vid);
            let vids: Vec<u16> = outer.into_iter().chain(vids.iter().copied()).collect();
            return self.hole_below(parent, &vids, above + 1);
        }
        let kind = link.kind.as_deref().unwrap_or_default();
        if self.filters(&link.name) {
            return Some(unbound(&link.name, vids));
        }
        let on = if above == 0 { String::new() } else { format!("on {}, ", link.name) };
        match kind {
            "bond" | "team" => self.hole_in_members(link, vids, above, &format!("{on}a {kind}")),
            "bridge" | "openvswitch" => {
                Some(format!("{on}a bridge: no ingress names it, and its ports are not filtered"))
            }
            "vrf" => {
                Some(format!("{on}a VRF: frames come in over its member interfaces, not here"))
            }
            "macvlan" | "macvtap" | "ipvlan" | "ipvtap" => {
                let port = self.lower_name(link);
                Some(format!("{on}a {kind}{port}: its neighbours there reach it past the port"))
            }
            kind if TUNNELS.contains(&kind) => {
                Some(format!("{on}a tunnel: the filter at the port does not look into it"))
            }
            _ if vids.is_empty() && above == 0 => self.hole_at_port(link),
            _ => Some(format!("no ingress names its port {}{}", link.name, with_vlan(vids))),
        }
    }

    /// A bond is covered by all of its members.
    fn hole_in_members(
        &self,
        bond: &Link,
        vids: &[u16],
        above: usize,
        what: &str,
    ) -> Option<String> {
        let mut members = self.links.members(bond.index).peekable();
        if members.peek().is_none() {
            return Some(format!("{what} that no ingress names and that has no members yet"));
        }
        let open: Vec<&Link> =
            members.filter(|member| self.hole_below(member, vids, above + 1).is_some()).collect();
        let first = open.first()?;
        if open.iter().all(|member| self.filters(&member.name)) {
            return Some(format!("{what}: {}", unbound(&first.name, vids)));
        }
        let names: Vec<&str> = open.iter().map(|member| member.name.as_str()).collect();
        let (members, vlan) = (names.join(", "), with_vlan(vids));
        Some(format!("{what}: no ingress names it or its members {members}{vlan}"))
    }

    /// An interface that frames come in on directly.
    fn hole_at_port(&self, link: &Link) -> Option<String> {
        let controller = link.controller.and_then(|index| self.links.by_index(index));
        let kind = controller.and_then(|controller| controller.kind.as_deref());
        match (controller, kind) {
            // The bond's program runs on its members.
            (Some(bond), Some("bond" | "team")) if self.binds(&bond.name, &[]) => None,
            (Some(bond), Some("bond" | "team")) => {
                Some(format!("a member of {}, which no ingress names either", bond.name))
            }
            (Some(bridge), Some("bridge" | "openvswitch")) => Some(format!(
                "a port of {}: its frames go to the bridge, so turn its MPLS input off",
                bridge.name
            )),
            _ => Some("no ingress names it".to_owned()),
        }
    }

    /// ` on eth2`, where the device below is known.
    fn lower_name(&self, link: &Link) -> String {
        let lower = link.lower.and_then(|index| self.links.by_index(index));
        lower.map(|lower| format!(" on {}", lower.name)).unwrap_or_default()
    }
}

/// Why frames on a filtered port have no ingress.
fn unbound(port: &str, vids: &[u16]) -> String {
    let frames = match vids {
        [] => "untagged frames".to_owned(),
        vids if vids.len() > MAX_VIDS => "frames with more than two VLAN tags".to_owned(),
        vids => format!("frames of VLAN {}", list(vids)),
    };
    format!("{frames} on {port} have no ingress and follow defaults.mode")
}

/// What an ingress would have to say about these VLANs.
fn with_vlan(vids: &[u16]) -> String {
    if vids.is_empty() { String::new() } else { format!(" with vlan = [{}]", list(vids)) }
}

fn list(vids: &[u16]) -> String {
    vids.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::hand_made::{router, vlan};
    use super::*;

    fn why(input: &str, bindings: &[(&str, &[u16])]) -> Option<String> {
        let bindings: Vec<_> =
            bindings.iter().map(|(name, vids)| ((*name).to_owned(), vids.to_vec())).collect();
        let mut found = uncovered(&router(), &[input.to_owned()], &bindings);
        let found = found.pop()?;
        assert_eq!(found.interface, input);
        Some(found.why)
    }

    #[track_caller]
    fn covered(input: &str, bindings: &[(&str, &[u16])]) {
        assert_eq!(why(input, bindings), None);
    }

    #[track_caller]
    fn hole(input: &str, bindings: &[(&str, &[u16])], expected: &str) {
        assert_eq!(why(input, bindings).as_deref(), Some(expected));
    }

    #[test]
    fn a_port_is_covered_by_its_untagged_ingress() {
        covered("eth1", &[("eth1", &[])]);
        hole("eth1", &[], "no ingress names it");
        hole("eth1", &[("eth2", &[])], "no ingress names it");
        hole(
            "eth1",
            &[("eth1", &[100])],
            "untagged frames on eth1 have no ingress and follow defaults.mode",
        );
        hole("eth6", &[], "no ingress names it");
        covered("eth6", &[("eth6", &[])]);
    }

    #[test]
    fn a_vlan_device_is_covered_by_its_tags_at_the_port() {
        covered("eth2.200", &[("eth2", &[200])]);
        covered("eth2.200.100", &[("eth2", &[200, 100])]);
        covered("eth2.0", &[("eth2", &[])]);
        hole(
            "eth2.200.100",
            &[("eth2", &[100, 200]), ("eth2", &[200]), ("eth2", &[])],
            "frames of VLAN 200, 100 on eth2 have no ingress and follow defaults.mode",
        );
        hole(
            "eth2.200",
            &[("eth2", &[])],
            "frames of VLAN 200 on eth2 have no ingress and follow defaults.mode",
        );
        hole("eth2.200", &[], "no ingress names its port eth2 with vlan = [200]");
        hole(
            "eth2.200.100.7",
            &[("eth2", &[200, 100])],
            "frames with more than two VLAN tags on eth2 have no ingress and follow defaults.mode",
        );
        hole("far.8", &[], "its port is in another network namespace: filter it there");
        hole("lost.8", &[], "its port is gone");
    }

    #[test]
    fn a_bond_is_covered_by_itself_or_by_all_members() {
        covered("bond0", &[("bond0", &[])]);
        covered("bond0", &[("eth3", &[]), ("eth4", &[])]);
        covered("bond0.100", &[("bond0", &[100])]);
        covered("bond0.100", &[("eth3", &[100]), ("eth4", &[100])]);
        covered("eth3", &[("bond0", &[])]);
        hole("bond0", &[("eth3", &[])], "a bond: no ingress names it or its members eth4");
        hole("bond0", &[], "a bond: no ingress names it or its members eth3, eth4");
        hole(
            "bond0.100",
            &[("eth3", &[100])],
            "on bond0, a bond: no ingress names it or its members eth4 with vlan = [100]",
        );
        hole(
            "bond0.100",
            &[("eth3", &[100]), ("eth4", &[])],
            "on bond0, a bond: frames of VLAN 100 on eth4 have no ingress and follow defaults.mode",
        );
        hole(
            "bond0.100",
            &[("bond0", &[])],
            "frames of VLAN 100 on bond0 have no ingress and follow defaults.mode",
        );
        hole("bond1", &[], "a bond that no ingress names and that has no members yet");
        hole("eth3", &[("eth4", &[])], "a member of bond0, which no ingress names either");
    }

    #[test]
    fn a_tunnel_is_never_covered_by_what_it_runs_over() {
        let tunnel = "a tunnel: the filter at the port does not look into it";
        for name in ["gre1", "sec0"] {
            hole(name, &[("eth1", &[]), ("eth2", &[])], tunnel);
        }
        hole("gre1.9", &[("eth1", &[]), ("eth1", &[9])], &format!("on gre1, {tunnel}"));
        covered("gre1", &[("gre1", &[])]);
    }

    #[test]
    fn other_devices_say_what_they_are() {
        hole(
            "br0",
            &[("eth5", &[])],
            "a bridge: no ingress names it, and its ports are not filtered",
        );
        hole("br0.5", &[], "on br0, a bridge: no ingress names it, and its ports are not filtered");
        covered("br0.5", &[("br0", &[5])]);
        hole(
            "eth5",
            &[("br0", &[])],
            "a port of br0: its frames go to the bridge, so turn its MPLS input off",
        );
        hole("red", &[], "a VRF: frames come in over its member interfaces, not here");
        hole(
            "mv0",
            &[("eth1", &[])],
            "a macvlan on eth1: its neighbours there reach it past the port",
        );
        hole("lo", &[], "only this router itself can send there");
        covered("lo", &[("lo", &[])]);
        hole("gone", &[], "no ingress names it, and the kernel no longer lists it");
    }

    #[test]
    fn devices_in_a_circle_end() {
        let links = Links::from_iter([vlan(1, "a", 2, 0), vlan(2, "b", 1, 5)]);
        let found = uncovered(&links, &["a".to_owned()], &[]);
        assert_eq!(found[0].why, "its devices stand on each other in a circle");
    }

    #[test]
    fn holes_come_in_the_order_asked() {
        let inputs = ["eth2", "eth1", "lo"].map(str::to_owned);
        let found = uncovered(&router(), &inputs, &[("eth1".to_owned(), Vec::new())]);
        let names: Vec<_> = found.iter().map(|hole| hole.interface.as_str()).collect();
        assert_eq!(names, ["eth2", "lo"]);
    }
}
