//! Why a frame is refused: the one definition behind counters, JSON, help texts and documentation.

macro_rules! reasons {
    ($(#[$type_doc:meta])* $type:ident { $(#[$doc:meta])* $($variant:ident = $name:literal, $source:literal, $meaning:literal;)+ }) => {
        $(#[$type_doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $type {
            $(#[doc = concat!($meaning, " (", $source, ").")] $variant,)+
        }

        impl $type {
            /// All of them, in the order of their codes.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// How many there are.
            pub const COUNT: u32 = 0 $(+ { let _ = $name; 1 })+;

            /// The name in JSON, counters and documentation.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Where the check comes from.
            pub const fn source(self) -> &'static str {
                match self { $(Self::$variant => $source,)+ }
            }

            /// What happened, in one sentence without a full stop.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }

            /// The position in [`Self::ALL`].
            pub const fn code(self) -> u32 {
                self as u32
            }

            /// The one whose [`Self::code`] is `code`.
            pub fn from_code(code: u32) -> Option<Self> {
                Self::ALL.get(usize::try_from(code).ok()?).copied()
            }
        }
    };
}

reasons! {
    /// Why an ingress refuses a labelled frame. The order is that of the counters: a customer
    /// ingress can only ever count the first.
    Reason {
        MplsNotEnabled = "mpls_not_enabled", "RFC 4364 §13.1", "A labelled frame came from a customer ingress, which accepts none";
        UpstreamNotAllowed = "upstream_not_allowed", "RFC 5331, RFC 5332", "Type 0x8848: upstream-assigned labels belong to another label space";
        StackTooDeep = "stack_too_deep", "policy, max-depth", "The stack has more entries than the ingress allows";
        Truncated = "truncated", "RFC 3032 §2.1", "The frame ends inside the label stack";
        TtlZero = "ttl_zero", "RFC 3032 §2.4.2", "The first entry has TTL 0";
        ImplicitNull = "implicit_null", "RFC 3032 §2.1", "Label 3 is signalled but never sent";
        ReservedLabel = "reserved_label", "RFC 7274 §5", "A special-purpose label that nobody has assigned";
        MnaAtBottom = "mna_at_bottom", "RFC 9994", "Label 4 with S set: no network action can follow";
        SpecialLabelNotAllowed = "special_label_not_allowed", "policy, special", "A special-purpose label that the ingress does not allow";
        RouterAlertAtBottom = "router_alert_at_bottom", "RFC 3032 §2.1", "Label 1 with S set: router alert is never the last entry";
        EliAtBottom = "eli_at_bottom", "RFC 6790 §4.2", "Label 7 with S set: no entropy label can follow";
        EntropyLabelReserved = "entropy_label_reserved", "RFC 6790 §4.2", "An entropy label with a value of 0 to 15";
        XlAtBottom = "xl_at_bottom", "RFC 9017 §4", "Label 15 with S set: no extended label can follow";
        ExtendedLabelInvalid = "extended_label_invalid", "RFC 9017 §4", "An extended special-purpose label with a value of 0 to 15";
        ExtendedLabelNotAllowed = "extended_label_not_allowed", "policy, special", "An extended special-purpose label, and the ingress allows none";
        LabelOutOfVrf = "label_out_of_vrf", "RFC 4364 §13.1", "The label leads into a VRF that the ingress does not accept";
        LabelSpoofed = "label_spoofed", "RFC 5920 §8.2.2", "This router gave the label out, but not to this neighbour";
        LabelOutOfRange = "label_out_of_range", "RFC 5920 §8.2.2", "This router never gave the label out";
    }
}

reasons! {
    /// Why a frame is refused before it has an ingress; counted for the interface.
    InterfaceReason {
        IngressUnbound = "ingress_unbound", "policy, ingress", "A labelled frame with VLAN tags that no ingress of the interface has";
        VlanTooDeep = "vlan_too_deep", "IEEE 802.1Q", "A frame with more than four VLAN tags";
    }
}
