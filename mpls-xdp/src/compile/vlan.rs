//! The tables that lead from a frame's VLAN IDs to its ingress.

use std::collections::BTreeMap;

use mpls_xdp_ebpf::abi::vlan_node::{CHILDREN, FANOUT, INGRESS, LEN, SHIFT};

use super::ImageBuilder;
use crate::policy::VlanId;

/// What is bound at one place, and below it by one more tag.
#[derive(Default)]
struct Node {
    /// Offset of the ingress's record, or 0.
    ingress: u32,
    children: BTreeMap<u16, Node>,
}

/// The node of untagged frames, with the tables of all `bound` VLAN IDs behind it.
pub(super) fn root<'a>(
    image: &mut ImageBuilder,
    bound: impl Iterator<Item = (&'a [VlanId], u32)>,
) -> [u32; LEN as usize] {
    let mut root = Node::default();
    for (vlans, record) in bound {
        let node =
            vlans.iter().fold(&mut root, |node, vlan| node.children.entry(vlan.get()).or_default());
        node.ingress = record;
    }
    write(image, &root)
}

fn write(image: &mut ImageBuilder, node: &Node) -> [u32; LEN as usize] {
    let mut words = [0; LEN as usize];
    words[INGRESS as usize] = node.ingress;
    if node.children.is_empty() {
        return words;
    }
    let mut leaves: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (vid, child) in &node.children {
        let vid = u32::from(*vid);
        let leaf = leaves.entry(vid >> SHIFT).or_insert_with(|| vec![0; (FANOUT * LEN) as usize]);
        let place = (vid % FANOUT * LEN) as usize;
        leaf[place..place + LEN as usize].copy_from_slice(&write(image, child));
    }
    let mut table = [0; FANOUT as usize];
    for (place, leaf) in leaves {
        table[place as usize] = image.append(&leaf);
    }
    words[CHILDREN as usize] = image.append(&table);
    words
}
