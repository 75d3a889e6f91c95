//! From a label stack to its verdict (§5 of the semantics), entry by entry.

use mpls_xdp_ebpf::{
    frame::LABEL_ENTRY_LEN,
    label_entry::{
        ENTROPY_INDICATOR, EXTENSION, FIRST_ORDINARY, GAL, IMPLICIT_NULL, IPV4_EXPLICIT_NULL,
        IPV6_EXPLICIT_NULL, LabelEntry, NETWORK_ACTION, OAM_ALERT, ROUTER_ALERT,
    },
    policy::{Inner, Special},
    reason::Reason,
};

use super::{At, Entry, Explainer, Read, Treatment};
use crate::policy::{ContextKind, Ingress};

/// Entries that are shown behind the verdict.
const SHOWN_BEHIND: usize = 32;

/// An accepted stack with the entry that chose the rule, or the reason and the entry that decided.
type Decided = Result<At, (Reason, At)>;

/// What the entry above makes of an entry.
struct Place {
    expected: Expected,
    /// Whether this router interprets it.
    exposed: bool,
    /// Why it does, or does not.
    why: String,
}

/// What an entry has to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Label,
    /// The entry after ELI (RFC 6790 §4.2).
    EntropyLabel,
    /// The entry after XL (RFC 7274 §3.1), which the ingress allows.
    ExtendedLabel,
}

/// What an acceptable entry makes of the one below it.
enum Below {
    Exposed(String),
    Hidden(String),
    Expected(Expected),
}

/// An acceptable entry.
struct Accepted {
    below: Below,
    decision: String,
    source: &'static str,
    line: Option<usize>,
    rule: Option<String>,
}

/// A refusal, in words.
struct Refused {
    reason: Reason,
    decision: String,
}

impl Refused {
    fn new(reason: Reason, decision: impl Into<String>) -> Self {
        Self { reason, decision: decision.into() }
    }
}

/// What an ingress asks of a stack, in words.
pub(super) fn rules_of(ingress: &Ingress) -> String {
    let special: Vec<_> = Special::ALL
        .into_iter()
        .filter(|special| ingress.special.allows(*special))
        .map(Special::name)
        .collect();
    let special = if special.is_empty() { "none".to_owned() } else { special.join(", ") };
    let entries = match ingress.max_depth {
        1 => "1 entry".to_owned(),
        depth => format!("{depth} entries"),
    };
    let inner = match ingress.inner {
        Inner::Opaque => "entries of other routers are not examined",
        Inner::Validate => "every entry is examined",
    };
    format!("at most {entries}; {inner}; special-purpose labels allowed: {special}")
}

/// Walks the stack at the start of `bytes`, which came in at the ingress at this place of the
/// policy.
pub(super) fn examine(
    explainer: Explainer<'_>,
    index: usize,
    bytes: &[u8],
) -> (Vec<Entry>, Decided) {
    let ingress = &explainer.policy.ingresses[index];
    let mut walk = Walk { explainer, index, ingress, bytes, entries: Vec::new(), chosen: None };
    let decided = walk.run();
    let mut entries = walk.entries;
    if let Some(Entry { position, read: Some(Read { s: false, .. }), .. }) = entries.last() {
        let behind = position + 1;
        entries.extend(not_reached(bytes, behind));
    }
    (entries, decided)
}

/// The entries from `position` on, none of which was looked at.
pub(super) fn not_reached(bytes: &[u8], position: u32) -> impl Iterator<Item = Entry> {
    let mut bottom = false;
    (position..)
        .take(SHOWN_BEHIND)
        .map_while(|position| Some((position, read(bytes, position)?)))
        .take_while(move |(_, entry)| !std::mem::replace(&mut bottom, entry.s))
        .map(|(position, entry)| {
            let place = Place {
                expected: Expected::Label,
                exposed: false,
                why: "the verdict fell before it".to_owned(),
            };
            Entry { decision: "not looked at".to_owned(), ..bare(position, Some(entry), &place) }
        })
}

