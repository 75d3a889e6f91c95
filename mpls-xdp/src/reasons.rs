//! What each reason means to an operator: the pages of `mpls-xdp help reason`.
//!
//! Names, sources and meanings are those of [`mpls_xdp_ebpf::reason`]. The advice stands here and
//! not there, so that a better sentence asks for no new kernel object; every `match` names every
//! reason, so that one without advice does not compile.

use mpls_xdp_ebpf::reason::{InterfaceReason, Reason};

/// All that is to be said about a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The name in JSON, counters and documentation.
    pub name: &'static str,
    /// Where the check comes from: an RFC and its section, or a key of the policy.
    pub source: &'static str,
    /// What happened, in one sentence without a full stop.
    pub meaning: &'static str,
    /// What an operator can do with it.
    pub advice: Advice,
}

/// What a reason tells an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// What is checked, and why.
    pub about: &'static str,
    /// How it comes about without any ill will, most often.
    pub innocent: &'static str,
    /// What an attacker would want with it.
    pub attack: &'static str,
    /// What to look at next, in this order.
    pub next: &'static [&'static str],
}

/// The pages of all reasons: those of an ingress, then those of an interface.
pub fn pages() -> impl Iterator<Item = Page> {
    Reason::ALL.into_iter().map(Page::from).chain(InterfaceReason::ALL.into_iter().map(Page::from))
}

/// The page of the reason of this name.
pub fn page(name: &str) -> Option<Page> {
    pages().find(|page| page.name == name)
}

impl From<Reason> for Page {
    fn from(reason: Reason) -> Self {
        Self {
            name: reason.name(),
            source: reason.source(),
            meaning: reason.meaning(),
            advice: of_ingress(reason),
        }
    }
}

impl From<InterfaceReason> for Page {
    fn from(reason: InterfaceReason) -> Self {
        Self {
            name: reason.name(),
            source: reason.source(),
            meaning: reason.meaning(),
            advice: of_interface(reason),
        }
    }
}

