//! What an attack consists of.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::frame::Frame;
use crate::oracle::reason;

/// A neighbour of the router under attack: where it sits, and how the policy calls it.
#[derive(Clone, Copy, Debug)]
pub struct Neighbour {
    /// The router's interface.
    pub interface: &'static str,
    /// The ingress that counts the neighbour's labelled frames.
    pub ingress: &'static str,
    /// The VLAN IDs that the neighbour sends with, outer to inner.
    pub vlan: &'static [u16],
}

impl Neighbour {
    /// A frame that the neighbour sends, in its VLAN.
    pub fn sends(&self, what: impl Into<Cow<'static, str>>, frame: Frame) -> Sending {
        let tagged = self.vlan.iter().fold(frame, |frame, &vid| frame.vlan(vid));
        self.sends_as_is(what, &tagged)
    }

    /// A frame that the neighbour sends with no other tags than it has.
    pub fn sends_as_is(&self, what: impl Into<Cow<'static, str>>, frame: &Frame) -> Sending {
        Sending {
            interface: self.interface,
            ingress: self.ingress,
            what: what.into(),
            frame: frame.build(),
        }
    }
}

/// A frame on its way whose fate is not said yet.
#[derive(Clone, Debug)]
#[must_use]
pub struct Sending {
    interface: &'static str,
    ingress: &'static str,
    what: Cow<'static, str>,
    frame: Vec<u8>,
}

impl Sending {
    /// It is dropped for this reason.
    pub fn dropped(self, reason: &'static str) -> Sent {
        self.meets(Fate::Dropped(reason))
    }

    /// It passes, by this rule of the ingress: a context, `labels` or `special`.
    pub fn passes(self, rule: &'static str) -> Sent {
        self.meets(Fate::Passes(rule))
    }

    /// It passes, is none of the filter's business and counts nowhere.
    pub fn untouched(self) -> Sent {
        self.meets(Fate::Untouched)
    }

    /// It meets this fate.
    pub fn meets(self, fate: Fate) -> Sent {
        let Self { interface, ingress, what, frame } = self;
        Sent { interface, ingress, what, frame, fate }
    }
}

/// A frame, and what is to become of it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The interface of the router that it is sent to.
    pub interface: &'static str,
    /// The ingress that it belongs to, where it has one.
    pub ingress: &'static str,
    /// The frame in a few words.
    pub what: Cow<'static, str>,
    /// Its bytes.
    pub frame: Vec<u8>,
    /// What is to become of it.
    pub fate: Fate,
}

/// What is to become of a frame. Written by hand from the semantics and the RFCs.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Fate {
    /// Dropped at the driver hook, for this reason; one of [`reason`].
    Dropped(&'static str),
    /// Accepted: the router's kernel gets it, and this rule of the ingress counts it.
    Passes(&'static str),
    /// The router's kernel gets it, and nothing counts it: it is not MPLS.
    Untouched,
}

impl Fate {
    /// Whether the interface and not an ingress counts the frame.
    #[must_use]
    pub fn is_of_the_interface(self) -> bool {
        matches!(self, Self::Dropped(why) if reason::OF_INTERFACE.contains(&why))
    }
}

/// What somebody tries on the router, or is entitled to.
pub struct Story {
    /// Who sends it, and from where.
    pub who: &'static str,
    /// What it is good for, if it comes through; for legitimate traffic what breaks without it.
    pub threat: &'static str,
    /// Where it is described: an RFC or a section of the semantics.
    pub source: &'static str,
    /// The router's policy. It enforces; the tests also run it with `monitor` in its place.
    pub policy: &'static str,
    /// The MTU of every wire.
    pub mtu: u32,
    /// The interfaces of the router that frames are sent to.
    pub interfaces: Vec<&'static str>,
    /// The frames, in order. Too many to keep, sometimes.
    pub frames: Box<dyn Iterator<Item = Sent>>,
    /// Whether the frames are one round of a flood: then they are sent again and again, as fast as
    /// the wires take them.
    pub is_flood: bool,
    /// How many frames end how, counted by hand: by reason, or by rule for those that pass; of a
    /// flood those of one round. Empty where the frames are few enough to see.
    pub totals: &'static [(&'static str, u64)],
}

impl Story {
    /// A story of these frames on wires with the usual MTU.
    pub fn new(
        told: [&'static str; 3],
        policy: &'static str,
        frames: impl IntoIterator<Item = Sent>,
    ) -> Self {
        let frames: Vec<_> = frames.into_iter().collect();
        let interfaces: BTreeSet<_> = frames.iter().map(|sent| sent.interface).collect();
        Self::stream(told, policy, interfaces.into_iter().collect(), frames.into_iter())
    }

    /// A story of more frames than one wants to keep, on these interfaces.
    pub fn stream(
        [who, threat, source]: [&'static str; 3],
        policy: &'static str,
        interfaces: Vec<&'static str>,
        frames: impl Iterator<Item = Sent> + 'static,
    ) -> Self {
        let frames = Box::new(frames);
        Self {
            who,
            threat,
            source,
            policy,
            mtu: 1_500,
            interfaces,
            frames,
            is_flood: false,
            totals: &[],
        }
    }

    /// A flood, of which these frames are one round. They all go to one interface, and are as a
    /// [`Generator`](crate::lab::Generator) needs them.
    pub fn flood(
        told: [&'static str; 3],
        policy: &'static str,
        round: impl IntoIterator<Item = Sent>,
    ) -> Self {
        Self { is_flood: true, ..Self::new(told, policy, round) }
    }

    /// The same story on wires with this MTU.
    #[must_use]
    pub fn mtu(self, mtu: u32) -> Self {
        Self { mtu, ..self }
    }

    /// The same story, whose frames add up to this.
    #[must_use]
    pub fn totals(self, totals: &'static [(&'static str, u64)]) -> Self {
        Self { totals, ..self }
    }
}