struct Walk<'a> {
    explainer: Explainer<'a>,
    index: usize,
    ingress: &'a Ingress,
    bytes: &'a [u8],
    entries: Vec<Entry>,
    /// The entry that chose the rule.
    chosen: Option<At>,
}

impl Walk<'_> {
    fn run(&mut self) -> Decided {
        let mut place = Place {
            expected: Expected::Label,
            exposed: true,
            why: "the top of the stack".to_owned(),
        };
        for position in 0..=u32::from(self.ingress.max_depth) {
            let read = read(self.bytes, position);
            match (self.judge(position, read, &place), read) {
                (Ok(below), Some(entry)) if !entry.s => place = place.below(below),
                (Ok(_), _) => break,
                (Err(refused), _) => {
                    // An entry that must not be there has a place, and its label decides nothing.
                    let is_read =
                        !matches!(refused.reason, Reason::StackTooDeep | Reason::Truncated);
                    let label = read.filter(|_| is_read).map(|entry| entry.label);
                    let reason = refused.reason;
                    self.refuse(position, read, &place, refused);
                    return Err((reason, At { position: Some(position), label }));
                }
            }
        }
        Ok(self.chosen.unwrap_or(At::NOWHERE))
    }

    /// Checks an entry, and says what it makes of the one below it.
    fn judge(
        &mut self,
        position: u32,
        read: Option<Read>,
        place: &Place,
    ) -> Result<Below, Refused> {
        let max_depth = self.ingress.max_depth;
        if position == u32::from(max_depth) {
            let decision = format!("max-depth is {max_depth}, and this is one entry more");
            return Err(Refused::new(Reason::StackTooDeep, decision));
        }
        let Some(entry) = read else {
            let decision = "the frame ends before this entry is complete";
            return Err(Refused::new(Reason::Truncated, decision));
        };
        if position == 0 && entry.ttl == 0 {
            return Err(Refused::new(Reason::TtlZero, "the router before had to discard it"));
        }
        let is_examined = place.exposed || self.ingress.inner == Inner::Validate;
        let accepted = match place.expected {
            Expected::EntropyLabel => entropy_label(entry)?,
            Expected::ExtendedLabel => extended_label(entry)?,
            Expected::Label if !is_examined => {
                self.entries.push(Entry {
                    treatment: Treatment::NotExamined,
                    decision: "belongs to another router: not examined".to_owned(),
                    source: Some("RFC 3031 §3.9"),
                    ..bare(position, Some(entry), place)
                });
                return Ok(Below::Hidden(place.why.clone()));
            }
            Expected::Label if entry.label < FIRST_ORDINARY => self.special(position, entry)?,
            Expected::Label => self.ordinary(entry)?,
        };
        if accepted.rule.is_some() && self.chosen.is_none() {
            self.chosen = Some(At { position: Some(position), label: Some(entry.label) });
        }
        let found_in = match place.expected {
            Expected::Label => self.explainer.owners(entry.label),
            Expected::EntropyLabel | Expected::ExtendedLabel => Vec::new(),
        };
        self.entries.push(Entry {
            found_in,
            rule: accepted.rule,
            treatment: Treatment::Accepted,
            decision: accepted.decision,
            source: Some(accepted.source),
            line: accepted.line,
            ..bare(position, read, place)
        });
        Ok(accepted.below)
    }

    fn refuse(&mut self, position: u32, read: Option<Read>, place: &Place, refused: Refused) {
        let (is_looked_up, is_of_policy) = match refused.reason {
            Reason::LabelOutOfVrf | Reason::LabelSpoofed => (true, true),
            Reason::StackTooDeep
            | Reason::SpecialLabelNotAllowed
            | Reason::ExtendedLabelNotAllowed => (false, true),
            _ => (false, false),
        };
        let label = read.filter(|_| is_looked_up).map(|entry| entry.label);
        let ingress = self.explainer.places.ingress(self.index);
        self.entries.push(Entry {
            found_in: label.map(|label| self.explainer.owners(label)).unwrap_or_default(),
            treatment: Treatment::Refused,
            decision: refused.decision,
            reason: Some(refused.reason.name()),
            source: Some(refused.reason.source()),
            line: ingress.filter(|_| is_of_policy),
            ..bare(position, read, place)
        });
    }

    /// Checks a label of 16 or more.
    fn ordinary(&self, entry: Read) -> Result<Accepted, Refused> {
        let Read { label, .. } = entry;
        let Explainer { policy, places } = self.explainer;
        let context = self.ingress.contexts.iter().find(|id| {
            let context = policy.contexts.get(id.0);
            context.is_some_and(|context| context.labels.contains(label))
        });
        let own = self.ingress.labels.as_ref().is_some_and(|labels| labels.contains(label));
        let (rule, source, line) = match context {
            Some(id) => {
                let context = &policy.contexts[id.0];
                let source = match context.kind {
                    ContextKind::Vrf => "RFC 4364 §13.1",
                    ContextKind::Transport => "RFC 5920 §8.2.2",
                };
                (context.name.clone(), source, places.context_label(*id, label))
            }
            None if own => {
                let line = places.ingress_label(self.index, label);
                ("labels".to_owned(), "RFC 5920 §8.2.2", line)
            }
            None => return Err(self.unacceptable(label)),
        };
        let mut with_label = self.explainer.contexts_with(label).map(|id| &policy.contexts[id.0]);
        let below = match with_label.find(|context| context.pops) {
            Some(popping) => Below::Exposed(format!(
                "this router pops {label} above it (context {}) and looks it up",
                popping.name
            )),
            None => Below::Hidden(format!("below {label}, which this router does not pop")),
        };
        let decision = format!("accepted by rule {rule} of {}", self.ingress.name);
        Ok(Accepted { below, decision, source, line, rule: Some(rule) })
    }

    /// Why a label of 16 or more is refused.
    fn unacceptable(&self, label: u32) -> Refused {
        let policy = self.explainer.policy;
        let ingress = &self.ingress.name;
        let mut contexts = self.explainer.contexts_with(label).map(|id| &policy.contexts[id.0]);
        if contexts.any(|context| context.kind == ContextKind::Vrf) {
            let decision = format!("{ingress} accepts no VRF context with this label");
            Refused::new(Reason::LabelOutOfVrf, decision)
        } else if self.explainer.owners(label).is_empty() {
            let decision = "no context and no ingress of the policy has this label";
            Refused::new(Reason::LabelOutOfRange, decision)
        } else {
            let decision = format!("the label was not given to {ingress}");
            Refused::new(Reason::LabelSpoofed, decision)
        }
    }

    /// Checks a label of 0 to 15.
    fn special(&self, position: u32, entry: Read) -> Result<Accepted, Refused> {
        let bottom = |reason| match entry.s {
            true => Err(Refused::new(reason, "another entry has to follow, and S is set")),
            false => Ok(()),
        };
        let exposed = || Below::Exposed(format!("below label {}", entry.label));
        match entry.label {
            IPV4_EXPLICIT_NULL | IPV6_EXPLICIT_NULL => {
                self.allowed(Special::ExplicitNull, exposed(), "RFC 4182")
            }
            ROUTER_ALERT => {
                bottom(Reason::RouterAlertAtBottom)?;
                self.allowed(Special::RouterAlert, exposed(), "RFC 3032 §2.1")
            }
            IMPLICIT_NULL => Err(Refused::new(Reason::ImplicitNull, "never on the wire")),
            NETWORK_ACTION => {
                bottom(Reason::MnaAtBottom)?;
                let decision = "network actions cannot be allowed";
                Err(Refused::new(Reason::SpecialLabelNotAllowed, decision))
            }
            ENTROPY_INDICATOR => {
                bottom(Reason::EliAtBottom)?;
                let below = Below::Expected(Expected::EntropyLabel);
                self.allowed(Special::Entropy, below, "RFC 6790 §4.2")
            }
            GAL => self.allowed(Special::Gal, exposed(), "RFC 5586 §4"),
            OAM_ALERT => self.allowed(Special::OamAlert, exposed(), "RFC 3429"),
            EXTENSION => {
                bottom(Reason::XlAtBottom)?;
                self.extension(position + 1)
            }
            _ => Err(Refused::new(Reason::ReservedLabel, "nobody has assigned it")),
        }
    }

    fn allowed(
        &self,
        special: Special,
        below: Below,
        source: &'static str,
    ) -> Result<Accepted, Refused> {
        let (ingress, name) = (&self.ingress.name, special.name());
        if !self.ingress.special.allows(special) {
            let decision = format!("`special` of {ingress} does not have {name}");
            let reason = match special {
                Special::Extended => Reason::ExtendedLabelNotAllowed,
                _ => Reason::SpecialLabelNotAllowed,
            };
            return Err(Refused::new(reason, decision));
        }
        let decision = format!("accepted: {ingress} allows {name}");
        let line = self.explainer.places.ingress(self.index);
        Ok(Accepted { below, decision, source, line, rule: None })
    }

    /// Checks XL, whose permission comes after all that the entry below it at `next` can have
    /// wrong (RFC 9017 §4).
    fn extension(&self, next: u32) -> Result<Accepted, Refused> {
        let source = "RFC 7274 §3.1";
        let is_sound = next < u32::from(self.ingress.max_depth)
            && read(self.bytes, next).is_some_and(|entry| entry.label >= FIRST_ORDINARY);
        if is_sound {
            let below = Below::Expected(Expected::ExtendedLabel);
            return self.allowed(Special::Extended, below, source);
        }
        Ok(Accepted {
            below: Below::Expected(Expected::ExtendedLabel),
            decision: "the next entry decides".to_owned(),
            source,
            line: None,
            rule: None,
        })
    }
}

