//! From a frame to its verdict: the checks, in the order in which the first that fails counts.

use crate::{
    abi::{self, action},
    frame::{Frame, Framing, LABEL_ENTRY_LEN, STEPS, Walk},
    image::{self, Action, Image, Ingress, Interface, Record},
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
pub enum Verdict<R> {
    /// Not MPLS, or the policy does not name the interface: passes and is not counted.
    Untouched,
    /// The frame has no ingress.
    NoIngress {
        /// Why.
        reason: InterfaceReason,
        /// The interface, unless the program cannot tell it.
        interface: Option<Interface<R>>,
        /// The policy's default mode.
        mode: Mode,
    },
    /// Every examined entry is acceptable, or a check failed.
    Judged {
        /// Where the frame came in.
        ingress: Ingress<R>,
        /// Which of the two.
        outcome: Outcome,
    },
}

/// What the walk over a label stack came to.
#[derive(Debug, Clone, Copy)]
pub enum Outcome {
    /// Every examined entry is acceptable.
    Accepted {
        /// The rule of the first examined label of 16 or more; 0 is `special`, for a stack with no
        /// such label.
        rule: u32,
        /// The position of that label from the top, 0 first.
        position: u32,
    },
    /// A check failed.
    Refused {
        /// Which one.
        reason: Reason,
        /// The position of the entry that decided; [`abi::NONE`] where none was looked at.
        position: u32,
    },
}

/// The first entry of a frame's label stack, unless the frame ends before. The kernel program reads
/// it before the policy: what is in a register then need not be kept elsewhere meanwhile.
#[inline(always)]
pub fn top(frame: &impl Frame, framing: Framing) -> Option<LabelEntry> {
    match framing {
        Framing::Mpls { stack, .. } => frame.be32(stack).map(LabelEntry::from_bits),
        Framing::Other | Framing::VlanTooDeep => None,
    }
}

/// Decides about a frame that was received on the interface whose record is at the offset
/// `interface` ([`abi::interface_record`]); `framing` is what
/// [`frame::parse`](crate::frame::parse) made of it, so that a caller need not have the image at
/// hand for other protocols, and `top` its first label entry.
#[inline(always)]
pub fn decide<I: Image>(
    frame: &impl Frame,
    framing: Framing,
    top: Option<LabelEntry>,
    image: &I,
    interface: u32,
) -> Verdict<I::Record> {
    let interface = Interface::at(image, interface);
    match framing {
        Framing::Other => Verdict::Untouched,
        Framing::VlanTooDeep => no_ingress(image, interface, InterfaceReason::VlanTooDeep),
        Framing::Mpls { binding, upstream, stack } => {
            match interface.and_then(|interface| interface.ingress(image, binding)) {
                Some(ingress) => {
                    let action = begin(image, ingress, upstream, top);
                    let stack = Stack { upstream, start: stack, top };
                    go_on(frame, image, interface, ingress, stack, action)
                }
                None => no_ingress(image, interface, InterfaceReason::IngressUnbound),
            }
        }
    }
}

/// A label stack whose first entry was read, if the frame has one.
#[derive(Debug, Clone, Copy)]
pub struct Stack {
    /// Whether its labels are upstream-assigned.
    pub upstream: bool,
    /// Offset of its first entry.
    pub start: usize,
    /// That entry.
    pub top: Option<LabelEntry>,
}

/// The first half of the decision: what becomes of the first entry, which is refused if any check
/// before it fails. The kernel program goes on from here without further ado where an accepted
/// entry is the only one, by [`ends`].
#[inline(always)]
pub fn begin<I: Image>(
    image: &I,
    ingress: Ingress<I::Record>,
    upstream: bool,
    top: Option<LabelEntry>,
) -> Action {
    match top {
        Some(entry) if !upstream && entry.ttl() != 0 => ingress.action(image, entry.label()),
        _ => Action::REFUSED,
    }
}

/// Whether the first entry, of which `action` becomes, is the last, and accepted.
#[inline(always)]
pub const fn ends(top: LabelEntry, action: Action) -> bool {
    top.is_bottom_of_stack() && action.accepts(true)
}

/// The second half of the decision, from what [`begin`] returned.
#[inline(always)]
pub fn go_on<I: Image>(
    frame: &impl Frame,
    image: &I,
    interface: Option<Interface<I::Record>>,
    ingress: Ingress<I::Record>,
    stack: Stack,
    action: Action,
) -> Verdict<I::Record> {
    let outcome = match stack.top {
        Some(top) if ends(top, action) => Outcome::Accepted { rule: action.rule(), position: 0 },
        Some(top) if action.accepts(top.is_bottom_of_stack()) => {
            below(frame, image, ingress, stack.start, action)
        }
        _ if ingress.is_bound() => refusal_at_top(image, ingress, stack),
        _ => return no_ingress(image, interface, InterfaceReason::IngressUnbound),
    };
    Verdict::Judged { ingress, outcome }
}

/// What becomes of a frame that is bound to no ingress.
#[inline(always)]
fn no_ingress<I: Image>(
    image: &I,
    interface: Option<Interface<I::Record>>,
    reason: InterfaceReason,
) -> Verdict<I::Record> {
    aside();
    match interface {
        Some(interface) if !interface.is_named() => Verdict::Untouched,
        _ => Verdict::NoIngress { reason, interface, mode: image::default_mode(image) },
    }
}

/// Which check fails first where the first entry is not accepted.
#[inline(always)]
fn refusal_at_top<I: Image>(image: &I, ingress: Ingress<I::Record>, stack: Stack) -> Outcome {
    aside();
    let (reason, position) = match stack.top {
        _ if ingress.is_customer() => (Reason::MplsNotEnabled, abi::NONE),
        _ if stack.upstream => (Reason::UpstreamNotAllowed, abi::NONE),
        None => (Reason::Truncated, 0),
        Some(entry) if entry.ttl() == 0 => (Reason::TtlZero, 0),
        Some(entry) => (refusal(image, entry), 0),
    };
    Outcome::Refused { reason, position }
}

/// Checks the label stack at the offset `stack` below its first entry, of which `action` became.
#[inline(always)]
fn below<F: Frame, I: Image>(
    frame: &F,
    image: &I,
    ingress: Ingress<I::Record>,
    stack: usize,
    action: Action,
) -> Outcome {
    let mut below = Below {
        frame: *frame,
        image: *image,
        ingress,
        stack,
        next: action.next(),
        rule: action.rule(),
        rule_position: 0,
        end: End::Refused,
        reason: Reason::StackTooDeep,
        position: 1,
    };
    if below.is_opaque() {
        below.end = End::Opaque;
    } else {
        F::walk(&mut below);
    }
    below.outcome()
}

/// Stands in front of what only a refusal needs. An instruction that the compiler cannot look into
/// keeps it from setting up every refusal before the check, on the way of every frame: 2 ns.
#[inline(always)]
pub fn aside() {
    #[cfg(target_arch = "bpf")]
    // SAFETY: a register is copied onto itself.
    unsafe {
        core::arch::asm!("{0} = {0}", inout(reg) 0u64 => _, options(nomem, nostack, preserves_flags));
    }
}

/// Where the walk below the first entry came to an end.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum End {
    /// At the bottom of the stack.
    Bottom,
    /// In front of an entry that belongs to another router, as do all below it.
    Opaque,
    /// A check failed.
    Refused,
}

