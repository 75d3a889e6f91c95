//! What the fuzzer runs, and the tests that run its corpus again.
//!
//! A fuzz input is bytes. Here they become a policy with a frame, or a policy's text, and are put
//! to the product and to the [oracle](crate::oracle).

use std::collections::BTreeSet;

use mpls_xdp::policy;

use crate::frame::{Frame, LabelEntry, MPLS};
use crate::generate::{
    Arrival, Case, Context, Defaults, Ingress, Inner, Kind, LabelItem, Mode, Policy, Role,
};
use crate::host::Host;
use crate::oracle::Judgement;

/// Contexts and ingresses of a policy that is made of bytes.
const MOST: usize = 4;
const CONTEXTS: [&str; MOST] = ["red", "core", "own", "blue"];
const INGRESSES: [&str; MOST] = ["a", "b", "c", "d"];
const INTERFACES: [&str; 2] = ["eth1", "eth2"];
/// An interface that no policy here names.
const STRANGER: &str = "eth3";
/// VLAN IDs of ingresses.
const VLAN_IDS: [u16; 4] = [100, 200, 1, 4094];
const SPECIAL: [&str; 6] =
    ["explicit-null", "router-alert", "entropy", "gal", "oam-alert", "extended"];
/// Addresses decide nothing and take no bytes of the input.
const ADDRESSES: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
/// Labels in question, at most, under a policy that was given as text.
const PROBES: usize = 64;

/// Reads numbers off a fuzz input; behind its end everything is 0.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or_default()
    }

    /// A number below `end`, which is 256 at most.
    fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    /// One of a list.
    fn one<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// 20 bits, from 3 bytes.
    fn label(&mut self) -> u32 {
        let bytes = [0, self.byte(), self.byte(), self.byte()];
        u32::from_be_bytes(bytes).clamp(16, 0xf_ffff)
    }

    fn items(&mut self, at_least: usize) -> Vec<LabelItem> {
        let number = at_least + self.below(4 - at_least);
        (0..number).map(|_| self.item()).collect()
    }

    fn item(&mut self) -> LabelItem {
        let first = self.label();
        match self.byte() {
            0 => LabelItem::Number(first),
            1 => LabelItem::Text(first),
            255 => LabelItem::Range(first, 0xf_ffff),
            width => LabelItem::Range(first, (first + u32::from(width) * 32).min(0xf_ffff)),
        }
    }

    fn context(&mut self, name: &'static str) -> Context {
        let bits = self.byte();
        Context {
            name,
            kind: if bits & 1 == 0 { Kind::Vrf } else { Kind::Transport },
            pops: [None, Some(false), Some(true), Some(true)][usize::from(bits >> 1 & 3)],
            labels: self.items(1),
        }
    }

    fn ingress(&mut self, name: &'static str, contexts: &[&'static str]) -> Ingress {
        let bits = self.byte();
        let role = [Role::Core, Role::Core, Role::Peer, Role::Customer][usize::from(bits & 3)];
        let vlan = (0..self.below(3)).map(|_| self.one(&VLAN_IDS)).collect();
        let mode = [None, Some(Mode::Enforce), Some(Mode::Monitor)][self.below(3)];
        let inner = [None, Some(Inner::Opaque), Some(Inner::Validate)][self.below(3)];
        let max_depth = u32::from(self.byte() % 33);
        let (special, accepted) = (self.byte(), self.byte());
        let chosen = |bits: u8, at: usize| bits >> at & 1 == 1;
        let interface = INTERFACES[usize::from(bits >> 2 & 1)];
        let mut ingress = Ingress {
            name,
            interface,
            vlan,
            role,
            mode,
            max_depth: (max_depth > 0).then_some(max_depth),
            inner,
            special: None,
            contexts: Vec::new(),
            labels: Vec::new(),
        };
        if role != Role::Customer {
            let names = SPECIAL.into_iter().enumerate().filter(|(at, _)| chosen(special, *at));
            ingress.special = (special < 128).then(|| names.map(|(_, name)| name).collect());
            let names = contexts.iter().enumerate().filter(|(at, _)| chosen(accepted, *at));
            ingress.contexts = names.map(|(_, name)| *name).collect();
            if chosen(accepted, 7) {
                ingress.labels = self.items(0);
            }
        }
        ingress
    }

    fn policy(&mut self) -> Policy {
        let defaults = [None, Some(Mode::Enforce), Some(Mode::Monitor)][self.below(3)];
        let contexts = 1 + self.below(MOST);
        let contexts: Vec<_> = CONTEXTS[..contexts].iter().map(|name| self.context(name)).collect();
        let names: Vec<_> = contexts.iter().map(|context| context.name).collect();
        let ingresses = 1 + self.below(MOST);
        let ingresses = INGRESSES[..ingresses].iter().map(|name| self.ingress(name, &names));
        let mut ingresses: Vec<_> = ingresses.collect();
        let mut bindings = BTreeSet::new();
        ingresses.retain(|ingress| bindings.insert((ingress.interface, ingress.vlan.clone())));
        Policy::new(defaults.map(|mode| Defaults { mode }), contexts, ingresses)
    }

    /// The rest of the input as what follows the addresses; rarely, not even those are whole.
    fn arrival(&mut self) -> Arrival {
        let place = self.byte();
        let interface = match place % 16 {
            15 => STRANGER,
            other => INTERFACES[usize::from(other) % INTERFACES.len()],
        };
        let addresses = if place < 0xf0 { &ADDRESSES[..] } else { &ADDRESSES[..self.below(12)] };
        Arrival { interface: interface.to_owned(), frame: [addresses, self.0].concat() }
    }
}

