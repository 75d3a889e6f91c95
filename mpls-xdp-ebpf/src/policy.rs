//! What a policy can say about an ingress, in the terms that the kernel program understands.

/// Where an ingress stands in the network; `semantics` calls it the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A customer port: no labelled frame is accepted (RFC 4364 §13.1).
    Customer,
    /// Another administration: inter-AS option B or C, carriers' carrier.
    Peer,
    /// The router's own network.
    Core,
}

/// Whether a refusal drops the frame or only counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A refused frame is dropped.
    Enforce,
    /// A refused frame passes and counts as would-drop.
    Monitor,
}

/// Which entries of a stack an ingress examines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inner {
    /// Only those that this router interprets: the first, and those that a pop exposes.
    Opaque,
    /// Every entry.
    Validate,
}

/// A special-purpose label that an ingress may allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Special {
    /// Labels 0 and 2 (RFC 3032 §2.1, RFC 4182).
    ExplicitNull = 1 << 0,
    /// Label 1 (RFC 3032 §2.1).
    RouterAlert = 1 << 1,
    /// Label 7, the entropy label indicator (RFC 6790).
    Entropy = 1 << 2,
    /// Label 13, the generic associated channel label (RFC 5586, RFC 6423).
    Gal = 1 << 3,
    /// Label 14 (RFC 3429).
    OamAlert = 1 << 4,
    /// Label 15, the extension label (RFC 7274, RFC 9017).
    Extended = 1 << 5,
}

impl Special {
    /// All of them, in the order of their labels.
    pub const ALL: [Self; 6] = [
        Self::ExplicitNull,
        Self::RouterAlert,
        Self::Entropy,
        Self::Gal,
        Self::OamAlert,
        Self::Extended,
    ];

    /// The name that the policy file uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ExplicitNull => "explicit-null",
            Self::RouterAlert => "router-alert",
            Self::Entropy => "entropy",
            Self::Gal => "gal",
            Self::OamAlert => "oam-alert",
            Self::Extended => "extended",
        }
    }
}

/// A set of special-purpose labels that an ingress allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpecialSet(u32);

impl SpecialSet {
    /// Allows none.
    pub const EMPTY: Self = Self(0);

    /// The set whose bits are `bits`, as [`Self::bits`] gave them; unknown bits are dropped.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & 0x3f)
    }

    /// One bit a label, as the map ABI stores them.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// This set and `special`.
    #[must_use]
    pub const fn with(self, special: Special) -> Self {
        Self(self.0 | special as u32)
    }

    /// What an ingress that allows these does with a special-purpose label, 0 to 15; 0 where it
    /// refuses it whatever follows.
    pub const fn action(self, label: u32) -> u32 {
        use crate::{abi::action::*, label_entry::*};

        let (special, action) = match label {
            IPV4_EXPLICIT_NULL | IPV6_EXPLICIT_NULL => (Special::ExplicitNull, EXPOSED),
            ROUTER_ALERT => (Special::RouterAlert, EXPOSED | NEVER_AT_BOTTOM),
            ENTROPY_INDICATOR => (Special::Entropy, ENTROPY_LABEL | NEVER_AT_BOTTOM),
            GAL => (Special::Gal, EXPOSED),
            OAM_ALERT => (Special::OamAlert, EXPOSED),
            // Its permission comes after the value of the entry that follows (RFC 9017 §4).
            EXTENSION => return EXTENDED_LABEL | NEVER_AT_BOTTOM,
            _ => return 0,
        };
        if self.allows(special) { action } else { 0 }
    }

    /// Whether `special` is allowed.
    pub const fn allows(self, special: Special) -> bool {
        self.0 & special as u32 != 0
    }
}

impl Role {
    /// What an ingress of this role allows when its policy does not say.
    pub const fn default_special(self) -> SpecialSet {
        match self {
            Self::Customer | Self::Peer => SpecialSet::EMPTY,
            Self::Core => SpecialSet::EMPTY
                .with(Special::ExplicitNull)
                .with(Special::RouterAlert)
                .with(Special::Entropy)
                .with(Special::Gal),
        }
    }

    /// How many label entries an ingress of this role accepts when its policy does not say.
    pub const fn default_max_depth(self) -> u8 {
        match self {
            Self::Customer | Self::Peer => 16,
            Self::Core => 32,
        }
    }
}