const fn of_ingress(reason: Reason) -> Advice {
    match reason {
        Reason::MplsNotEnabled => Advice {
            about: "A customer port carries IP or Ethernet, never labels, so any labelled frame \
                    there is refused without a look at its stack.",
            innocent: "The customer's router runs LDP or MPLS on the wrong interface, or the port \
                       was given to a customer who buys carriers' carrier and needs the role \
                       `peer`.",
            attack: "Writing the label of another VRF, to send packets into a VPN that the \
                     customer does not belong to.",
            next: &[
                "The role of the ingress in the policy: is it really a customer?",
                "`net.mpls.conf.IF.input` of the port: it should be 0 for a customer",
                "The labels in the refused frames: a label of another VRF is no accident",
            ],
        },
        Reason::UpstreamNotAllowed => Advice {
            about: "Type 0x8848 says that the sender chose the labels, so they belong to its label \
                    space and mean nothing in this router's own. Version 1 accepts none, from \
                    anybody.",
            innocent: "Multicast VPN or RSVP-TE point-to-multipoint with upstream-assigned labels \
                       on a shared LAN, or an old device that sends all multicast as 0x8848.",
            attack: "Passing a filter that knows type 0x8847 only.",
            next: &[
                "Multicast in MPLS on the neighbour (mLDP and ingress replication use 0x8847)",
                "Whether the frames' destination is a multicast MAC address",
            ],
        },
        Reason::StackTooDeep => Advice {
            about: "The stack goes on after as many entries as `max-depth` of the ingress allows. \
                    The entry that is one too many was not read.",
            innocent: "`max-depth` is too small for what the neighbour sends: SR-TE segments, fast \
                       reroute and entropy labels add entries.",
            attack: "Hiding a label below one that is allowed, so that another router of this \
                     network pops its way down to it; or stacks without end that cost time.",
            next: &[
                "`mpls-xdp explain` with such a frame: which label is below the accepted one?",
                "For an option B peer 1 is right: a second label has no honest use there",
                "For a core, how many segments the routers may push",
            ],
        },
        Reason::Truncated => Advice {
            about: "The frame ended before an entry with S set. No sender of a sound frame does \
                    that.",
            innocent: "A fault on the way, a broken card or tunnel, or a capture with a short \
                       snapshot length that was replayed.",
            attack: "Looking for a parser that reads past the end of a frame.",
            next: &[
                "Error counters of the port on both sides: `ethtool -S IF`",
                "In `replay` and `explain`: whether the capture kept whole frames",
            ],
        },
        Reason::TtlZero => Advice {
            about: "The first entry has TTL 0. The router before had to discard the packet \
                    instead of sending it. Lower entries may have any TTL.",
            innocent: "A routing loop that ends here with a neighbour that does not discard, or a \
                       neighbour that copies a wrong TTL into its label.",
            attack: "Making the router answer or count for packets that nobody can trace back.",
            next: &[
                "Routes for the label on the neighbour: is there a loop?",
                "TTL propagation on the neighbour",
            ],
        },
        Reason::ImplicitNull => Advice {
            about: "A router signals label 3 to ask its neighbour to pop. It is never written into \
                    a frame, so there is no packet that this could belong to.",
            innocent: "A neighbour or a traffic generator that pushes the signalled value instead \
                       of popping.",
            attack: "Trying what this router does with values that it has no entry for.",
            next: &["The software of the neighbour: this is a fault in its forwarding plane"],
        },
        Reason::ReservedLabel => Advice {
            about: "Labels 5, 6 and 8 to 12 are special-purpose labels without a meaning. Nothing \
                    may be sent with them.",
            innocent: "A neighbour that gives out labels below 16, or an experiment with a draft.",
            attack: "Trying what this router does with values that it has no entry for.",
            next: &[
                "The label range of the neighbour's and of this router's static LSPs",
                "`mpls-xdp explain`: whether the entry is below one that this router pops",
            ],
        },
        Reason::MnaAtBottom => Advice {
            about: "Label 4 announces network actions in the entries after it, and it was the last \
                    one.",
            innocent: "A neighbour that numbers labels from 0, or a faulty implementation of MNA.",
            attack: "Looking for a parser that reads past the bottom of the stack.",
            next: &["MNA on the neighbour; this filter refuses it in any form"],
        },
        Reason::SpecialLabelNotAllowed => Advice {
            about: "A special-purpose label that this router would act on, and the ingress does \
                    not allow it. Label 4 (MNA) cannot be allowed, because its data looks like \
                    labels.",
            innocent: "The neighbour uses a feature that the policy lacks: explicit null for QoS \
                       (0, 2), entropy labels (7), MPLS-TP or VCCV (13), LSP ping with router \
                       alert (1).",
            attack: "Router alert sends packets to the CPU; explicit null and the others expose \
                     the label below them to this router.",
            next: &[
                "The label in `replay`, `explain` or `stats`: which feature is it?",
                "If the neighbour is to have it, its name in `special` of the ingress",
                "Otherwise turn it off there, explicit null with the neighbour's own setting",
            ],
        },
        Reason::RouterAlertAtBottom => Advice {
            about: "Label 1 asks the router to look at the packet and to forward it by the next \
                    label, and there was none.",
            innocent: "A faulty LSP ping or traceroute.",
            attack: "Getting packets to the router's CPU without any label of its own.",
            next: &["What sends MPLS OAM on the neighbour; the rate of these frames"],
        },
        Reason::EliAtBottom => Advice {
            about: "Label 7 announces an entropy label, and the stack ended instead.",
            innocent: "A faulty implementation of entropy labels on the way, which popped one of \
                       the two entries.",
            attack: "Looking for a parser that reads past the bottom of the stack.",
            next: &["Routers between the one that pushes entropy labels and this one"],
        },
        Reason::EntropyLabelReserved => Advice {
            about: "The entry after label 7 is a random number for load balancing. It must not be \
                    one of 0 to 15, so that no router takes it for a special-purpose label.",
            innocent: "A faulty entropy hash on the router that pushes it.",
            attack: "Hiding a special-purpose label from filters, for a router that pops label 7 \
                     alone.",
            next: &["The router that pushes entropy labels: its flow hash, and its software"],
        },
        Reason::XlAtBottom => Advice {
            about: "Label 15 announces an extended special-purpose label, and the stack ended \
                    instead.",
            innocent: "A faulty implementation; extended labels are hardly used.",
            attack: "Looking for a parser that reads past the bottom of the stack.",
            next: &["What on the neighbour uses label 15; nothing usual does"],
        },
        Reason::ExtendedLabelInvalid => Advice {
            about: "The entry after label 15 has a value of 0 to 15, which are no extended labels. \
                    RFC 9017 wants such a packet discarded.",
            innocent: "A faulty implementation; extended labels are hardly used.",
            attack: "A second spelling of labels 0 to 15 that filters do not know.",
            next: &["What on the neighbour uses label 15; nothing usual does"],
        },
        Reason::ExtendedLabelNotAllowed => Advice {
            about: "A well-formed extended special-purpose label, and `special` of the ingress \
                    does not have `extended`. No role has it by default.",
            innocent: "An experiment of the neighbour's.",
            attack: "Reaching code of this router that is hardly ever used.",
            next: &[
                "What on the neighbour uses label 15",
                "If it is to be accepted: `special` of the ingress, with all names it needs",
            ],
        },
        Reason::LabelOutOfVrf => Advice {
            about: "This router would deliver the packet into a VRF, a pseudowire or an EVPN \
                    instance that the policy does not give to this ingress.",
            innocent: "The policy lacks a context on a core ingress (after penultimate-hop popping \
                       VPN labels arrive alone, on any core interface), or a new VRF was \
                       advertised to the peer and not written into the policy.",
            attack: "The classic one: a neighbour writes another customer's VPN label and is in \
                     that VPN. It needs no reply.",
            next: &[
                "Which context has the label: `mpls-xdp explain POLICY --interface IF --stack …`",
                "Whether routes of that VRF are advertised to this neighbour: `show bgp ipv4 vpn \
                 neighbors A.B.C.D advertised-routes`",
                "If they are: the context in `contexts` of the ingress, then `apply`",
                "If not: the source MAC address, and who is behind it",
            ],
        },
        Reason::LabelSpoofed => Advice {
            about: "The label exists on this router: it is in a context that this ingress does not \
                    accept, or was distributed to another neighbour. This one had no way to learn \
                    it.",
            innocent: "Traffic came in over another interface than the policy knows: a backup \
                       path, a changed IGP metric, a second session with the same peer.",
            attack: "Using a transport label to reach inside the network, often with the VPN label \
                     of another PE below it; or the labels of another peer.",
            next: &[
                "`mpls-xdp explain`: who has the label, and what is below it",
                "Whether the label was distributed on this interface: `show mpls ldp binding \
                 detail`, `show bgp mplsvpn-nh-label-bind detail`",
                "If it was: add it to `labels` or `contexts` of the ingress",
                "If not: the source MAC address, and who is behind it",
            ],
        },
        Reason::LabelOutOfRange => Advice {
            about: "No context and no ingress of the policy has the label. Either this router \
                    never gave it out, or the policy does not know it yet.",
            innocent: "Labels changed with a restart or a new session and the neighbour still uses \
                       the old ones, or the policy is older than this router's label table.",
            attack: "Trying label after label to find those that work.",
            next: &[
                "`ip -f mpls route show LABEL`: if it is there, the policy lacks it",
                "Whether the neighbour's session came up anew: it should stop by itself soon",
                "Many different labels from one source: somebody is searching",
            ],
        },
    }
}