/// The label stack below its first entry, under examination.
///
/// It has copies of both readers: what the callback of `bpf_loop` can reach must be in memory, and so
/// would be the readers of every frame. Every field always has a value: early Linux 6.1 refuses to
/// copy what was never written.
struct Below<F, I: Image> {
    frame: F,
    image: I,
    ingress: Ingress<I::Record>,
    /// Offset of the first entry.
    stack: usize,
    /// How the next entry is to be taken, one of the values of [`abi::action`].
    next: u32,
    rule: u32,
    rule_position: u32,
    end: End,
    /// Why, if it was refused.
    reason: Reason,
    /// The entry at which the walk ended.
    position: u32,
}

impl<F: Frame, I: Image> Walk for Below<F, I> {
    fn first(&self) -> u32 {
        1
    }

    #[inline(always)]
    fn step(&mut self, position: u32) -> bool {
        self.position = position;
        match self.enter(position) {
            Ok(None) => return false,
            Ok(Some(end)) => self.end = end,
            Err(reason) => {
                self.end = End::Refused;
                self.reason = reason;
            }
        }
        true
    }
}

impl<F: Frame, I: Image> Below<F, I> {
    /// Whether the next entry belongs to another router.
    #[inline(always)]
    fn is_opaque(&self) -> bool {
        self.next == action::OPAQUE && !self.ingress.validates()
    }

