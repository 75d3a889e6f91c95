//! From label stack to verdict (§5 of the semantics), the checks in the order of the page.

use super::frame::Mpls;
use super::policy::{Ingress, Inner, Kind, Policy, Role};
use super::reason;

/// The rule of a stack without a label of 16 or more (§6).
const RULE_SPECIAL: &str = "special";
/// The rule of an ingress's own labels (§6).
const RULE_LABELS: &str = "labels";

/// What the checks come to.
pub(super) type Outcome = Result<Accepted, Refusal>;

/// A stack that passed every check.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Accepted {
    /// The rule it counts for (§6).
    pub(super) rule: String,
    /// The entry that chose the rule; none for rule `special` (§7).
    pub(super) chosen_by: Option<Entry>,
}

/// The first check that failed.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Refusal {
    pub(super) reason: &'static str,
    /// The entry whose value decided; none where no entry was looked at (§7).
    pub(super) position: Option<u32>,
    /// Its label; none where it could not be read (§7).
    pub(super) label: Option<u32>,
}

/// A label entry (§2); the traffic class decides nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Entry {
    /// Counted from 0 (§5).
    pub(super) position: u32,
    pub(super) label: u32,
    bottom: bool,
    ttl: u8,
}

impl Entry {
    fn refuse(self, reason: &'static str) -> Refusal {
        Refusal { reason, position: Some(self.position), label: Some(self.label) }
    }
}

/// What the examination of an entry leaves behind.
struct Examined {
    /// Whether the next entry is this router's to look up.
    next_exposed: bool,
    /// The entry after ELI or XL, when it was taken along: it belongs to the one before it.
    companion: Option<Entry>,
    /// The rule that accepted the entry, if it is a label in the sense of §6.
    rule: Option<String>,
}

impl Examined {
    fn special() -> Self {
        Self { next_exposed: true, companion: None, rule: None }
    }
}

/// Runs the checks of §5 on a labelled frame of this ingress.
pub(super) fn check(policy: &Policy, ingress: &Ingress, mpls: &Mpls<'_>) -> Outcome {
    let refuse = |reason| Err(Refusal { reason, position: None, label: None });
    if ingress.role == Role::Customer {
        return refuse(reason::MPLS_NOT_ENABLED);
    }
    if mpls.upstream {
        return refuse(reason::UPSTREAM_NOT_ALLOWED);
    }
    Walk { policy, ingress, stack: mpls.stack }.run()
}

/// A label stack, whose it is and what the policy says.
struct Walk<'a> {
    policy: &'a Policy,
    ingress: &'a Ingress,
    stack: &'a [u8],
}