const fn of_interface(reason: InterfaceReason) -> Advice {
    match reason {
        InterfaceReason::IngressUnbound => Advice {
            about: "The interface is filtered, and no ingress has exactly these VLAN IDs, outer to \
                    inner. If each of its ingresses has `vlan`, untagged frames have none either. \
                    Such frames follow `mode` of `[defaults]`.",
            innocent: "A VLAN that the policy lacks, a native VLAN that arrives untagged, or tags \
                       in the other order.",
            attack: "Adding or leaving out tags, to be taken for somebody who is trusted more.",
            next: &[
                "The VLAN devices on the port: `ip -d link show type vlan`",
                "`mpls-xdp check --live POLICY`: VLAN devices that take MPLS and have no ingress",
                "The tags as they arrive: `tcpdump -e -n -i IF mpls or vlan`",
            ],
        },
        InterfaceReason::VlanTooDeep => Advice {
            about: "A fifth VLAN tag follows four. What is behind it is not read, so that the \
                    frame could be anything, MPLS as well; it follows `mode` of `[defaults]`.",
            innocent: "A loop in a switched network that adds a tag in each round.",
            attack: "Hiding type 0x8847 behind more tags than a filter reads.",
            next: &[
                "The switches before this port: tunnels (QinQ) on a loop",
                "Whether anything behind this port needs more than two tags",
            ],
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_has_one_page_under_its_name() {
        let names: Vec<_> = pages().map(|page| page.name).collect();
        assert_eq!(names.len(), 20);
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        for name in names {
            assert_eq!(page(name).map(|page| page.name), Some(name));
        }
        assert_eq!(page("label_spoofd"), None);
    }

    #[test]
    fn every_page_is_complete() {
        for Page { name, advice: Advice { about, innocent, attack, next }, .. } in pages() {
            for text in [about, innocent, attack] {
                assert!(text.len() > 20 && text.ends_with('.'), "{name}: {text}");
            }
            assert!(!next.is_empty() && next.iter().all(|step| !step.ends_with('.')), "{name}");
            let all = [about, innocent, attack].into_iter().chain(next.iter().copied());
            for text in all {
                assert!(!text.contains("  ") && text.trim() == text, "{name}: {text}");
            }
        }
    }

    #[test]
    fn no_two_reasons_mean_the_same() {
        let about: HashSet<_> = pages().map(|page| page.advice.about).collect();
        assert_eq!(about.len(), pages().count());
    }
}
