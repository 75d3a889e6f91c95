//! One label stack entry (RFC 3032 §2.1, RFC 5462) and the special-purpose labels.

/// The 32 bits of a label stack entry: label 20, TC 3, S 1, TTL 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelEntry(u32);

impl LabelEntry {
    /// The entry whose 32 bits, read in network order, are `bits`.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The label value, 0 to 1048575.
    pub const fn label(self) -> u32 {
        self.0 >> 12
    }

    /// S: this entry is the bottom of the stack.
    pub const fn is_bottom_of_stack(self) -> bool {
        self.0 & 0x100 != 0
    }

    /// Whether S is set and the time to live is not 0: both in one comparison.
    pub const fn is_last_and_alive(self) -> bool {
        self.0 & 0x1ff > 0x100
    }

    /// The time to live.
    pub const fn ttl(self) -> u32 {
        self.0 & 0xff
    }
}

/// IPv4 explicit null (RFC 3032 §2.1).
pub const IPV4_EXPLICIT_NULL: u32 = 0;
/// Router alert (RFC 3032 §2.1).
pub const ROUTER_ALERT: u32 = 1;
/// IPv6 explicit null (RFC 3032 §2.1).
pub const IPV6_EXPLICIT_NULL: u32 = 2;
/// Implicit null: signalled, never on the wire (RFC 3032 §2.1).
pub const IMPLICIT_NULL: u32 = 3;
/// MPLS network actions (RFC 9994).
pub const NETWORK_ACTION: u32 = 4;
/// Entropy label indicator (RFC 6790 §4.2).
pub const ENTROPY_INDICATOR: u32 = 7;
/// Generic associated channel label (RFC 5586 §4).
pub const GAL: u32 = 13;
/// OAM alert (RFC 3429).
pub const OAM_ALERT: u32 = 14;
/// Extension label (RFC 7274 §3.1).
pub const EXTENSION: u32 = 15;
/// The first label that a router can give out (RFC 3032 §2.1).
pub const FIRST_ORDINARY: u32 = 16;
/// The last one: 20 bits.
pub const LAST_LABEL: u32 = 0xf_ffff;