    /// Checks the entry at `position`, and says whether the walk ends behind it.
    #[inline(always)]
    fn enter(&mut self, position: u32) -> Result<Option<End>, Reason> {
        let entry = entry(&self.frame, self.stack, position, self.ingress)?;
        self.next = match self.next {
            action::ENTROPY_LABEL if entry.label() < FIRST_ORDINARY => {
                return Err(Reason::EntropyLabelReserved);
            }
            action::EXTENDED_LABEL if entry.label() < FIRST_ORDINARY => {
                return Err(Reason::ExtendedLabelInvalid);
            }
            action::EXTENDED_LABEL if !self.ingress.allows(Special::Extended) => {
                self.position = position - 1;
                return Err(Reason::ExtendedLabelNotAllowed);
            }
            action::ENTROPY_LABEL | action::EXTENDED_LABEL => action::EXPOSED,
            _ => {
                let action = self.ingress.action(&self.image, entry.label());
                if !action.accepts(entry.is_bottom_of_stack()) {
                    return Err(refusal(&self.image, entry));
                }
                if self.rule == 0 {
                    self.rule = action.rule();
                    self.rule_position = position;
                }
                action.next()
            }
        };
        Ok(if entry.is_bottom_of_stack() {
            Some(End::Bottom)
        } else if self.is_opaque() {
            self.position = position + 1;
            Some(End::Opaque)
        } else {
            None
        })
    }

    /// What the whole stack comes to.
    #[inline(always)]
    fn outcome(&self) -> Outcome {
        let accepted = Outcome::Accepted { rule: self.rule, position: self.rule_position };
        match self.end {
            End::Bottom => accepted,
            End::Opaque => {
                let mut bottom = Bottom::below(self);
                F::skim(&mut bottom);
                match bottom.refusal() {
                    None => accepted,
                    Some(reason) => Outcome::Refused { reason, position: bottom.position },
                }
            }
            End::Refused => Outcome::Refused { reason: self.reason, position: self.position },
        }
    }
}

/// The entry at `position`, 1 and up, if the stack may be that deep and the frame has it.
#[inline(always)]
fn entry(
    frame: &impl Frame,
    stack: usize,
    position: u32,
    ingress: Ingress<impl Record>,
) -> Result<LabelEntry, Reason> {
    if position == ingress.max_depth() {
        return Err(Reason::StackTooDeep);
    }
    // The mask changes nothing: it tells the verifier that the offset is small.
    let offset = (stack + position as usize * LABEL_ENTRY_LEN) & OFFSET_MASK;
    frame.be32(offset).map(LabelEntry::from_bits).ok_or(Reason::Truncated)
}

/// The search for the bottom of a stack whose other entries belong to another router.
struct Bottom<F, R> {
    frame: F,
    ingress: Ingress<R>,
    stack: usize,
    first: u32,
    end: End,
    reason: Reason,
    position: u32,
}

impl<F: Frame, R: Record> Bottom<F, R> {
    #[inline(always)]
    fn below<I: Image<Record = R>>(stack: &Below<F, I>) -> Self {
        let Below { frame, ingress, stack, position, .. } = *stack;
        let (end, reason) = (End::Refused, Reason::StackTooDeep);
        Self { frame, ingress, stack, first: position, end, reason, position }
    }

    #[inline(always)]
    fn refusal(&self) -> Option<Reason> {
        if self.end == End::Bottom { None } else { Some(self.reason) }
    }
}

impl<F: Frame, R: Record> Walk for Bottom<F, R> {
    fn first(&self) -> u32 {
        self.first
    }

    #[inline(always)]
    fn step(&mut self, position: u32) -> bool {
        self.position = position;
        match entry(&self.frame, self.stack, position, self.ingress) {
            Ok(entry) if !entry.is_bottom_of_stack() => return false,
            Ok(_) => self.end = End::Bottom,
            Err(reason) => {
                aside();
                self.reason = reason;
            }
        }
        true
    }
}

/// Why an examined entry is refused whose label the ingress does not accept; only a drop needs it.
#[inline(always)]
fn refusal(image: &impl Image, entry: LabelEntry) -> Reason {
    let bottom = entry.is_bottom_of_stack();
    match entry.label() {
        IMPLICIT_NULL => Reason::ImplicitNull,
        ROUTER_ALERT if bottom => Reason::RouterAlertAtBottom,
        NETWORK_ACTION if bottom => Reason::MnaAtBottom,
        ENTROPY_INDICATOR if bottom => Reason::EliAtBottom,
        EXTENSION if bottom => Reason::XlAtBottom,
        IPV4_EXPLICIT_NULL | ROUTER_ALERT | IPV6_EXPLICIT_NULL | NETWORK_ACTION
        | ENTROPY_INDICATOR | GAL | OAM_ALERT | EXTENSION => Reason::SpecialLabelNotAllowed,
        label if label < FIRST_ORDINARY => Reason::ReservedLabel,
        label => match image::given_out(image, label) {
            abi::GIVEN_VRF => Reason::LabelOutOfVrf,
            0 => Reason::LabelOutOfRange,
            _ => Reason::LabelSpoofed,
        },
    }
}

