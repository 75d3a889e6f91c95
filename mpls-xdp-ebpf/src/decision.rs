//! From a frame to its verdict: the checks, in the order in which the first that fails counts.

use crate::{
    abi,
    frame::{Frame, Framing, LABEL_ENTRY_LEN, Walk},
    image::{self, Action, Image, Ingress, Interface, UnknownInterface},
    label_entry::{
        ENTROPY_INDICATOR, EXTENSION, FIRST_ORDINARY, GAL, IMPLICIT_NULL, IPV4_EXPLICIT_NULL,
        IPV6_EXPLICIT_NULL, LabelEntry, NETWORK_ACTION, OAM_ALERT, ROUTER_ALERT,
    },
    policy::{Mode, Special},
    reason::{InterfaceReason, Reason},
};

/// Covers every offset of a label entry: 14 bytes of Ethernet, four tags and 33 entries.
const OFFSET_MASK: usize = 0xff;

/// What becomes of a frame.
#[derive(Debug, Clone, Copy)]
pub enum Verdict {
    /// Not MPLS, or the policy does not name the interface: passes and is not counted.
    Untouched,
    /// The frame has no ingress.
    NoIngress {
        /// Why.
        reason: InterfaceReason,
        /// The interface, unless the program cannot tell it.
        interface: Option<Interface>,
        /// The policy's default mode.
        mode: Mode,
    },
    /// Every examined entry is acceptable.
    Accepted {
        /// Where the frame came in.
        ingress: Ingress,
        /// What accepted it.
        by: AcceptedBy,
    },
    /// A check failed.
    Refused {
        /// Where the frame came in.
        ingress: Ingress,
        /// Which check.
        reason: Reason,
        /// The entry that decided.
        at: At,
    },
}

/// The rule that accepted a frame: that of its first examined label of 16 or more.
#[derive(Debug, Clone, Copy)]
pub struct AcceptedBy {
    /// Number of the rule; 0 is `special`, for a stack with no such label.
    pub rule: u32,
    /// The entry with that label; nowhere for `special`.
    pub at: At,
}

impl AcceptedBy {
    /// No label of 16 or more was examined.
    const SPECIAL: Self = Self { rule: 0, at: At::NOWHERE };
}

/// The entry of the stack that decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// Position from the top, 0 first; [`abi::NONE`] where no entry was looked at.
    pub position: u32,
    /// The label; [`abi::NONE`] where the entry could not be read.
    pub label: u32,
}

impl At {
    /// No entry was looked at.
    pub const NOWHERE: Self = Self { position: abi::NONE, label: abi::NONE };

    const fn unread(position: u32) -> Self {
        Self { position, label: abi::NONE }
    }
}

/// How the next entry is to be taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// This router interprets it.
    Exposed,
    /// It belongs to another router.
    Opaque,
    /// The entry after ELI (RFC 6790 §4.2).
    EntropyLabel,
    /// The entry after XL (RFC 7274 §3.1).
    ExtendedLabel,
}

/// Decides about a frame that was received on the interface of `slot`; `framing` is what
/// [`frame::parse`](crate::frame::parse) made of it, so that a caller need not have the image at
/// hand for other protocols.
#[inline(always)]
pub fn decide(frame: &impl Frame, framing: Framing, image: &impl Image, slot: u32) -> Verdict {
    let (reason, mpls) = match framing {
        Framing::Other => return Verdict::Untouched,
        Framing::VlanTooDeep => (InterfaceReason::VlanTooDeep, None),
        Framing::Mpls { binding, upstream, stack } => {
            (InterfaceReason::IngressUnbound, Some((binding, upstream, stack)))
        }
    };
    let interface = match Interface::find(image, slot) {
        Ok(None) => return Verdict::Untouched,
        Ok(Some(interface)) => Some(interface),
        Err(UnknownInterface) => None,
    };
    if let (Some((binding, upstream, stack)), Some(interface)) = (mpls, interface)
        && let Some(ingress) = interface.ingress(image, binding)
    {
        return match check(frame, image, ingress, upstream, stack) {
            Ok(by) => Verdict::Accepted { ingress, by },
            Err((reason, at)) => Verdict::Refused { ingress, reason, at },
        };
    }
    Verdict::NoIngress { reason, interface, mode: image::default_mode(image) }
}

