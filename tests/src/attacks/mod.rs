//! Attacks on a label-switching router, and the traffic that must get through in spite of them.
//!
//! Each attack says who sends what where, what it is good for, where it is described, and what must
//! happen to every frame of it: dropped for which reason, or let through by which rule. That is
//! written by hand. [`Attack::run`] carries the attack out on real interfaces with the built
//! `mpls-xdp` and judges what comes out behind the filter and every single counter; the independent
//! [`oracle`](crate::oracle) must say the same. An attack knows nothing of the wires: [`Target`].
//!
//! The list is in [`for_each_attack`](crate::for_each_attack). Most attacks are on the router in
//! [`network`].

mod customer;
mod floods;
mod hidden;
mod ledger;
mod legitimate;
mod malformed;
mod mna;
pub mod network;
mod option_b;
mod payload;
mod popped;
mod run;
mod srgb;
mod story;
mod upstream;
mod vlan;

pub use ledger::{Count, Ledger};
pub use run::{Flooded, Target, router};
pub use story::{Fate, Neighbour, Sending, Sent, Story};

/// Calls a macro with the list of all attacks: `family: attack, attack; family: …`.
///
/// A test file makes a test of each.
#[macro_export]
macro_rules! for_each_attack {
    ($use:ident) => {
        $use! {
            customer:
                injects_the_vpn_label_of_another_vrf,
                injects_the_vpn_label_of_its_own_vrf,
                hides_a_vpn_label_under_a_transport_label,
                hides_a_vpn_label_under_explicit_null,
                uses_the_other_type_of_mpls,
                sends_every_special_purpose_label,
                sends_stacks_that_are_none;
            option_b:
                uses_a_label_given_only_to_another_peer,
                enters_a_vrf_that_it_was_not_given,
                puts_a_second_label_under_its_own,
                puts_a_transport_label_over_a_vpn_label,
                sweeps_the_whole_label_space;
            popped:
                a_vpn_label_at_every_depth_from_a_peer,
                a_vpn_label_at_every_depth_from_the_core,
                a_label_of_another_neighbour_at_every_depth,
                a_label_that_was_never_given_out_at_every_depth,
                a_special_label_at_every_depth,
                a_label_that_pops_though_the_ingress_has_it_as_its_own,
                a_second_label_where_one_is_allowed;
            hidden:
                behind_ipv4_explicit_null,
                behind_ipv6_explicit_null,
                behind_router_alert,
                behind_an_entropy_label,
                behind_gal,
                behind_chains_of_all_of_them,
                behind_explicit_nulls_down_to_the_last_entry,
                behind_labels_that_must_be_allowed_first,
                behind_labels_that_the_core_does_not_allow,
                from_a_peer_that_has_no_special_label,
                as_an_entropy_label_that_is_none,
                as_an_extended_label_that_is_none,
                as_an_extended_label_that_is_none_and_not_allowed_either,
                with_nothing_behind;
            srgb:
                segments_from_an_option_c_peer,
                segments_from_an_option_b_peer,
                segments_from_a_customer,
                own_sids_that_pop;
            mna:
                an_action_on_top,
                an_action_in_the_middle,
                an_action_at_the_bottom,
                an_action_where_all_else_is_allowed;
            vlan:
                a_wrong_vid,
                another_neighbours_vid,
                a_priority_tag,
                swapped_and_missing_tags_of_two,
                every_type_of_tag,
                stripped_tags,
                an_outer_tag_of_the_native_vlan,
                three_and_four_tags,
                five_tags,
                priority_and_drop_bits;
            upstream:
                from_a_peer_with_its_own_label,
                from_the_core,
                every_special_purpose_label;
            malformed:
                runts_of_every_length,
                stacks_cut_at_every_byte,
                jumbo_stacks,
                stacks_without_a_bottom_to_the_end_of_the_frame,
                a_packet_that_is_read_as_labels,
                dead_packets,
                labels_that_are_never_on_the_wire;
            floods:
                of_router_alert_that_is_not_allowed,
                of_router_alert_that_is_allowed,
                of_ttl_1_with_labels_of_another_peer,
                of_ttl_1_with_its_own_label,
                of_ttl_0;
            legitimate:
                vpn_traffic_after_penultimate_hop_popping,
                vpn_traffic_below_transport_labels,
                explicit_null_in_the_core,
                traceroute,
                lsp_ping_and_bfd,
                pseudowires,
                flow_labels,
                entropy_labels,
                labels_that_other_routers_own,
                frames_of_9000_bytes,
                what_is_not_mpls,
                every_traffic_class;
        }
    };
}

/// An attack, or traffic that must get through.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    /// The module that describes it.
    pub family: &'static str,
    /// What happens, as a test is called.
    pub name: &'static str,
    describe: fn() -> Story,
}

impl Attack {
    /// What happens, in words.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{}: {}", self.family, self.name).replace('_', " ")
    }

    /// Who sends what where, and what becomes of it.
    #[must_use]
    pub fn story(&self) -> Story {
        (self.describe)()
    }

    /// The attack of this name.
    #[must_use]
    pub fn find(family: &str, name: &str) -> Option<Self> {
        ATTACKS.iter().copied().find(|attack| (attack.family, attack.name) == (family, name))
    }
}

/// What the filter does with a frame that it refuses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Drops it.
    Enforce,
    /// Passes it, and counts what it would have dropped.
    Monitor,
}

impl Mode {
    /// The name in a policy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Monitor => "monitor",
        }
    }

    /// The counter of refused frames.
    #[must_use]
    pub const fn refusal(self) -> &'static str {
        match self {
            Self::Enforce => "dropped",
            Self::Monitor => "would_drop",
        }
    }
}

macro_rules! list {
    ($($family:ident: $($attack:ident),+;)+) => {
        /// All of them.
        pub const ATTACKS: &[Attack] = &[$($(Attack {
            family: stringify!($family),
            name: stringify!($attack),
            describe: $family::$attack,
        }),+),+];
    };
}

for_each_attack!(list);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::oracle::{Oracle, reason};

    #[test]
    fn attacks_have_names_of_their_own_and_tell_what_they_are() {
        let names: BTreeSet<_> =
            ATTACKS.iter().map(|attack| (attack.family, attack.name)).collect();
        assert_eq!(names.len(), ATTACKS.len());
        for attack in ATTACKS {
            let mut story = attack.story();
            for text in [story.who, story.threat, story.source] {
                assert!(!text.is_empty(), "{}", attack.title());
            }
            assert!(story.frames.next().is_some(), "{} sends nothing", attack.title());
        }
    }

    #[test]
    fn every_reason_occurs_and_so_does_every_kind_of_passing() {
        let all = reason::OF_INGRESS.into_iter().chain(reason::OF_INTERFACE);
        let mut missing: BTreeSet<_> = all.chain(["labels", "special", "untouched"]).collect();
        for attack in ATTACKS {
            for sent in attack.story().frames {
                let fate = match sent.fate {
                    Fate::Dropped(reason) => reason,
                    Fate::Passes(rule) => rule,
                    Fate::Untouched => "untouched",
                };
                missing.remove(fate);
            }
        }
        assert!(missing.is_empty(), "no attack shows {missing:?}");
    }

    #[test]
    fn the_oracle_agrees_with_every_fate() {
        for attack in ATTACKS {
            let story = attack.story();
            let oracle = Oracle::new(story.policy);
            for sent in story.frames {
                let judgement = oracle.judge(sent.interface, &sent.frame);
                let told = run::agrees(&sent, Mode::Enforce, &judgement);
                assert!(told, "{}: {sent:02x?}\n{judgement:?}", attack.title());
            }
        }
    }
}
