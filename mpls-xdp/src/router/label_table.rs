use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};

use super::RouterError;
use super::netlink::{ATTEMPTS, Dump, dump_label_routes};

/// What this router does with packets of an incoming label (`ip -f mpls route`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelRoute {
    /// The incoming label.
    pub label: u32,
    /// Where its packets go; more than one with several paths.
    pub hops: Vec<LabelHop>,
}

/// One path of a label's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelHop {
    /// Index of the interface that they leave by, or of a device of this router; none where the
    /// kernel names none, because it went away.
    pub interface: Option<u32>,
    /// Whether other labels replace the incoming one; otherwise it is popped.
    pub swaps: bool,
}

/// The kernel's label table, in the network namespace of the calling thread; empty where the
/// kernel does not forward MPLS.
///
/// # Errors
///
/// Where RTNETLINK does not answer, or the table changes all the time.
pub fn label_table() -> Result<Vec<LabelRoute>, RouterError> {
    for _ in 0..ATTEMPTS {
        let dump = dump_label_routes().map_err(|source| RouterError::LabelTable { source })?;
        if let Dump::Complete(messages) = dump {
            return Ok(messages.iter().filter_map(LabelRoute::from_message).collect());
        }
    }
    Err(RouterError::LabelsKeepChanging)
}

impl LabelRoute {
    fn from_message(message: &RouteMessage) -> Option<Self> {
        let label = message.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Destination(RouteAddress::Mpls(entry)) => Some(entry.label),
            _ => None,
        })?;
        let paths = message.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::MultiPath(paths) => Some(paths),
            _ => None,
        });
        let hops = match paths {
            Some(paths) => paths
                .iter()
                .map(|path| LabelHop {
                    interface: (path.interface_index != 0).then_some(path.interface_index),
                    ..LabelHop::from_attributes(&path.attributes)
                })
                .collect(),
            None => vec![LabelHop::from_attributes(&message.attributes)],
        };
        Some(Self { label, hops })
    }
}

impl LabelHop {
    fn from_attributes(attributes: &[RouteAttribute]) -> Self {
        let interface = attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        });
        let swaps = attributes
            .iter()
            .any(|attribute| matches!(attribute, RouteAttribute::NewDestination(_)));
        Self { interface, swaps }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use rtnetlink::packet_core::{Emitable, Parseable};
    use rtnetlink::packet_route::AddressFamily;
    use rtnetlink::packet_route::route::{MplsLabel, RouteNextHop, RouteVia};

    use super::super::fresh_namespace::in_fresh_namespace;
    use super::*;

    fn entry(label: u32) -> MplsLabel {
        MplsLabel { label, traffic_class: 0, bottom_of_stack: true, ttl: 0 }
    }

    /// As the kernel would send it, since not every kernel that tests run on forwards MPLS.
    fn decoded(attributes: Vec<RouteAttribute>) -> Option<LabelRoute> {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Mpls;
        message.header.destination_prefix_length = 20;
        message.attributes = attributes;
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        LabelRoute::from_message(&RouteMessage::parse(bytes.as_slice()).unwrap())
    }

    fn destination(label: u32) -> RouteAttribute {
        RouteAttribute::Destination(RouteAddress::Mpls(entry(label)))
    }

    #[test]
    fn a_label_is_popped_or_swapped() {
        let route = decoded(vec![destination(100), RouteAttribute::Oif(7)]).unwrap();
        let popped = LabelHop { interface: Some(7), swaps: false };
        assert_eq!(route, LabelRoute { label: 100, hops: vec![popped] });

        let route = decoded(vec![
            destination(1_048_575),
            RouteAttribute::NewDestination(vec![entry(200)]),
            RouteAttribute::Via(RouteVia::Inet(Ipv4Addr::LOCALHOST)),
            RouteAttribute::Oif(3),
        ]);
        let swapped = LabelHop { interface: Some(3), swaps: true };
        assert_eq!(route.unwrap(), LabelRoute { label: 1_048_575, hops: vec![swapped] });
    }

    #[test]
    fn every_path_is_read() {
        let path = |interface_index, attributes| {
            let mut path = RouteNextHop::default();
            path.interface_index = interface_index;
            path.attributes = attributes;
            path
        };
        let paths = vec![
            path(3, vec![RouteAttribute::NewDestination(vec![entry(16_001)])]),
            path(4, vec![]),
            path(0, vec![]),
        ];
        let route = decoded(vec![destination(16_007), RouteAttribute::MultiPath(paths)]).unwrap();
        let hops = [(Some(3), true), (Some(4), false), (None, false)];
        let hops = hops.map(|(interface, swaps)| LabelHop { interface, swaps });
        assert_eq!(route, LabelRoute { label: 16_007, hops: hops.to_vec() });
    }

    #[test]
    fn what_has_no_label_is_no_route_of_one() {
        assert_eq!(decoded(vec![RouteAttribute::Oif(7)]), None);
    }

    #[test]
    fn a_fresh_namespace_has_no_labels() {
        in_fresh_namespace(|| assert_eq!(label_table().unwrap(), []));
    }
}