/// Walks the label stack.
#[inline(always)]
fn check<F: Frame, I: Image>(
    frame: &F,
    image: &I,
    ingress: Ingress,
    upstream: bool,
    stack: usize,
) -> Result<AcceptedBy, (Reason, At)> {
    if ingress.is_customer() {
        return Err((Reason::MplsNotEnabled, At::NOWHERE));
    }
    if upstream {
        return Err((Reason::UpstreamNotAllowed, At::NOWHERE));
    }
    let mut stack = Stack {
        frame,
        image,
        ingress,
        offset: stack,
        next: Next::Exposed,
        accepted: false,
        by: AcceptedBy::SPECIAL,
        outcome: Ok(AcceptedBy::SPECIAL),
    };
    if !stack.step(0) {
        F::walk(&mut stack);
    }
    stack.outcome
}

/// A label stack under examination.
struct Stack<'a, F, I> {
    frame: &'a F,
    image: &'a I,
    ingress: Ingress,
    /// Offset of the first entry.
    offset: usize,
    next: Next,
    /// Whether [`Self::by`] stands; a flag of its own because the verifier follows a constant.
    accepted: bool,
    by: AcceptedBy,
    outcome: Result<AcceptedBy, (Reason, At)>,
}

impl<F: Frame, I: Image> Walk for Stack<'_, F, I> {
    #[inline(always)]
    fn step(&mut self, position: u32) -> bool {
        match self.enter(position) {
            Ok(false) => false,
            Ok(true) => {
                self.outcome = Ok(self.by);
                true
            }
            Err(refusal) => {
                self.outcome = Err(refusal);
                true
            }
        }
    }
}

impl<F: Frame, I: Image> Stack<'_, F, I> {
    /// Checks the entry at `position`; `Ok(true)` when it is the bottom of the stack.
    #[inline(always)]
    fn enter(&mut self, position: u32) -> Result<bool, (Reason, At)> {
        let Self { frame, image, ingress, .. } = *self;
        if position == ingress.max_depth() {
            return Err((Reason::StackTooDeep, At::unread(position)));
        }
        // The mask changes nothing: it tells the verifier that the offset is small.
        let offset = (self.offset + position as usize * LABEL_ENTRY_LEN) & OFFSET_MASK;
        let Some(bits) = frame.be32(offset) else {
            return Err((Reason::Truncated, At::unread(position)));
        };
        let entry = LabelEntry::from_bits(bits);
        let at = At { position, label: entry.label() };
        if position == 0 && entry.ttl() == 0 {
            return Err((Reason::TtlZero, at));
        }
        self.next = match self.next {
            Next::EntropyLabel if at.label < FIRST_ORDINARY => {
                return Err((Reason::EntropyLabelReserved, at));
            }
            Next::ExtendedLabel if at.label < FIRST_ORDINARY => {
                return Err((Reason::ExtendedLabelInvalid, at));
            }
            Next::ExtendedLabel if !ingress.allows(Special::Extended) => {
                let extension = At { position: position - 1, label: EXTENSION };
                return Err((Reason::ExtendedLabelNotAllowed, extension));
            }
            Next::EntropyLabel | Next::ExtendedLabel => Next::Exposed,
            Next::Opaque if !ingress.validates() => Next::Opaque,
            Next::Exposed | Next::Opaque if at.label < FIRST_ORDINARY => {
                special(ingress, entry).map_err(|reason| (reason, at))?
            }
            Next::Exposed | Next::Opaque => {
                let action = ingress
                    .directory(image)
                    .and_then(|directory| Action::find(image, directory, at.label))
                    .ok_or_else(|| (refusal(image, at.label), at))?;
                if !self.accepted {
                    self.accepted = true;
                    self.by = AcceptedBy { rule: action.rule(), at };
                }
                if action.pops() { Next::Exposed } else { Next::Opaque }
            }
        };
        Ok(entry.is_bottom_of_stack())
    }
}

