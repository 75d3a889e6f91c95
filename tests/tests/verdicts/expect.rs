//! Expectations as a table has them, and the policy that most tables are about.

use mpls_xdp_tests::frame::{Frame, LabelEntry, MPLS};

use crate::judges::{Judges, Seen};

/// The ingress that tables are about, and its interface.
pub const INTERFACE: &str = "eth0";
const INGRESS: &str = "it";

/// Every special-purpose label that can be allowed.
pub const ALL_SPECIAL: &str = "special = [\"explicit-null\", \"router-alert\", \"entropy\", \
                               \"gal\", \"oam-alert\", \"extended\"]\n";
/// A core ingress that accepts `core`, `own` and `red`, not `blue` nor the neighbour's labels.
pub const CORE: &str = "role = \"core\"\ncontexts = [\"core\", \"own\", \"red\"]\n";
/// A peer that accepts `red` and labels of its own.
pub const PEER: &str = "role = \"peer\"\ncontexts = [\"red\"]\nlabels = [\"24000-24063\"]\n";

/// A policy with the ingress `it` on eth0, which has these lines.
pub fn policy(lines: &[&str]) -> String {
    format!(
        "version = 1\n\
         [contexts.core]\nkind = \"transport\"\nlabels = [\"16000-23999\"]\n\
         [contexts.own]\nkind = \"transport\"\npops = true\n\
         labels = [50, 51, 16007, 24010]\n\
         [contexts.red]\nkind = \"vrf\"\nlabels = [16, 100, \"1000-1099\"]\n\
         [contexts.blue]\nkind = \"vrf\"\nlabels = [200, 17000, 30001, 1048575]\n\
         [ingress.neighbour]\ninterface = \"eth9\"\nrole = \"peer\"\n\
         contexts = [\"blue\"]\nlabels = [\"30000-30063\"]\n\
         [ingress.{INGRESS}]\ninterface = \"{INTERFACE}\"\n{}",
        lines.concat()
    )
}

/// The judges of [`policy`].
pub fn judges(lines: &[&str]) -> Judges {
    Judges::new(&policy(lines))
}

/// Holds what all judges say about frames on [`INTERFACE`] against a table.
pub fn check(judges: &mut Judges, table: &[(Vec<u8>, Seen)]) {
    for (frame, expected) in table {
        expect(judges, INTERFACE, frame, expected);
    }
}

/// Holds what all judges say about a frame against an expectation.
pub fn expect(judges: &mut Judges, interface: &str, frame: &[u8], expected: &Seen) {
    let seen = judges.judge(interface, frame);
    assert_eq!(seen, *expected, "all judges agree, but {}", judges.case(interface, frame));
}

/// Not MPLS, or on an interface without a program.
pub fn untouched() -> Seen {
    Seen { verdict: "pass", reason: None, ingress: None, position: None, label: None }
}

/// Without an ingress.
pub fn no_ingress(reason: &'static str) -> Seen {
    Seen { verdict: "drop", reason: Some(reason), ..untouched() }
}

/// Accepted for the rule of this entry.
pub fn accepted(position: u32, label: u32) -> Seen {
    Seen { position: Some(position), label: Some(label), ..special() }
}

/// Accepted for the rule `special`.
pub fn special() -> Seen {
    Seen { ingress: Some(INGRESS.to_owned()), ..untouched() }
}

/// Refused because of this entry.
pub fn refused(reason: &'static str, position: u32, label: u32) -> Seen {
    Seen { label: Some(label), ..unread(reason, position) }
}

/// Refused because of an entry that was not read.
pub fn unread(reason: &'static str, position: u32) -> Seen {
    Seen { position: Some(position), ..unseen(reason) }
}

/// Refused before any entry was looked at.
pub fn unseen(reason: &'static str) -> Seen {
    Seen { verdict: "drop", reason: Some(reason), ..special() }
}

/// The same in monitor mode.
pub fn monitored(seen: Seen) -> Seen {
    Seen { verdict: "pass", ..seen }
}

/// An untagged frame with these labels, S on the last, and a packet behind.
pub fn stack(labels: &[u32]) -> Vec<u8> {
    Frame::mpls(labels.iter().copied()).build()
}

/// An untagged frame that ends after these labels, none with S.
pub fn bottomless(labels: &[u32]) -> Vec<u8> {
    entries(labels.iter().map(|label| LabelEntry::new(*label)))
}

/// An untagged frame that ends after these entries.
pub fn entries(entries: impl IntoIterator<Item = LabelEntry>) -> Vec<u8> {
    Frame::new(MPLS).stack(entries).payload([]).build()
}
