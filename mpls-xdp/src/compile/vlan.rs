//! The tables that lead from a frame's VLAN IDs to its ingress.

use std::collections::BTreeMap;

use mpls_xdp_ebpf::abi::{
    ingress,
    vlan_node::{CHILDREN, FANOUT, INGRESS, LEN, SHIFT},
};

use super::ImageBuilder;
use crate::policy::VlanId;

/// The words of an ingress.
pub(super) type Record = [u32; ingress::LEN as usize];

/// What an interface's frames are bound to.
pub(super) struct Root {
    /// The ingress of untagged frames; zeros where there is none.
    pub(super) untagged: Record,
    /// Place of the table of frames with tags, or 0.
    pub(super) children: u32,
}

/// What is bound at one place, and below it by one more tag.
#[derive(Default)]
struct Node<'a> {
    ingress: Option<&'a Record>,
    children: BTreeMap<u16, Node<'a>>,
}

/// The root of an interface, with the tables of all `bound` VLAN IDs behind it.
pub(super) fn root<'a>(
    image: &mut ImageBuilder,
    bound: impl Iterator<Item = (&'a [VlanId], &'a Record)>,
) -> Root {
    let mut root = Node::default();
    for (vlans, record) in bound {
        let node =
            vlans.iter().fold(&mut root, |node, vlan| node.children.entry(vlan.get()).or_default());
        node.ingress = Some(record);
    }
    Root {
        untagged: root.ingress.copied().unwrap_or_default(),
        children: table(image, &root.children),
    }
}

/// The place of the table of these nodes; 0 when there are none.
fn table(image: &mut ImageBuilder, nodes: &BTreeMap<u16, Node<'_>>) -> u32 {
    if nodes.is_empty() {
        return 0;
    }
    let mut leaves: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (vid, node) in nodes {
        let vid = u32::from(*vid);
        let leaf = leaves.entry(vid >> SHIFT).or_insert_with(|| vec![0; (FANOUT * LEN) as usize]);
        let place = (vid % FANOUT * LEN) as usize;
        leaf[place + INGRESS as usize] = node.ingress.map_or(0, |record| image.append(record));
        leaf[place + CHILDREN as usize] = table(image, &node.children);
    }
    let mut table = [0; FANOUT as usize];
    for (place, leaf) in leaves {
        table[place as usize] = image.append(&leaf);
    }
    image.append(&table)
}