/// The policy and the frame that the bytes mean.
#[must_use]
pub fn case(input: &[u8]) -> Case {
    let mut bytes = Bytes(input);
    let policy = bytes.policy();
    Case { policy, arrival: bytes.arrival() }
}

/// Target `verdict`: host library and oracle agree about the frame under the policy.
///
/// # Errors
///
/// When they do not.
pub fn verdict(case: &Case) -> Result<Judgement, String> {
    let Case { policy, arrival } = case;
    let host = Host::new(&policy.to_string()).map_err(|error| format!("{error:#}"))?;
    host.judge(&arrival.interface, &arrival.frame)
}

/// Target `policy`: reading the text ends, whatever it is; what is valid compiles to an image that
/// says about labels what the oracle says. Returns how many frames were judged.
///
/// # Errors
///
/// When host library and oracle do not agree, with the frame.
pub fn policy(text: &str) -> Result<usize, String> {
    let Some(policy) = policy::parse("policy.toml", text).policy else {
        return Ok(0);
    };
    let host = Host::new(text).map_err(|error| format!("{error:#}"))?;
    let probes = probes(&policy);
    let mut judged = 0;
    for ingress in &policy.ingresses {
        let bare =
            ingress.vlans.iter().fold(Frame::new(MPLS), |frame, vlan| frame.vlan(vlan.get()));
        for label in &probes {
            // The last entry shows whether the label exposes it.
            for below in [None, Some(3), Some(15)] {
                let mut entries = vec![LabelEntry::new(*label)];
                entries.extend(below.map(LabelEntry::new));
                entries.last_mut().into_iter().for_each(|last| last.s = true);
                let frame = bare.clone().stack(entries).payload([]).build();
                let interface = ingress.interface.as_str();
                host.judge(interface, &frame).map_err(|error| {
                    let arrival = Arrival { interface: interface.to_owned(), frame };
                    format!("{error}\n{text}\n{arrival}")
                })?;
                judged += 1;
            }
        }
    }
    Ok(judged)
}

/// Labels around the ends of the policy's ranges, and some that are always of interest.
fn probes(policy: &policy::Policy) -> BTreeSet<u32> {
    let contexts = policy.contexts.iter().map(|context| &context.labels);
    let own = policy.ingresses.iter().filter_map(|ingress| ingress.labels.as_ref());
    let ends = contexts.chain(own).flat_map(policy::LabelSet::ranges);
    let ends = ends.flat_map(|range| [*range.start(), *range.end()]);
    let around = ends.flat_map(|end| [end - 1, end, end + 1]).filter(|label| *label <= 0xf_ffff);
    [16, 2_047, 2_048, 0xf_ffff].into_iter().chain(around).take(PROBES).collect()
}