impl Place {
    /// The place below an acceptable entry of this one.
    fn below(&self, below: Below) -> Self {
        let (expected, exposed, why) = match below {
            Below::Expected(expected @ Expected::EntropyLabel) => {
                (expected, self.exposed, "the entropy label that ELI announces".to_owned())
            }
            Below::Expected(expected) => {
                (expected, self.exposed, "the extended label that XL announces".to_owned())
            }
            // An entry of another router exposes nothing, also where it is examined all the same.
            Below::Exposed(why) if self.exposed => (Expected::Label, true, why),
            Below::Hidden(why) if self.exposed => (Expected::Label, false, why),
            Below::Exposed(_) | Below::Hidden(_) => (Expected::Label, false, self.why.clone()),
        };
        Self { expected, exposed, why }
    }
}

/// Checks the entry after ELI.
fn entropy_label(entry: Read) -> Result<Accepted, Refused> {
    if entry.label < FIRST_ORDINARY {
        let decision = "an entropy label must not look like a special-purpose label";
        return Err(Refused::new(Reason::EntropyLabelReserved, decision));
    }
    Ok(Accepted {
        below: Below::Exposed("below an entropy label".to_owned()),
        decision: "accepted: an entropy label may have any value above 15".to_owned(),
        source: "RFC 6790 §4.2",
        line: None,
        rule: None,
    })
}

