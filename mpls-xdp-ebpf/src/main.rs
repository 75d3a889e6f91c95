//! The kernel program: one copy for each interface, attached at the XDP hook.
//!
//! The decision is that of the library; here are only its readers over the packet and the policy
//! map, and the counters.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod sampling;

use core::{arch::asm, ffi::c_void, ptr::from_mut};

use aya_ebpf::{
    Global,
    bindings::{BPF_F_MMAPABLE, xdp_action, xdp_md},
    btf_maps::{Array, ArrayOfMaps, PerCpuArray},
    helpers::generated::{bpf_loop, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use mpls_xdp_ebpf::{
    abi::{self, CounterChunk, Trace},
    decision::{self, aside},
    frame::{self, Frame, Framing, STEPS, Walk},
    image::Image,
    label_entry::LabelEntry,
};

// What the loader overrides starts with values that no other constant of the program has: the
// compiler may merge an unnamed constant, a map key of 0 for example, with a global that starts
// the same, and it would be overridden with it.

/// Interface slot of this copy. It comes with the program because the frame's context names a
/// bond's member, not the interface that the program is attached to.
#[unsafe(no_mangle)]
static INTERFACE: Global<u32> = Global::new(0x4d58_0101);

/// Words of an image; user space chooses the size of the policy map and says it here.
#[unsafe(no_mangle)]
static IMAGE_WORDS: Global<u32> = Global::new(0x4d58_0102);

/// Whether each verdict is written to [`TRACE`]; the verifier removes the code when it is 0.
#[unsafe(no_mangle)]
static TRACING: Global<u32> = Global::new(0x4d58_0103);

type Generation = Array<[u32; abi::TEMPLATE_WORDS], 1, { BPF_F_MMAPABLE as usize }>;

/// The active generation of the policy, replaced as a whole.
#[btf_map]
static POLICY: ArrayOfMaps<Generation, 1> = ArrayOfMaps::new();

/// Counters in chunks, so that they can grow without moving.
#[btf_map]
static COUNTERS: ArrayOfMaps<PerCpuArray<CounterChunk, 1>, { abi::COUNTER_CHUNKS as usize }> =
    ArrayOfMaps::new();

/// The last verdict of a program with tracing on.
#[btf_map]
static TRACE: Array<Trace, 1> = Array::new();

/// The linear part of a frame. Where the kernel hands over no fragments, it is the frame.
#[derive(Clone, Copy)]
struct Linear {
    start: usize,
    end: usize,
}

impl Linear {
    #[inline(always)]
    fn of(ctx: &XdpContext) -> Self {
        Self { start: ctx.data(), end: ctx.data_end() }
    }

    #[inline(always)]
    const fn len(self) -> u64 {
        (self.end - self.start) as u64
    }

    /// Where `len` bytes at `offset` stand, unless the frame ends before.
    #[inline(always)]
    const fn at(self, offset: usize, len: usize) -> Option<usize> {
        let at = self.start + offset;
        if at + len > self.end { None } else { Some(at) }
    }
}

/// Reads a number of a frame in one load; the compiler takes one for each byte, since it knows of
/// no alignment.
macro_rules! load {
    ($type:literal, $at:expr) => {{
        let number: u64;
        // SAFETY: the bytes lie between `data` and `data_end`.
        unsafe {
            asm!(
                concat!("{0} = *(", $type, " *)({1} + 0)"),
                out(reg) number,
                in(reg) $at,
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
        bpf_loop_over(walk);
    }

    #[inline(always)]
    fn skim(walk: &mut impl Walk) {
        for position in walk.first()..=STEPS {
            if walk.step(position) {
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
        bpf_loop_over(walk);
    }

    #[inline(always)]
    fn skim(walk: &mut impl Walk) {
        bpf_loop_over(walk);
    }
}

#[inline(always)]
fn bpf_loop_over(walk: &mut impl Walk) {
    // SAFETY: the helper hands `walk` to the callback of the same type and keeps nothing.
    unsafe { bpf_loop(STEPS, step_of(walk), from_mut(walk).cast(), 0) };
}

/// The callback of a walk's type.
fn step_of<W: Walk>(_: &W) -> *mut c_void {
    step::<W> as *mut c_void
}

/// One round of `bpf_loop`: 1 ends it.
unsafe extern "C" fn step<W: Walk>(index: u32, walk: *mut W) -> i64 {
    // SAFETY: `bpf_loop` was called with a pointer to this type that nobody else uses meanwhile.
    let walk = unsafe { &mut *walk };
    walk.step(walk.first() + index).into()
}

/// The value of the active generation's map.
#[derive(Clone, Copy)]
struct ActiveImage {
    start: *const u32,
    words: u64,
}

impl ActiveImage {
    #[inline(always)]
    fn get() -> Option<Self> {
        let start = POLICY.get_value_ptr_mut(0, &0)?.cast_const().cast();
        Some(Self { start, words: IMAGE_WORDS.load().into() })
    }
}

impl Image for ActiveImage {
    #[inline(always)]
    fn word(&self, offset: u32) -> Option<u32> {
        let mut offset = u64::from(offset);
        // SAFETY: the assembly copies a register onto itself. It keeps the compiler from testing one
        // register and using another that it knows to be related, which the verifier does not.
        unsafe {
            asm!("{0} = {0}", inout(reg) offset, options(pure, nomem, nostack, preserves_flags))
        };
        if offset >= self.words {
            return None;
        }
        // SAFETY: the map value has `words` words; user space never changes an active one.
        Some(unsafe { self.start.add(offset as usize).read() })
    }

    #[inline(always)]
    fn fixed(&self, offset: u32) -> u32 {
        // SAFETY: no map value is smaller; the verifier knows the offset, which comes from constants.
        unsafe { self.start.add(offset as usize).read() }
    }
}

#[inline(always)]
fn count(slot: u32, bytes: u64) {
    let Some(chunk) = COUNTERS.get_value_ptr_mut(slot / abi::CHUNK_COUNTERS, &0) else {
        return;
    };
    let place = (slot % abi::CHUNK_COUNTERS) as usize;
    // SAFETY: the pointer is to this CPU's chunk, `place` is below its length, and XDP programs
    // do not interrupt each other on one CPU, so plain additions lose nothing.
    unsafe {
        let counter = chunk.cast::<abi::Counter>().add(place);
        (*counter).packets += 1;
        (*counter).bytes += bytes;
    }
}

/// Filters a labelled frame of `len` bytes whose first label entry is `top`.
#[inline(always)]
fn filter(
    ctx: &XdpContext,
    frame: &impl Frame,
    framing: Framing,
    top: Option<LabelEntry>,
    len: u64,
) -> u32 {
    if TRACING.load() != 0 {
        trace(ctx.ctx);
    }
    let Some(image) = ActiveImage::get() else {
        // Without a policy the program cannot tell its interface: it lets no label in.
        return xdp_action::XDP_DROP;
    };
    let verdict = decision::decide(frame, framing, top, &image, INTERFACE.load());
    let slot = verdict.counter(&image);
    if verdict.accepts() {
        // A copy of its own: together with the others it would have to be told from them again.
        if let Some(slot) = slot {
            count(slot, len);
        }
        return xdp_action::XDP_PASS;
    }
    aside();
    sampling::refused(ctx.ctx, frame, framing, &image, &verdict);
    if let Some(slot) = slot {
        count(slot, len);
    }
    if verdict.drops() { xdp_action::XDP_DROP } else { xdp_action::XDP_PASS }
}

/// Filters a frame all of which is in the linear part. The commonest frame, untagged, has a copy of
/// the code in which its offsets are constants.
#[inline(always)]
fn filter_linear(ctx: &XdpContext, frame: Linear) -> u32 {
    match frame.be16(frame::ETHER_TYPE) {
        Some(frame::MPLS) => {
            if let Some(top) = decision::top(&frame, Framing::UNTAGGED) {
                return filter(ctx, &frame, Framing::UNTAGGED, Some(top), frame.len());
            }
        }
        Some(ether_type) if frame::is_tag(ether_type) || ether_type == frame::MPLS_UPSTREAM => {}
        _ => return xdp_action::XDP_PASS,
    }
    aside();
    filter_any(ctx, &frame, frame.len())
}

/// Filters a frame of `len` bytes.
#[inline(always)]
fn filter_any(ctx: &XdpContext, frame: &impl Frame, len: u64) -> u32 {
    match frame::parse(frame) {
        Framing::Other => xdp_action::XDP_PASS,
        // A copy of its own: early Linux 6.1 refuses to put aside what only the other one has.
        Framing::VlanTooDeep => filter(ctx, frame, Framing::VlanTooDeep, None, len),
        framing => filter(ctx, frame, framing, decision::top(frame, framing), len),
    }
}

/// Filters the frames of one interface whose frames come in one piece.
#[xdp]
fn mpls_xdp(ctx: XdpContext) -> u32 {
    let frame = Linear::of(&ctx);
    filter_linear(&ctx, frame)
}

/// The same where frames may come in fragments. The kernel refuses the other one there, and it
/// refuses to make frames larger than one piece where the other one is.
#[xdp(frags)]
fn mpls_xdp_frags(ctx: XdpContext) -> u32 {
    let linear = Linear::of(&ctx);
    if linear.len() >= frame::MAX_HEADERS as u64 && frame::parse(&linear) == Framing::Other {
        return xdp_action::XDP_PASS;
    }
    // SAFETY: the context is that of this run of the program.
    let len = unsafe { bpf_xdp_get_buff_len(ctx.ctx) };
    if len == linear.len() {
        return filter_linear(&ctx, linear);
    }
    filter_any(&ctx, &Fragmented(ctx.ctx), len)
}

/// Decides about the frame once more, and writes why. What only this needs is not on the way of
/// other frames.
#[inline(never)]
fn trace(ctx: *mut xdp_md) {
    let frame = Fragmented(ctx);
    match frame::parse(&frame) {
        Framing::Other => {}
        Framing::VlanTooDeep => trace_as(frame, Framing::VlanTooDeep),
        framing => trace_as(frame, framing),
    }
}

#[inline(always)]
fn trace_as(frame: Fragmented, framing: Framing) {
    let (Some(image), Some(trace)) = (ActiveImage::get(), TRACE.get_ptr_mut(0)) else {
        return;
    };
    let top = decision::top(&frame, framing);
    let verdict = decision::decide(&frame, framing, top, &image, INTERFACE.load());
    // SAFETY: the map has one element; a program with tracing on runs one frame at a time.
    unsafe { trace.write(verdict.trace(&frame, framing, &image)) };
    #[cfg(feature = "log")]
    log(&XdpContext::new(frame.0), &verdict);
}

/// Says why a frame was refused; only in an object built for diagnosis.
#[cfg(feature = "log")]
fn log(ctx: &XdpContext, verdict: &decision::Verdict) {
    use decision::{Outcome, Verdict};

    match verdict {
        Verdict::NoIngress { reason, .. } => aya_log_ebpf::warn!(ctx, "{}", reason.name()),
        Verdict::Judged { outcome: Outcome::Refused { reason, position }, .. } => {
            aya_log_ebpf::warn!(ctx, "{} at {}", reason.name(), position);
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