impl<R: Record> Verdict<R> {
    /// Whether the frame is accepted on an ingress.
    #[inline(always)]
    pub const fn accepts(&self) -> bool {
        matches!(self, Self::Judged { outcome: Outcome::Accepted { .. }, .. })
    }

    /// Whether the frame is dropped.
    #[inline(always)]
    pub fn drops(&self) -> bool {
        match self {
            Self::Untouched | Self::Judged { outcome: Outcome::Accepted { .. }, .. } => false,
            Self::NoIngress { mode, .. } => matches!(mode, Mode::Enforce),
            Self::Judged { ingress, .. } => matches!(ingress.mode(), Mode::Enforce),
        }
    }

    /// The counter slot of the frame; `None` when it counts nowhere.
    #[inline(always)]
    pub fn counter(&self, image: &impl Image<Record = R>) -> Option<u32> {
        match self {
            Self::Untouched => None,
            Self::NoIngress { reason, interface, .. } => {
                Some((*interface)?.counters() + reason.code())
            }
            Self::Judged { ingress, outcome: Outcome::Accepted { rule, .. } } => {
                ingress.rule_counter(image, *rule)
            }
            Self::Judged { ingress, outcome: Outcome::Refused { reason, .. } } => {
                let monitored = matches!(ingress.mode(), Mode::Monitor);
                Some(abi::reason_slot(ingress.reason_counters(), *reason, monitored))
            }
        }
    }

    /// Why the frame is refused: [`Reason::code`], or behind these [`InterfaceReason::code`];
    /// [`abi::NONE`] when it is not.
    #[inline(always)]
    pub const fn reason(&self) -> u32 {
        match self {
            Self::NoIngress { reason, .. } => Reason::COUNT + reason.code(),
            Self::Judged { outcome: Outcome::Refused { reason, .. }, .. } => reason.code(),
            Self::Untouched | Self::Judged { .. } => abi::NONE,
        }
    }

    /// The position of the entry that decided; [`abi::NONE`] where none did.
    #[inline(always)]
    pub const fn position(&self) -> u32 {
        match self {
            Self::Untouched
            | Self::NoIngress { .. }
            | Self::Judged { outcome: Outcome::Accepted { rule: 0, .. }, .. } => abi::NONE,
            Self::Judged {
                outcome: Outcome::Accepted { position, .. } | Outcome::Refused { position, .. },
                ..
            } => *position,
        }
    }

    /// Its label; [`abi::NONE`] where the entry could not be read.
    #[inline(always)]
    pub fn label(&self, frame: &impl Frame, framing: Framing) -> u32 {
        use Reason::{StackTooDeep, Truncated};
        let unread = matches!(
            self,
            Self::Judged { outcome: Outcome::Refused { reason: StackTooDeep | Truncated, .. }, .. }
        );
        match framing {
            Framing::Mpls { stack, .. } if !unread => label(frame, stack, self.position()),
            _ => abi::NONE,
        }
    }

    /// The verdict about a frame as a program with tracing on writes it.
    #[inline(always)]
    pub fn trace(
        &self,
        frame: &impl Frame,
        framing: Framing,
        image: &impl Image<Record = R>,
    ) -> abi::Trace {
        abi::Trace {
            dropped: self.drops().into(),
            reason: self.reason(),
            ingress: match self {
                Self::Judged { ingress, .. } => ingress.number(),
                Self::Untouched | Self::NoIngress { .. } => abi::NONE,
            },
            position: self.position(),
            label: self.label(frame, framing),
            counter: self.counter(image).unwrap_or(abi::NONE),
        }
    }
}

/// The label at a position that was looked at, or [`abi::NONE`].
#[inline(always)]
fn label(frame: &impl Frame, stack: usize, position: u32) -> u32 {
    if position > STEPS {
        return abi::NONE;
    }
    let offset = (stack + position as usize * LABEL_ENTRY_LEN) & OFFSET_MASK;
    frame.be32(offset).map_or(abi::NONE, |bits| LabelEntry::from_bits(bits).label())
}