/// Checks the entry after XL.
fn extended_label(entry: Read) -> Result<Accepted, Refused> {
    if entry.label < FIRST_ORDINARY {
        let decision = "0 to 15 are no extended labels";
        return Err(Refused::new(Reason::ExtendedLabelInvalid, decision));
    }
    Ok(Accepted {
        below: Below::Exposed("below an extended label".to_owned()),
        decision: "accepted: an extended label may have any value above 15".to_owned(),
        source: "RFC 9017 §4",
        line: None,
        rule: None,
    })
}

/// An entry about which nothing is decided yet.
fn bare(position: u32, read: Option<Read>, place: &Place) -> Entry {
    Entry {
        position,
        read,
        exposed: place.exposed,
        why: place.why.clone(),
        found_in: Vec::new(),
        rule: None,
        treatment: Treatment::NotReached,
        decision: String::new(),
        reason: None,
        source: None,
        line: None,
    }
}

/// The entry at `position` of the stack at the start of `bytes`.
fn read(bytes: &[u8], position: u32) -> Option<Read> {
    let at = usize::try_from(position).ok()?.checked_mul(LABEL_ENTRY_LEN)?;
    let bits = u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?);
    let [_, _, low, ttl] = bits.to_be_bytes();
    let entry = LabelEntry::from_bits(bits);
    let tc = low >> 1 & 7;
    let label = entry.label();
    Some(Read { label, name: name(label), tc, s: entry.is_bottom_of_stack(), ttl })
}