impl Walk<'_> {
    /// §5.3, entry by entry.
    fn run(&self) -> Outcome {
        let mut accepted = Accepted { rule: RULE_SPECIAL.to_owned(), chosen_by: None };
        let mut exposed = true;
        let mut position = 0;
        loop {
            let mut entry = self.entry(position)?;
            if position == 0 && entry.ttl == 0 {
                return Err(entry.refuse(reason::TTL_ZERO));
            }
            if exposed || self.ingress.inner == Inner::Validate {
                let examined = self.examine(entry)?;
                if let (None, Some(rule)) = (accepted.chosen_by, examined.rule) {
                    accepted = Accepted { rule, chosen_by: Some(entry) };
                }
                exposed = examined.next_exposed;
                // The S bit and the position that count are then those of the companion.
                entry = examined.companion.unwrap_or(entry);
            }
            if entry.bottom {
                return Ok(accepted);
            }
            position = entry.position + 1;
        }
    }

    /// Reads the entry at a position, which may be too deep or beyond the frame (§5.3.1, §5.3.2).
    fn entry(&self, position: u32) -> Result<Entry, Refusal> {
        let refuse = |reason| Refusal { reason, position: Some(position), label: None };
        if position == self.ingress.max_depth {
            return Err(refuse(reason::STACK_TOO_DEEP));
        }
        let (entries, _) = self.stack.as_chunks::<4>();
        let bytes = usize::try_from(position)
            .ok()
            .and_then(|index| entries.get(index))
            .ok_or_else(|| refuse(reason::TRUNCATED))?;
        let word = u32::from_be_bytes(*bytes);
        let [_, _, label_and_s, ttl] = *bytes;
        Ok(Entry { position, label: word >> 12, bottom: label_and_s & 1 == 1, ttl })
    }

    /// The table of examined entries (§5).
    fn examine(&self, entry: Entry) -> Result<Examined, Refusal> {
        match entry.label {
            3 => Err(entry.refuse(reason::IMPLICIT_NULL)),
            5 | 6 | 8..=12 => Err(entry.refuse(reason::RESERVED_LABEL)),
            4 => {
                self.not_at_bottom(entry, reason::MNA_AT_BOTTOM)?;
                Err(entry.refuse(reason::SPECIAL_LABEL_NOT_ALLOWED))
            }
            0 | 2 | 13 | 14 => {
                self.allowed(entry, reason::SPECIAL_LABEL_NOT_ALLOWED)?;
                Ok(Examined::special())
            }
            1 => {
                self.not_at_bottom(entry, reason::ROUTER_ALERT_AT_BOTTOM)?;
                self.allowed(entry, reason::SPECIAL_LABEL_NOT_ALLOWED)?;
                Ok(Examined::special())
            }
            7 => self.examine_entropy(entry),
            15 => self.examine_extended(entry),
            16.. => self.examine_label(entry),
        }
    }

    /// ELI: S, permission, then the entropy label (§5).
    fn examine_entropy(&self, eli: Entry) -> Result<Examined, Refusal> {
        self.not_at_bottom(eli, reason::ELI_AT_BOTTOM)?;
        self.allowed(eli, reason::SPECIAL_LABEL_NOT_ALLOWED)?;
        let entropy = self.entry(eli.position + 1)?;
        if entropy.label < 16 {
            return Err(entropy.refuse(reason::ENTROPY_LABEL_RESERVED));
        }
        Ok(Examined { companion: Some(entropy), ..Examined::special() })
    }

    /// XL: S, the next entry's depth and truncation, its value, then the permission (§5).
    fn examine_extended(&self, xl: Entry) -> Result<Examined, Refusal> {
        self.not_at_bottom(xl, reason::XL_AT_BOTTOM)?;
        let extended = self.entry(xl.position + 1)?;
        if extended.label < 16 {
            return Err(extended.refuse(reason::EXTENDED_LABEL_INVALID));
        }
        self.allowed(xl, reason::EXTENDED_LABEL_NOT_ALLOWED)?;
        Ok(Examined { companion: Some(extended), ..Examined::special() })
    }

    /// A label of 16 or more: acceptable on this ingress, and popped or not (§5).
    fn examine_label(&self, entry: Entry) -> Result<Examined, Refusal> {
        let Some(rule) = self.accepting_rule(entry.label) else {
            return Err(entry.refuse(self.unacceptable(entry.label)));
        };
        let next_exposed = self.policy.pops(entry.label);
        Ok(Examined { next_exposed, companion: None, rule: Some(rule) })
    }

    /// Refuses an entry that must have another one below it.
    fn not_at_bottom(&self, entry: Entry, reason: &'static str) -> Result<(), Refusal> {
        if entry.bottom { Err(entry.refuse(reason)) } else { Ok(()) }
    }

    /// Refuses a special-purpose label that the ingress does not allow.
    fn allowed(&self, entry: Entry, reason: &'static str) -> Result<(), Refusal> {
        if self.ingress.special.contains(&entry.label) { Ok(()) } else { Err(entry.refuse(reason)) }
    }

    /// The first rule in the order written that accepts the label (§6), if any does.
    fn accepting_rule(&self, label: u32) -> Option<String> {
        let by_context = self
            .ingress
            .contexts
            .iter()
            .find(|&name| self.policy.contexts[name].labels.contains(label))
            .cloned();
        by_context.or_else(|| own(self.ingress, label).then(|| RULE_LABELS.to_owned()))
    }

    /// Why a label that no rule of this ingress accepts is refused (§5).
    fn unacceptable(&self, label: u32) -> &'static str {
        // This ingress's own labels would have accepted it, so "any" is "any other" here.
        let given_to_another = || self.policy.ingresses.iter().any(|other| own(other, label));
        if self.policy.gives_out(Kind::Vrf, label) {
            reason::LABEL_OUT_OF_VRF
        } else if self.policy.gives_out(Kind::Transport, label) || given_to_another() {
            reason::LABEL_SPOOFED
        } else {
            reason::LABEL_OUT_OF_RANGE
        }
    }
}

/// Whether the label is in the `labels` of the ingress.
fn own(ingress: &Ingress, label: u32) -> bool {
    ingress.labels.as_ref().is_some_and(|labels| labels.contains(label))
}
