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

/// What becomes of a frame. In the order written, so that the records stand in the same place: the
/// compiler takes what shares a place as one number, and the verifier no number for a pointer.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub enum Verdict<R> {
    /// Not MPLS, or the policy does not name the interface: passes and is not counted.
    Untouched,
    /// The frame has no ingress.
    NoIngress {
        /// The interface.
        interface: Interface<R>,
        /// Why.
        reason: InterfaceReason,
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

/// Decides about a frame that was received on the interface whose record is at the place
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
            let ingress = interface.ingress(image, binding);
            judge(frame, image, interface, ingress, Stack { upstream, start: stack, top })
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

/// Decides about a frame that came in on an ingress, or where none is bound: there no label is
/// acceptable, so only a refusal asks.
#[inline(always)]
pub fn judge<I: Image>(
    frame: &impl Frame,
    image: &I,
    interface: Interface<I::Record>,
    ingress: Ingress<I::Record>,
    stack: Stack,
) -> Verdict<I::Record> {
    match stack.top {
        Some(top) if !stack.upstream && top.ttl() != 0 => {
            let action = ingress.action(image, top.label());
            let bottom = top.is_bottom_of_stack();
            if !action.accepts(bottom) {
                return refuse_top(image, interface, ingress, stack);
            }
            let outcome = if bottom {
                Outcome::Accepted { rule: action.rule(), position: 0 }
            } else {
                below(frame, image, ingress, stack.start, action)
            };
            Verdict::Judged { ingress, outcome }
        }
        _ => refuse_top(image, interface, ingress, stack),
    }
}

/// What becomes of a frame whose first entry is not accepted: which check fails first. The kernel
/// program comes here on its own where it has looked up the commonest frame's label.
#[inline(always)]
pub fn refuse_top<I: Image>(
    image: &I,
    interface: Interface<I::Record>,
    ingress: Ingress<I::Record>,
    stack: Stack,
) -> Verdict<I::Record> {
    aside();
    let (reason, position) = match stack.top {
        _ if !ingress.takes_labels() => {
            if !ingress.is_bound() {
                return no_ingress(image, interface, InterfaceReason::IngressUnbound);
            }
            (Reason::MplsNotEnabled, abi::NONE)
        }
        _ if stack.upstream => (Reason::UpstreamNotAllowed, abi::NONE),
        None => (Reason::Truncated, 0),
        Some(entry) if entry.ttl() == 0 => (Reason::TtlZero, 0),
        Some(entry) => (refusal(image, entry), 0),
    };
    Verdict::Judged { ingress, outcome: Outcome::Refused { reason, position } }
}

/// What becomes of a frame that is bound to no ingress.
#[inline(always)]
fn no_ingress<I: Image>(
    image: &I,
    interface: Interface<I::Record>,
    reason: InterfaceReason,
) -> Verdict<I::Record> {
    aside();
    if interface.is_named() {
        Verdict::NoIngress { interface, reason, mode: image::default_mode(image) }
    } else {
        Verdict::Untouched
    }
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
    let mut rule = action.rule();
    let mut rule_position = 0;
    let mut opaque = 1;
    // What the examination needs is put together only for it: a transport label ends the search.
    if !is_opaque(ingress, action.next()) {
        let mut below = Below {
            frame: *frame,
            image: *image,
            ingress,
            rule,
            next: byte(action.next() as usize),
            stack: byte(stack),
            position: 1,
            end: End::Refused,
            reason: Reason::StackTooDeep,
            rule_position: 0,
            first: 0,
        };
        F::walk(&mut below);
        let Below { end, reason, .. } = below;
        let position = u32::from(below.position);
        (rule, rule_position, opaque) = (below.rule, below.rule_position.into(), position);
        match end {
            End::Bottom => return Outcome::Accepted { rule, position: rule_position },
            End::Refused => return Outcome::Refused { reason, position },
            End::Unacceptable => {
                let entry = entry(frame, stack, position, ingress);
                let reason = entry.map_or_else(|reason| reason, |entry| refusal(image, entry));
                return Outcome::Refused { reason, position };
            }
            End::Opaque => {}
        }
    }
    // The mask changes nothing: it tells the verifier that the offset is small.
    let start = (stack + opaque as usize * LABEL_ENTRY_LEN) & OFFSET_MASK;
    let mut bottom = Bottom {
        frame: *frame,
        start,
        entries: ingress.max_depth() - opaque,
        missing: Some(Reason::StackTooDeep),
        passed: 0,
    };
    F::skim(&mut bottom);
    match bottom.missing {
        None => Outcome::Accepted { rule, position: rule_position },
        Some(reason) => Outcome::Refused { reason, position: opaque + bottom.passed },
    }
}

/// Whether the next entry belongs to another router.
#[inline(always)]
fn is_opaque(ingress: Ingress<impl Record>, next: u32) -> bool {
    next == action::OPAQUE && !ingress.validates()
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

/// A number below 256 as one of which the verifier knows nothing more: it follows each value that an
/// address is made of on its own, and there would be a way through the rest of the program for each
/// reason. It forgets what is stored in a byte of the stack that does not begin a word.
#[inline(always)]
pub fn veil(number: u32) -> u32 {
    #[cfg(target_arch = "bpf")]
    {
        let mut word = core::mem::MaybeUninit::<u64>::uninit();
        let mut byte = u64::from(number);
        // SAFETY: the byte is one of the word's.
        unsafe {
            core::arch::asm!(
                "*(u8 *)({0} + 1) = {1}",
                "{1} = *(u8 *)({0} + 1)",
                in(reg) word.as_mut_ptr(),
                inout(reg) byte,
                options(nostack, preserves_flags)
            );
        }
        byte as u32
    }
    #[cfg(not(target_arch = "bpf"))]
    number
}

/// The same for where another number is at hand of which the verifier knows nothing.
#[inline(always)]
fn veil_by(number: u32, unknown: u32) -> u32 {
    #[cfg(target_arch = "bpf")]
    {
        let mut number = u64::from(number);
        // SAFETY: a number is changed and changed back.
        unsafe {
            core::arch::asm!(
                "{0} ^= {1}",
                "{0} ^= {1}",
                inout(reg) number,
                in(reg) u64::from(unknown),
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        number as u32
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        let _ = unknown;
        number
    }
}

/// Where the walk below the first entry came to an end.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum End {
    /// At the bottom of the stack.
    Bottom,
    /// In front of an entry that belongs to another router, as do all below it.
    Opaque,
    /// At a label that is not acceptable; why is worked out behind the walk.
    Unacceptable,
    /// Another check failed.
    Refused,
}

/// The label stack below its first entry, under examination.
///
/// It has copies of both readers: what the callback of `bpf_loop` can reach must be in memory, and so
/// would be the readers of every frame. Every field always has a value: early Linux 6.1 refuses to
/// copy what was never written.
///
/// What steps change are bytes, or the second half of a word, and none begins a word of the stack: so
/// the verifier knows nothing of them, and looks at one step for all, as with [`veil`].
#[repr(C)]
struct Below<F, I: Image> {
    frame: F,
    image: I,
    ingress: Ingress<I::Record>,
    /// Offset of the first entry.
    stack: u8,
    /// How the next entry is to be taken, one of the values of [`abi::action`].
    next: u8,
    /// The entry at which the walk ended.
    position: u8,
    end: End,
    rule: u32,
    /// Begins a word, and stays 0.
    first: u8,
    /// Why, if it was refused.
    reason: Reason,
    rule_position: u8,
}

impl<F: Frame, I: Image> Walk for Below<F, I> {
    #[inline(always)]
    fn step(&mut self, step: u32) -> bool {
        let position = step + 1;
        self.position = byte(position as usize);
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
    /// Checks the entry at `position`, and says whether the walk ends behind it.
    #[inline(always)]
    fn enter(&mut self, position: u32) -> Result<Option<End>, Reason> {
        let entry = entry(&self.frame, self.stack.into(), position, self.ingress)?;
        let next = match u32::from(self.next) {
            action::ENTROPY_LABEL if entry.label() < FIRST_ORDINARY => {
                return Err(Reason::EntropyLabelReserved);
            }
            action::EXTENDED_LABEL if entry.label() < FIRST_ORDINARY => {
                return Err(Reason::ExtendedLabelInvalid);
            }
            action::EXTENDED_LABEL if !self.ingress.allows(Special::Extended) => {
                self.position -= 1;
                return Err(Reason::ExtendedLabelNotAllowed);
            }
            action::ENTROPY_LABEL | action::EXTENDED_LABEL => action::EXPOSED,
            _ => {
                let action = self.ingress.action(&self.image, entry.label());
                if !action.accepts(entry.is_bottom_of_stack()) {
                    return Ok(Some(End::Unacceptable));
                }
                if self.rule == 0 {
                    self.rule = action.rule();
                    self.rule_position = self.position;
                }
                action.next()
            }
        };
        self.next = byte(next as usize);
        Ok(if entry.is_bottom_of_stack() {
            Some(End::Bottom)
        } else if is_opaque(self.ingress, next) {
            self.position += 1;
            Some(End::Opaque)
        } else {
            None
        })
    }
}

/// A number that is known to be less than 256.
#[expect(clippy::cast_possible_truncation, reason = "it is less than 256")]
#[inline(always)]
const fn byte(number: usize) -> u8 {
    number as u8
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
    let offset = (stack + position as usize * LABEL_ENTRY_LEN) & OFFSET_MASK;
    frame.be32(offset).map(LabelEntry::from_bits).ok_or(Reason::Truncated)
}

/// The search for the bottom of a stack whose other entries belong to another router.
struct Bottom<F> {
    frame: F,
    /// Offset of the first of these entries.
    start: usize,
    /// How many the stack may have.
    entries: u32,
    /// Why there is no bottom, unless it was found.
    missing: Option<Reason>,
    /// How many entries are above the one at which the search ended.
    passed: u32,
}

impl<F: Frame> Walk for Bottom<F> {
    #[inline(always)]
    fn step(&mut self, step: u32) -> bool {
        self.passed = step;
        if step == self.entries {
            self.missing = Some(Reason::StackTooDeep);
            return true;
        }
        match self.frame.be32(self.start + step as usize * LABEL_ENTRY_LEN) {
            Some(bits) if !LabelEntry::from_bits(bits).is_bottom_of_stack() => return false,
            Some(_) => self.missing = None,
            None => {
                aside();
                self.missing = Some(Reason::Truncated);
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
        label if label >= FIRST_ORDINARY => match image::given_out(image, label) {
            abi::GIVEN_VRF => Reason::LabelOutOfVrf,
            0 => Reason::LabelOutOfRange,
            _ => Reason::LabelSpoofed,
        },
        IMPLICIT_NULL => Reason::ImplicitNull,
        ROUTER_ALERT if bottom => Reason::RouterAlertAtBottom,
        NETWORK_ACTION if bottom => Reason::MnaAtBottom,
        ENTROPY_INDICATOR if bottom => Reason::EliAtBottom,
        EXTENSION if bottom => Reason::XlAtBottom,
        IPV4_EXPLICIT_NULL | ROUTER_ALERT | IPV6_EXPLICIT_NULL | NETWORK_ACTION
        | ENTROPY_INDICATOR | GAL | OAM_ALERT | EXTENSION => Reason::SpecialLabelNotAllowed,
        _ => Reason::ReservedLabel,
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
            Self::NoIngress { interface, reason, .. } => Some(interface.counters() + reason.code()),
            Self::Judged { ingress, outcome: Outcome::Accepted { rule, .. } } => {
                Some(ingress.rule_counter(image, *rule))
            }
            Self::Judged { ingress, outcome: Outcome::Refused { reason, .. } } => {
                let monitored = matches!(ingress.mode(), Mode::Monitor);
                let first = ingress.reason_counters();
                Some(abi::reason_slot(first, veil_by(reason.code(), first), monitored))
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