/// Checks an examined entry with a special-purpose label, 0 to 15.
#[inline(always)]
fn special(ingress: Ingress, entry: LabelEntry) -> Result<Next, Reason> {
    let allowed = |special, next| {
        if ingress.allows(special) { Ok(next) } else { Err(Reason::SpecialLabelNotAllowed) }
    };
    let bottom = entry.is_bottom_of_stack();
    match entry.label() {
        IPV4_EXPLICIT_NULL | IPV6_EXPLICIT_NULL => allowed(Special::ExplicitNull, Next::Exposed),
        ROUTER_ALERT if bottom => Err(Reason::RouterAlertAtBottom),
        ROUTER_ALERT => allowed(Special::RouterAlert, Next::Exposed),
        IMPLICIT_NULL => Err(Reason::ImplicitNull),
        NETWORK_ACTION if bottom => Err(Reason::MnaAtBottom),
        NETWORK_ACTION => Err(Reason::SpecialLabelNotAllowed),
        ENTROPY_INDICATOR if bottom => Err(Reason::EliAtBottom),
        ENTROPY_INDICATOR => allowed(Special::Entropy, Next::EntropyLabel),
        GAL => allowed(Special::Gal, Next::Exposed),
        OAM_ALERT => allowed(Special::OamAlert, Next::Exposed),
        EXTENSION if bottom => Err(Reason::XlAtBottom),
        // Its permission comes after the value of the entry that follows (RFC 9017 §4).
        EXTENSION => Ok(Next::ExtendedLabel),
        _ => Err(Reason::ReservedLabel),
    }
}

/// Why a label that the ingress does not accept is refused; only a drop needs it.
#[inline(always)]
fn refusal(image: &impl Image, label: u32) -> Reason {
    match image::given_out(image, label) {
        abi::GIVEN_VRF => Reason::LabelOutOfVrf,
        0 => Reason::LabelOutOfRange,
        _ => Reason::LabelSpoofed,
    }
}

impl Verdict {
    /// Whether the frame is dropped.
    #[inline(always)]
    pub const fn drops(&self) -> bool {
        match self {
            Self::Untouched | Self::Accepted { .. } => false,
            Self::NoIngress { mode, .. } => matches!(mode, Mode::Enforce),
            Self::Refused { ingress, .. } => matches!(ingress.mode(), Mode::Enforce),
        }
    }

    /// The counter slot of the frame; `None` when it counts nowhere.
    #[inline(always)]
    pub fn counter(&self, image: &impl Image) -> Option<u32> {
        match self {
            Self::Untouched => None,
            Self::NoIngress { reason, interface, .. } => {
                Some((*interface)?.counters(image)? + reason.code())
            }
            Self::Accepted { ingress, by } => ingress.rule_counter(image, by.rule),
            Self::Refused { ingress, reason, .. } => {
                let monitored = matches!(ingress.mode(), Mode::Monitor);
                Some(abi::reason_slot(ingress.reason_counters(image)?, *reason, monitored))
            }
        }
    }

    /// The verdict as a program with tracing on writes it.
    #[inline(always)]
    pub fn trace(&self, image: &impl Image) -> abi::Trace {
        let (reason, ingress, at) = match self {
            Self::Untouched => (abi::NONE, abi::NONE, At::NOWHERE),
            Self::NoIngress { reason, .. } => {
                (Reason::COUNT + reason.code(), abi::NONE, At::NOWHERE)
            }
            Self::Accepted { ingress, by } => (abi::NONE, ingress.number(image), by.at),
            Self::Refused { ingress, reason, at } => (reason.code(), ingress.number(image), *at),
        };
        abi::Trace {
            dropped: self.drops().into(),
            reason,
            ingress,
            position: at.position,
            label: at.label,
            counter: self.counter(image).unwrap_or(abi::NONE),
        }
    }
}