/// What a special-purpose label is called (IANA, "Special-Purpose MPLS Label Values").
fn name(label: u32) -> Option<&'static str> {
    match label {
        IPV4_EXPLICIT_NULL => Some("IPv4 explicit null"),
        ROUTER_ALERT => Some("router alert"),
        IPV6_EXPLICIT_NULL => Some("IPv6 explicit null"),
        IMPLICIT_NULL => Some("implicit null"),
        NETWORK_ACTION => Some("network action (MNA)"),
        ENTROPY_INDICATOR => Some("entropy label indicator (ELI)"),
        GAL => Some("generic associated channel (GAL)"),
        OAM_ALERT => Some("OAM alert"),
        EXTENSION => Some("extension (XL)"),
        _ if label < FIRST_ORDINARY => Some("unassigned"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Account, Packet, Step};
    use super::*;
    use crate::policy::parse;

    const POLICY: &str = "version = 1
[contexts.core]
kind = \"transport\"
labels = [\"100-199\"]
[ingress.opaque]
interface = \"eth1\"
role = \"core\"
contexts = [\"core\"]
[ingress.validate]
interface = \"eth2\"
role = \"core\"
contexts = [\"core\"]
inner = \"validate\"
";

    fn entries(interface: &str, stack: &[&str]) -> Vec<(bool, Treatment)> {
        let parsed = parse("policy.toml", POLICY);
        let policy = parsed.policy.as_ref().unwrap();
        let stack = stack.iter().map(|entry| entry.parse().unwrap()).collect();
        let frame = Packet { vlans: Vec::new(), upstream: false, stack }.frame();
        let Account { steps, .. } =
            Explainer::new(policy, &parsed.places).account(interface, 1, &frame);
        let entry = |step| match step {
            Step::Entry(entry) => Some((entry.exposed, entry.treatment)),
            Step::Framing { .. } | Step::Ingress { .. } => None,
        };
        steps.into_iter().filter_map(entry).collect()
    }

    #[test]
    fn what_is_below_an_entry_of_another_router_is_never_exposed() {
        let stack = ["0", "100", "0", "7", "200", "101"];
        let exposed = (true, Treatment::Accepted);
        let examined = (false, Treatment::Accepted);
        let hidden = (false, Treatment::NotExamined);
        assert_eq!(entries("eth1", &stack), [exposed, exposed, hidden, hidden, hidden, hidden]);
        assert_eq!(
            entries("eth2", &stack),
            [exposed, exposed, examined, examined, examined, examined]
        );
    }

    #[test]
    fn what_is_behind_the_verdict_is_shown_down_to_the_bottom() {
        let refused = (true, Treatment::Refused);
        let behind = (false, Treatment::NotReached);
        assert_eq!(entries("eth1", &["200", "100", "3"]), [refused, behind, behind]);
        assert_eq!(entries("eth1", &["200"]), [refused]);
        let long = ["200"; 40];
        assert_eq!(entries("eth1", &long).len(), 1 + SHOWN_BEHIND);
    }
}
