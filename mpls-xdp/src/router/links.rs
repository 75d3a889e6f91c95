use std::collections::BTreeMap;
use std::ffi::CStr;

use rtnetlink::packet_route::link::{InfoData, InfoVlan, LinkAttribute, LinkInfo, LinkMessage};

use super::netlink::{ATTEMPTS, Dump, dump_links};
use super::{RouterError, XdpProgram};

/// All links of this network namespace, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Links {
    by_index: BTreeMap<u32, Link>,
}

/// One network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The interface's index, unique in its network namespace only.
    pub index: u32,
    /// The interface's name.
    pub name: String,
    /// What kind of device it is (`vlan`, `bond`, `veth`, …); none for most hardware.
    pub kind: Option<String>,
    /// The largest packet in bytes, without the Ethernet header.
    pub mtu: u32,
    /// For a VLAN device, what it is made of.
    pub vlan: Option<VlanDevice>,
    /// The device below (or a veth's other end), where that is in this network namespace.
    pub lower: Option<u32>,
    /// The bond, bridge or VRF that this interface is a member of.
    pub controller: Option<u32>,
    /// The XDP program on it.
    pub xdp: Option<XdpProgram>,
}

/// What a VLAN device is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VlanDevice {
    /// The index of the interface below; none where that is in another network namespace.
    pub parent: Option<u32>,
    /// The VLAN ID that the device adds and removes.
    pub vid: u16,
}

impl Links {
    /// Asks the kernel for all links, in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// Where RTNETLINK does not answer, or describes an interface in a way that cannot be decoded:
    /// an interface that silently went missing here would be left without a filter.
    pub fn read() -> Result<Self, RouterError> {
        let mut missing = None;
        for _ in 0..ATTEMPTS {
            let dump = dump_links().map_err(|source| RouterError::Links { source })?;
            let Dump::Complete(messages) = dump else {
                missing = None;
                continue;
            };
            let links: Self = messages.into_iter().filter_map(Link::from_message).collect();
            missing = existing_interfaces()?
                .into_iter()
                .find(|(index, _)| !links.by_index.contains_key(index))
                .map(|(_, name)| name);
            if missing.is_none() {
                return Ok(links);
            }
        }
        Err(match missing {
            Some(interface) => RouterError::LinkNotUnderstood { interface },
            None => RouterError::LinksKeepChanging,
        })
    }

    /// The interface with this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Link> {
        self.iter().find(|link| link.name == name)
    }

    /// The interface with this index.
    #[must_use]
    pub fn by_index(&self, index: u32) -> Option<&Link> {
        self.by_index.get(&index)
    }

    /// All interfaces, by index.
    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.by_index.values()
    }

    /// The members of a bond (or bridge, or VRF), by index.
    pub fn members(&self, index: u32) -> impl Iterator<Item = &Link> {
        self.iter().filter(move |link| link.controller == Some(index))
    }
}

impl FromIterator<Link> for Links {
    fn from_iter<T: IntoIterator<Item = Link>>(links: T) -> Self {
        Self { by_index: links.into_iter().map(|link| (link.index, link)).collect() }
    }
}

impl Link {
    fn from_message(message: LinkMessage) -> Option<Self> {
        let index = message.header.index;
        let (mut name, mut kind, mut vid) = (None, None, None);
        let (mut mtu, mut lower, mut controller, mut xdp) = (0, None, None, None);
        let mut lower_is_elsewhere = false;
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(value) => name = Some(value),
                LinkAttribute::Mtu(value) => mtu = value,
                LinkAttribute::Link(value) => lower = (value != 0).then_some(value),
                LinkAttribute::LinkNetNsId(_) => lower_is_elsewhere = true,
                LinkAttribute::Controller(value) => controller = (value != 0).then_some(value),
                LinkAttribute::Xdp(attributes) => xdp = XdpProgram::from_attributes(&attributes),
                LinkAttribute::LinkInfo(infos) => {
                    for info in infos {
                        match info {
                            LinkInfo::Kind(value) => kind = Some(value.to_string()),
                            LinkInfo::Data(InfoData::Vlan(data)) => vid = vlan_id(&data),
                            _ => (),
                        }
                    }
                }
                _ => (),
            }
        }
        // The index of a device in another namespace can be that of an unrelated one in this.
        let lower = lower.filter(|_| !lower_is_elsewhere);
        let vlan = vid.map(|vid| VlanDevice { parent: lower, vid });
        Some(Self { index, name: name?, kind, mtu, vlan, lower, controller, xdp })
    }
}

fn vlan_id(data: &[InfoVlan]) -> Option<u16> {
    data.iter().find_map(|entry| match entry {
        InfoVlan::Id(vid) => Some(*vid),
        _ => None,
    })
}

