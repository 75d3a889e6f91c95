//! The names of the reasons (§4 and §5 of the semantics).

/// The policy names the interface, but not these VLAN IDs (§4.3).
pub const INGRESS_UNBOUND: &str = "ingress_unbound";
/// A tag type after four tags (§4.2).
pub const VLAN_TOO_DEEP: &str = "vlan_too_deep";

/// A labelled frame from a customer (§5.1).
pub const MPLS_NOT_ENABLED: &str = "mpls_not_enabled";
/// Type 0x8848 (§5.2).
pub const UPSTREAM_NOT_ALLOWED: &str = "upstream_not_allowed";
/// More label entries than `max-depth` (§5.3.1).
pub const STACK_TOO_DEEP: &str = "stack_too_deep";
/// The frame ends before the label entry does (§5.3.2).
pub const TRUNCATED: &str = "truncated";
/// TTL 0 in the first label entry (§5.3.3).
pub const TTL_ZERO: &str = "ttl_zero";
/// Label 3 (§5, examined entries).
pub const IMPLICIT_NULL: &str = "implicit_null";
/// Labels 5, 6 and 8 to 12 (§5, examined entries).
pub const RESERVED_LABEL: &str = "reserved_label";
/// Label 4 with S set (§5, examined entries).
pub const MNA_AT_BOTTOM: &str = "mna_at_bottom";
/// A special-purpose label that the ingress does not allow (§5, examined entries).
pub const SPECIAL_LABEL_NOT_ALLOWED: &str = "special_label_not_allowed";
/// Label 1 with S set (§5, examined entries).
pub const ROUTER_ALERT_AT_BOTTOM: &str = "router_alert_at_bottom";
/// Label 7 with S set (§5, examined entries).
pub const ELI_AT_BOTTOM: &str = "eli_at_bottom";
/// An entropy label of 0 to 15 (§5, examined entries).
pub const ENTROPY_LABEL_RESERVED: &str = "entropy_label_reserved";
/// Label 15 with S set (§5, examined entries).
pub const XL_AT_BOTTOM: &str = "xl_at_bottom";
/// An extended label of 0 to 15 (§5, examined entries).
pub const EXTENDED_LABEL_INVALID: &str = "extended_label_invalid";
/// Label 15 on an ingress that does not allow it (§5, examined entries).
pub const EXTENDED_LABEL_NOT_ALLOWED: &str = "extended_label_not_allowed";
/// A label of a `vrf` context that the ingress does not accept (§5, acceptable).
pub const LABEL_OUT_OF_VRF: &str = "label_out_of_vrf";
/// A label that this router gave out, but not to this neighbour (§5, acceptable).
pub const LABEL_SPOOFED: &str = "label_spoofed";
/// A label that this router never gave out (§5, acceptable).
pub const LABEL_OUT_OF_RANGE: &str = "label_out_of_range";

/// The reasons that are counted under an ingress: those of §5, in the order they appear there.
pub const OF_INGRESS: [&str; 18] = [
    MPLS_NOT_ENABLED,
    UPSTREAM_NOT_ALLOWED,
    STACK_TOO_DEEP,
    TRUNCATED,
    TTL_ZERO,
    IMPLICIT_NULL,
    RESERVED_LABEL,
    MNA_AT_BOTTOM,
    SPECIAL_LABEL_NOT_ALLOWED,
    ROUTER_ALERT_AT_BOTTOM,
    ELI_AT_BOTTOM,
    ENTROPY_LABEL_RESERVED,
    XL_AT_BOTTOM,
    EXTENDED_LABEL_INVALID,
    EXTENDED_LABEL_NOT_ALLOWED,
    LABEL_OUT_OF_VRF,
    LABEL_SPOOFED,
    LABEL_OUT_OF_RANGE,
];

/// The reasons that are counted under an interface (§4).
pub const OF_INTERFACE: [&str; 2] = [INGRESS_UNBOUND, VLAN_TOO_DEEP];
