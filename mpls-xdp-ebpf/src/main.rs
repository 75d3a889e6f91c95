//! The kernel program: one copy for each interface, attached at the XDP hook.
//!
//! The decision is that of the library; here are only its readers over the packet and the policy
//! map, and the counters.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod sampling;

use core::{
    arch::asm,
    ffi::c_void,
    hint::{assert_unchecked, cold_path},
    ptr::from_mut,
};

use aya_ebpf::{
    bindings::{xdp_action, xdp_md},
    btf_maps::{Array, ArrayOfMaps},
    helpers::generated::{
        bpf_get_smp_processor_id, bpf_loop, bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
    },
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use mpls_xdp_ebpf::{
    abi::{Counter, Trace, given, policy_map},
    decision::{self, Stack, Verdict, aside, veil},
    frame::{self, Frame, Framing, LABEL_ENTRY_LEN, STEPS, Walk},
    image::{self, Image, Interface, Record},
    label_entry::LabelEntry,
};

/// Nothing that a program looks at: the kernel waits for all that run when a map of maps is updated
/// (`maybe_wait_bpf_programs` in kernel/bpf/syscall.c), and user space updates this one to wait.
#[btf_map]
static FENCE: ArrayOfMaps<Array<u32, 1>, 1> = ArrayOfMaps::new();

/// The last verdict of a program with tracing on.
#[btf_map]
static TRACE: Array<Trace, 1> = Array::new();

/// The address that the loader puts in place of `NUMBER`, one of those of [`given`]: that of a map's
/// value, which costs no look-up. Not `pure`, so that the compiler loads it anew, in one instruction,
/// wherever it is needed, and keeps no copy on the stack.
#[inline(always)]
fn address<const NUMBER: u64>() -> u64 {
    let address: u64;
    // SAFETY: the instruction loads a number.
    unsafe {
        asm!(
            "{0} = {1} ll",
            out(reg) address,
            const NUMBER,
            options(nomem, nostack, preserves_flags)
        );
    }
    address
}

/// What the loader puts in place of `$given`, one of [`given`].
macro_rules! given {
    ($given:expr) => {{
        let number: u64;
        // SAFETY: the instruction loads a number that is not negative.
        unsafe {
            asm!(
                "{0} = {1}",
                out(reg) number,
                const $given,
                options(nomem, nostack, preserves_flags)
            );
            assert_unchecked(number <= i32::MAX as u64);
        }
        number
    }};
}

/// An instruction on `$number` whose operand the loader puts in place of `$given`.
macro_rules! with_given {
    ($operation:literal, $number:expr, $given:expr) => {{
        let mut number: u64 = $number;
        // SAFETY: the instruction reckons with a register.
        unsafe {
            asm!(
                concat!("{0} ", $operation, " {1}"),
                inout(reg) number,
                const $given,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        number
    }};
}

/// Where a frame begins.
#[inline(always)]
fn data(ctx: *mut xdp_md) -> usize {
    // SAFETY: the context is that of this run of the program.
    unsafe { (&raw const (*ctx).data).read_volatile() as usize }
}

/// The linear part of a frame. Where the kernel hands over no fragments, it is the frame.
#[derive(Clone, Copy)]
struct Linear {
    ctx: *mut xdp_md,
    start: usize,
}

impl Linear {
    #[inline(always)]
    fn of(ctx: *mut xdp_md) -> Self {
        Self { ctx, start: data(ctx) }
    }

    /// Where it ends. Read anew each time, which costs no more than to have it on the stack.
    #[inline(always)]
    fn end(self) -> usize {
        // SAFETY: the context is that of this run of the program.
        unsafe { (&raw const (*self.ctx).data_end).read_volatile() as usize }
    }

    /// Its length, in bytes. The start is read anew as well.
    #[inline(always)]
    fn len(self) -> u64 {
        (self.end() - data(self.ctx)) as u64
    }

    /// Where `len` bytes at `offset` stand, unless the frame ends before.
    #[inline(always)]
    fn at(self, offset: usize, len: usize) -> Option<usize> {
        let at = self.start + offset;
        if at + len > self.end() { None } else { Some(at) }
    }
}

/// Reads a number of a frame in one load; the compiler takes one for each byte, since it knows of
/// no alignment.
macro_rules! load {
    ($type:literal, $at:expr) => {
        load!($type, $at, 0)
    };
    ($type:literal, $at:expr, $offset:expr) => {{
        let number: u64;
        // SAFETY: the bytes lie between `data` and `data_end`.
        unsafe {
            asm!(
                concat!("{0} = *(", $type, " *)({1} + {2})"),
                out(reg) number,
                in(reg) $at,
                const $offset,
                options(pure, readonly, nostack, preserves_flags)
            );
        }
        number
    }};
}

impl Frame for Linear {
    #[inline(always)]
    fn be16(&self, offset: usize) -> Option<u16> {
        let at = self.at(offset, size_of::<u16>())?;
        Some(u16::from_be(load!("u16", at) as u16))
    }

    #[inline(always)]
    fn be32(&self, offset: usize) -> Option<u32> {
        let at = self.at(offset, size_of::<u32>())?;
        Some(u32::from_be(load!("u32", at) as u32))
    }

    #[inline(always)]
    fn walk(walk: &mut impl Walk) {
        for step in 0..NEAR {
            let is_over = walk.step(step);
            keep_in_memory(walk);
            if is_over {
                return;
            }
        }
        bpf_loop_over::<NEAR>(walk);
    }

    #[inline(always)]
    fn skim(walk: &mut impl Walk) {
        for step in 0..STEPS {
            if walk.step(step) {
                break;
            }
        }
    }
}

/// A frame with fragments: what lies behind the linear part is fetched.
#[derive(Clone, Copy)]
struct Fragmented(*mut xdp_md);

/// What [`read_beyond`] returns where the frame ends; no content of up to 4 bytes has this value.
const FRAME_ENDS: u64 = u64::MAX;

/// Reads `len` bytes, 4 at most, from anywhere in a frame, and returns them as a number in network
/// order. A function of its own, called: its buffer in the caller's stack would make the verifier
/// tell apart what is the same.
#[inline(never)]
fn read_beyond(ctx: *mut xdp_md, offset: u32, len: u32) -> u64 {
    let mut bytes = [0u8; 4];
    // SAFETY: the helper writes `len` bytes, and `len` is 2 or 4.
    let result = unsafe { bpf_xdp_load_bytes(ctx, offset, bytes.as_mut_ptr().cast(), len) };
    if result != 0 {
        return FRAME_ENDS;
    }
    (u32::from_be_bytes(bytes) >> (u32::BITS - u8::BITS * len)).into()
}

impl Fragmented {
    #[inline(always)]
    fn read<T: TryFrom<u64>>(self, offset: usize) -> Option<T> {
        match read_beyond(self.0, offset as u32, size_of::<T>() as u32) {
            FRAME_ENDS => None,
            value => value.try_into().ok(),
        }
    }
}

impl Frame for Fragmented {
    #[inline(always)]
    fn be16(&self, offset: usize) -> Option<u16> {
        self.read(offset)
    }

    #[inline(always)]
    fn be32(&self, offset: usize) -> Option<u32> {
        self.read(offset)
    }

    #[inline(always)]
    fn walk(walk: &mut impl Walk) {
        bpf_loop_over::<0>(walk);
    }

    #[inline(always)]
    fn skim(walk: &mut impl Walk) {
        bpf_loop_over::<0>(walk);
    }
}

/// How many entries below the first one are examined in place, at 6 ns each. The others are by
/// `bpf_loop`, at 13 ns: the verifier looks at every step in place, and at one of that.
const NEAR: u32 = 4;

/// Keeps a walk in memory, where the verifier does not tell apart what it has come to.
#[inline(always)]
fn keep_in_memory(walk: &mut impl Walk) {
    // SAFETY: a register is copied onto itself.
    unsafe {
        asm!("{0} = {0}", inout(reg) from_mut(walk) => _, options(nostack, preserves_flags));
    }
}

/// Takes the steps from one on.
#[inline(always)]
fn bpf_loop_over<const FIRST: u32>(walk: &mut impl Walk) {
    let step = step_of::<_, FIRST>(walk);
    // SAFETY: the helper hands `walk` to the callback of the same type and keeps nothing.
    unsafe { bpf_loop(STEPS - FIRST, step, from_mut(walk).cast(), 0) };
}

/// The callback of a walk's type.
fn step_of<W: Walk, const FIRST: u32>(_: &W) -> *mut c_void {
    step::<W, FIRST> as *mut c_void
}

/// One round of `bpf_loop`: 1 ends it.
unsafe extern "C" fn step<W: Walk, const FIRST: u32>(index: u32, walk: *mut W) -> i64 {
    // SAFETY: `bpf_loop` was called with a pointer to this type that nobody else uses meanwhile.
    let walk = unsafe { &mut *walk };
    walk.step(FIRST + index).into()
}

/// Copies a register onto itself, so that the compiler does not join tests before and behind it.
#[inline(always)]
fn apart(mut number: u64) -> u64 {
    // SAFETY: nothing changes.
    unsafe {
        asm!("{0} = {0}", inout(reg) number, options(pure, nomem, nostack, preserves_flags));
    }
    number
}

/// The active image.
#[derive(Clone, Copy)]
struct ActiveImage(*const u32);

/// The policy map.
#[inline(always)]
fn policy() -> *const u32 {
    address::<{ given::POLICY }>() as *const u32
}

/// A word of the policy map in front of the images.
#[inline(always)]
fn control(map: *const u32, field: u32) -> u32 {
    // SAFETY: every policy map has it; user space may write the word meanwhile.
    unsafe { map.add(field as usize).read_volatile() }
}

impl ActiveImage {
    #[inline(always)]
    fn get() -> Self {
        let map = policy();
        let active = control(map, policy_map::ACTIVE).into();
        let active = with_given!("&=", active, given::SECOND_IMAGE);
        Self(map.wrapping_byte_add(active as usize + policy_map::FIRST as usize))
    }
}

impl Image for ActiveImage {
    type Record = Words;

    #[inline(always)]
    fn at(&self, place: u32) -> Words {
        let place = with_given!("&=", place.into(), given::PLACE_MASK);
        Words(self.0.wrapping_byte_add(place as usize))
    }

    #[inline(always)]
    fn fixed(&self, place: u32) -> Words {
        Words(self.0.wrapping_byte_add(place as usize))
    }
}

/// Words of the active image.
#[derive(Clone, Copy)]
struct Words(*const u32);

impl Record for Words {
    #[inline(always)]
    fn word(&self, field: u32) -> u32 {
        // SAFETY: the map is long enough for what is read from any place, and the verifier knows it.
        unsafe { self.0.add(field as usize).read() }
    }

    #[inline(always)]
    fn byte(&self, at: u32) -> u8 {
        // SAFETY: as for words.
        unsafe { self.0.cast::<u8>().add(at as usize).read() }
    }

    #[inline(always)]
    fn inner(self, field: u32) -> Self {
        Self(self.0.wrapping_add(field as usize))
    }
}

/// Counts a frame in a slot of this CPU.
#[inline(always)]
fn count(slot: u32, bytes: u64) {
    // SAFETY: the helper has no arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let block = with_given!("*=", cpu.into(), given::COUNTER_SLOTS);
    let at = with_given!("&=", block + u64::from(slot), given::COUNTER_MASK);
    let counters = address::<{ given::COUNTERS }>() as *mut Counter;
    // SAFETY: the map has as many counters, this one is this CPU's, and XDP programs do not
    // interrupt each other on one CPU, so plain additions lose nothing.
    unsafe {
        let counter = counters.add(at as usize);
        (*counter).packets += 1;
        (*counter).bytes += bytes;
    }
}

/// Place of the record of this copy's interface.
#[inline(always)]
fn interface() -> u32 {
    given!(given::INTERFACE) as u32
}

/// Whether this copy writes each verdict to the trace.
#[inline(always)]
fn is_tracing() -> bool {
    given!(given::TRACING) != 0
}

/// Filters a labelled frame of `len` bytes whose first label entry is `top`.
#[inline(always)]
fn filter(
    ctx: *mut xdp_md,
    frame: &impl Frame,
    framing: Framing,
    top: Option<LabelEntry>,
    len: impl Fn() -> u64,
) -> u32 {
    trace(ctx);
    let image = ActiveImage::get();
    let verdict = decision::decide(frame, framing, top, &image, interface());
    carry_out(ctx, &image, &verdict, len)
}

/// Counts a frame, samples it if it is refused, and says what the kernel is to do with it.
#[inline(always)]
fn carry_out(
    ctx: *mut xdp_md,
    image: &ActiveImage,
    verdict: &Verdict<Words>,
    len: impl Fn() -> u64,
) -> u32 {
    if matches!(verdict, Verdict::Untouched) {
        return xdp_action::XDP_PASS;
    }
    let slot = verdict.counter(image);
    if verdict.accepts() {
        // A copy of its own: together with the others it would have to be told from them again.
        if let Some(slot) = slot {
            count(slot, len());
        }
        return xdp_action::XDP_PASS;
    }
    aside();
    if let Some(slot) = slot {
        if control(policy(), policy_map::SAMPLED) != 0 {
            sampling::refused(ctx, slot);
        }
        count(slot, len());
    }
    if verdict.drops() { xdp_action::XDP_DROP } else { xdp_action::XDP_PASS }
}

/// Filters a frame all of which is in the linear part. The commonest frame, untagged, has a copy of
/// the code in which its offsets are constants, and one test for all that it reads.
#[inline(always)]
fn filter_linear(ctx: *mut xdp_md, frame: Linear) -> u32 {
    const READ: usize = frame::UNTAGGED_STACK + LABEL_ENTRY_LEN;
    if let Some(start) = frame.at(0, READ) {
        let ether_type = load!("u16", start, frame::ETHER_TYPE);
        if ether_type == u64::from(frame::MPLS.to_be()) {
            let top = load!("u32", start, frame::UNTAGGED_STACK) as u32;
            return filter_untagged(frame, LabelEntry::from_bits(u32::from_be(top)));
        }
        let ether_type = u16::from_be(apart(ether_type) as u16);
        if !frame::is_tag(ether_type) && ether_type != frame::MPLS_UPSTREAM {
            return xdp_action::XDP_PASS;
        }
    }
    cold_path();
    filter_linear_any(ctx)
}

/// Filters an untagged frame. One that is accepted by its only entry is done with here: the others
/// need more registers than there are, and would have this one keep its values on the stack.
#[inline(always)]
fn filter_untagged(frame: Linear, top: LabelEntry) -> u32 {
    trace(frame.ctx);
    let image = ActiveImage::get();
    // Not kept for a refusal: that would take a register.
    let interface = || Interface::at(&image, interface());
    let stack = Stack { upstream: false, start: frame::UNTAGGED_STACK, top: Some(top) };
    let verdict = if top.is_last_and_alive() {
        let ingress = interface().untagged();
        let action = ingress.action(&image, top.label());
        if action.accepts(true) {
            count(ingress.rule_counter(&image, action.rule()), frame.len());
            return xdp_action::XDP_PASS;
        }
        cold_path();
        // SAFETY: the first entry is alive. It need not be asked again.
        unsafe { assert_unchecked(top.ttl() != 0) };
        let interface = interface();
        decision::refuse_top(&image, interface, interface.untagged(), stack)
    } else {
        cold_path();
        let interface = interface();
        decision::judge(&frame, &image, interface, interface.untagged(), stack)
    };
    carry_out(frame.ctx, &image, &verdict, || frame.len())
}

/// Filters any frame all of which is in the linear part.
#[inline(always)]
fn filter_linear_any(ctx: *mut xdp_md) -> u32 {
    let frame = Linear::of(ctx);
    // What was learnt of the frame so far is of no use below, and the verifier would look at each
    // number of tags on its own.
    let forgotten = |stack: usize| (Linear::of(ctx), veil(stack as u32) as usize);
    filter_any(ctx, frame, forgotten, || frame.len())
}

/// Filters a frame of `len` bytes. Its stack is read from what `forget` makes of the reader and the
/// offset.
#[inline(always)]
fn filter_any<F: Frame>(
    ctx: *mut xdp_md,
    frame: F,
    forget: impl Fn(usize) -> (F, usize),
    len: impl Fn() -> u64,
) -> u32 {
    match frame::parse(&frame) {
        Framing::Other => xdp_action::XDP_PASS,
        // A copy of its own: early Linux 6.1 refuses to put aside what only the other one has.
        Framing::VlanTooDeep => filter(ctx, &frame, Framing::VlanTooDeep, None, len),
        Framing::Mpls { binding, upstream, stack } => {
            let framing = Framing::Mpls { binding, upstream, stack };
            let top = decision::top(&frame, framing);
            // Or the frame's end would be looked at once more in place of this.
            let is_there = apart(top.is_some().into()) != 0;
            let top = top.filter(|_| is_there);
            let (frame, stack) = forget(stack);
            filter(ctx, &frame, Framing::Mpls { binding, upstream, stack }, top, len)
        }
    }
}

/// Filters the frames of one interface whose frames come in one piece.
#[xdp]
#[inline(always)]
fn mpls_xdp(ctx: XdpContext) -> u32 {
    filter_linear(ctx.ctx, Linear::of(ctx.ctx))
}

/// The same where frames may come in fragments. The kernel refuses the other one there, and it
/// refuses to make frames larger than one piece where the other one is.
#[xdp(frags)]
#[inline(always)]
fn mpls_xdp_frags(ctx: XdpContext) -> u32 {
    let linear = Linear::of(ctx.ctx);
    if linear.len() >= frame::MAX_HEADERS as u64 && frame::parse(&linear) == Framing::Other {
        return xdp_action::XDP_PASS;
    }
    // SAFETY: the context is that of this run of the program.
    let len = unsafe { bpf_xdp_get_buff_len(ctx.ctx) };
    if len == linear.len() {
        return filter_linear(ctx.ctx, linear);
    }
    let frame = Fragmented(ctx.ctx);
    filter_any(ctx.ctx, frame, |stack| (frame, stack), || len)
}

/// Writes what becomes of a frame and why, in a copy that traces.
#[inline(always)]
fn trace(ctx: *mut xdp_md) {
    if is_tracing()
        && let Some(trace) = TRACE.get_ptr_mut(0)
    {
        account_for(ctx, trace);
    }
}

/// Decides about a labelled frame once more, writes why, and returns the number of the generation.
/// What only this needs is not on the way of other frames.
#[inline(never)]
fn account_for(ctx: *mut xdp_md, trace: *mut Trace) -> u64 {
    let frame = Fragmented(ctx);
    match frame::parse(&frame) {
        Framing::Other => 0,
        Framing::VlanTooDeep => account_as(frame, Framing::VlanTooDeep, trace),
        framing => account_as(frame, framing, trace),
    }
}

#[inline(always)]
fn account_as(frame: Fragmented, framing: Framing, trace: *mut Trace) -> u64 {
    let image = ActiveImage::get();
    let top = decision::top(&frame, framing);
    let verdict = decision::decide(&frame, framing, top, &image, interface());
    // SAFETY: nobody else writes there meanwhile: it is the caller's, or the element of a map that
    // only programs with tracing on have to do with, which run one frame at a time.
    unsafe { trace.write(verdict.trace(&frame, framing, &image)) };
    #[cfg(feature = "log")]
    log(&XdpContext::new(frame.0), &verdict);
    image::generation(&image)
}

/// Says why a frame was refused; only in an object built for diagnosis.
#[cfg(feature = "log")]
fn log(ctx: &XdpContext, verdict: &Verdict<Words>) {
    use decision::Outcome;

    match verdict {
        Verdict::NoIngress { reason, .. } => aya_log_ebpf::warn!(ctx, "{}", reason.name()),
        Verdict::Judged { outcome: Outcome::Refused { reason, position }, .. } => {
            aya_log_ebpf::warn!(ctx, "{} at {}", reason.name(), *position);
        }
        _ => {}
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses an endless loop, and so any reachable panic.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