/// Index and name of every interface, from the C library.
fn existing_interfaces() -> Result<Vec<(u32, String)>, RouterError> {
    // SAFETY: takes no arguments; the list is freed below.
    let list = unsafe { libc::if_nameindex() };
    if list.is_null() {
        return Err(RouterError::Links { source: std::io::Error::last_os_error() });
    }
    let mut interfaces = Vec::new();
    let mut entry = list;
    loop {
        // SAFETY: the list ends with an entry of index 0, where this loop stops.
        let libc::if_nameindex { if_index, if_name } = unsafe { *entry };
        if if_index == 0 || if_name.is_null() {
            break;
        }
        // SAFETY: every entry but the last has a name that ends with a NUL.
        let name = unsafe { CStr::from_ptr(if_name) }.to_string_lossy().into_owned();
        interfaces.push((if_index, name));
        // SAFETY: this entry was not the last, so there is a next one.
        entry = unsafe { entry.add(1) };
    }
    // SAFETY: the list came from if_nameindex and is not used any more.
    unsafe { libc::if_freenameindex(list) };
    Ok(interfaces)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use rtnetlink::packet_core::{Emitable, Parseable};
    use rtnetlink::packet_route::link::InfoKind;

    use super::super::fresh_namespace::{in_fresh_namespace, ip};
    use super::*;

    #[test]
    fn a_fresh_namespace_has_lo() {
        in_fresh_namespace(|| {
            let links = Links::read().unwrap();
            assert_eq!(links.by_name("lo").unwrap().index, 1);
            assert_eq!(links.by_index(1).unwrap().kind, None);
            assert!(links.by_name("eth0").is_none());
        });
    }

    #[test]
    fn veths_and_members_are_read() {
        in_fresh_namespace(|| {
            ip("link add east type veth peer name west");
            ip("link set dev east mtu 9000");
            ip("link add bridge0 type bridge");
            ip("link set dev east master bridge0");
            ip("link add link west name child type macvlan");
            let links = Links::read().unwrap();
            let (east, west) = (links.by_name("east").unwrap(), links.by_name("west").unwrap());
            let (bridge, child) =
                (links.by_name("bridge0").unwrap(), links.by_name("child").unwrap());
            assert_eq!(east.kind.as_deref(), Some("veth"));
            assert_eq!(east.mtu, 9000);
            assert_eq!(east.lower, Some(west.index));
            assert_eq!(east.controller, Some(bridge.index));
            assert_eq!(west.controller, None);
            assert_eq!(bridge.kind.as_deref(), Some("bridge"));
            assert_eq!(child.kind.as_deref(), Some("macvlan"));
            assert_eq!(child.lower, Some(west.index));
            assert_eq!(child.vlan, None);
            assert_eq!(links.members(bridge.index).collect::<Vec<_>>(), [east]);
        });
    }

    #[test]
    fn a_lower_device_in_another_namespace_is_not_taken_for_one_of_this() {
        in_fresh_namespace(|| {
            ip("link add here type veth peer name there");
            let there =
                in_fresh_namespace(|| std::fs::File::open("/proc/thread-self/ns/net").unwrap());
            ip(&format!(
                "link set dev there netns /proc/{}/fd/{}",
                std::process::id(),
                there.as_raw_fd()
            ));
            assert_eq!(Links::read().unwrap().by_name("here").unwrap().lower, None);
        });
    }

    /// As the kernel would send it, since not every kernel that tests run on has VLAN devices.
    fn decoded(attributes: Vec<LinkAttribute>) -> Link {
        let mut message = LinkMessage::default();
        message.header.index = 9;
        message.attributes = attributes;
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        Link::from_message(LinkMessage::parse(bytes.as_slice()).unwrap()).unwrap()
    }

    #[test]
    fn a_vlan_device_tells_its_port_and_vid() {
        let attributes = vec![
            LinkAttribute::IfName("eth2.100".to_owned()),
            LinkAttribute::Mtu(1500),
            LinkAttribute::Link(4),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Vlan),
                LinkInfo::Data(InfoData::Vlan(vec![InfoVlan::Id(100)])),
            ]),
        ];
        let link = decoded(attributes.clone());
        assert_eq!(link.kind.as_deref(), Some("vlan"));
        assert_eq!(link.lower, Some(4));
        assert_eq!(link.vlan, Some(VlanDevice { parent: Some(4), vid: 100 }));

        let elsewhere = [attributes, vec![LinkAttribute::LinkNetNsId(0)]].concat();
        let link = decoded(elsewhere);
        assert_eq!(link.lower, None);
        assert_eq!(link.vlan, Some(VlanDevice { parent: None, vid: 100 }));
    }
}
