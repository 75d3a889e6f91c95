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
    abi::{self, CounterBlock, Trace},
    decision::{self, Verdict},
    frame::{self, Frame, Framing, STEPS, Walk},
    image::Image,
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
type CounterChunk = PerCpuArray<CounterBlock, { abi::CHUNK_BLOCKS as usize }>;

/// The active generation of the policy, replaced as a whole.
#[btf_map]
static POLICY: ArrayOfMaps<Generation, 1> = ArrayOfMaps::new();

/// Counters in chunks, so that they can grow without moving.
#[btf_map]
static COUNTERS: ArrayOfMaps<CounterChunk, { abi::COUNTER_CHUNKS as usize }> = ArrayOfMaps::new();

/// The last verdict of a program with tracing on.
#[btf_map]
static TRACE: Array<Trace, 1> = Array::new();

#[derive(Clone, Copy)]
struct Packet(*mut xdp_md);

/// What [`read_beyond`] returns where the frame ends; no content of up to 4 bytes has this value.
const FRAME_ENDS: u64 = u64::MAX;

/// Reads `len` bytes, 4 at most, that lie behind the linear part of a frame in fragments, and
/// returns them as a number in network order. A function of its own, called: its buffer in the
/// caller's stack would make the verifier tell apart what is the same.
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

impl Packet {
    /// The number in network order at `offset`; `from_bytes` turns its bytes into one.
    #[inline(always)]
    fn read<const LEN: usize, T: TryFrom<u64>>(
        &self,
        offset: usize,
        from_bytes: impl Fn([u8; LEN]) -> T,
    ) -> Option<T> {
        // Read anew for each entry: a pointer kept from entry to entry carries how much of the
        // packet is known to be there, and the verifier would tell all these cases apart.
        // SAFETY: the context is that of this run of the program.
        let (data, end) = unsafe {
            let ctx = self.0;
            ((&raw const (*ctx).data).read_volatile(), (&raw const (*ctx).data_end).read_volatile())
        };
        let start = data as usize + offset;
        if start + LEN <= end as usize {
            // SAFETY: `start..start + LEN` lies between `data` and `data_end`.
            return Some(from_bytes(unsafe { (start as *const [u8; LEN]).read_unaligned() }));
        }
        match read_beyond(self.0, offset as u32, LEN as u32) {
            FRAME_ENDS => None,
            value => value.try_into().ok(),
        }
    }

    /// Length of the whole frame, in bytes, fragments included.
    #[inline(always)]
    fn len(&self) -> u64 {
        // SAFETY: the context is that of this run of the program.
        unsafe { bpf_xdp_get_buff_len(self.0) }
    }
}

impl Frame for Packet {
    #[inline(always)]
    fn be16(&self, offset: usize) -> Option<u16> {
        self.read(offset, u16::from_be_bytes)
    }

    #[inline(always)]
    fn be32(&self, offset: usize) -> Option<u32> {
        self.read(offset, u32::from_be_bytes)
    }

    #[inline(always)]
    fn walk(walk: &mut impl Walk) {
        // SAFETY: the helper hands `walk` to the callback of the same type and keeps nothing.
        unsafe { bpf_loop(STEPS, step_of(walk), from_mut(walk).cast(), 0) };
    }
}

/// The callback of a walk's type.
fn step_of<W: Walk>(_: &W) -> *mut c_void {
    step::<W> as *mut c_void
}

/// One round of `bpf_loop`: 1 ends it.
unsafe extern "C" fn step<W: Walk>(index: u32, walk: *mut W) -> i64 {
    // SAFETY: `bpf_loop` was called with a pointer to this type that nobody else uses meanwhile.
    let walk = unsafe { &mut *walk };
    walk.step(index + 1).into()
}

/// The value of the active generation's map.
struct ActiveImage(*const u32);

impl Image for ActiveImage {
    #[inline(always)]
    fn word(&self, offset: u32) -> Option<u32> {
        let mut offset = u64::from(offset);
        // SAFETY: the assembly copies a register onto itself. It keeps the compiler from testing one register and
        // using another that it knows to be related, which the verifier does not.
        unsafe {
            asm!("{0} = {0}", inout(reg) offset, options(pure, nomem, nostack, preserves_flags))
        };
        if offset >= u64::from(IMAGE_WORDS.load()) {
            return None;
        }
        // SAFETY: the map value has `IMAGE_WORDS` words; user space never changes an active one.
        Some(unsafe { self.0.add(offset as usize).read() })
    }
}

#[inline(always)]
fn count(slot: u32, bytes: u64) {
    let block = slot / abi::BLOCK_COUNTERS;
    let Some(counters) =
        COUNTERS.get_value_ptr_mut(block / abi::CHUNK_BLOCKS, &(block % abi::CHUNK_BLOCKS))
    else {
        return;
    };
    let index = (slot % abi::BLOCK_COUNTERS) as usize;
    // SAFETY: the pointer is to this CPU's block, `index` is below its length, and XDP programs
    // do not interrupt each other on one CPU, so plain additions lose nothing.
    unsafe {
        let counter = counters.cast::<abi::Counter>().add(index);
        (*counter).packets += 1;
        (*counter).bytes += bytes;
    }
}

#[inline(always)]
fn finish(packet: Packet, image: &impl Image, verdict: &Verdict) -> u32 {
    sampling::refused(packet.0, image, verdict);
    if TRACING.load() != 0
        && let Some(trace) = TRACE.get_ptr_mut(0)
    {
        // SAFETY: the map has one element; a program with tracing on runs one frame at a time.
        unsafe { trace.write(verdict.trace(image)) };
    }
    if let Some(slot) = verdict.counter(image) {
        count(slot, packet.len());
    }
    if verdict.drops() { xdp_action::XDP_DROP } else { xdp_action::XDP_PASS }
}

/// Filters the frames of one interface.
#[xdp(frags)]
fn mpls_xdp(ctx: XdpContext) -> u32 {
    let packet = Packet(ctx.ctx);
    let framing = frame::parse(&packet);
    if framing == Framing::Other {
        return xdp_action::XDP_PASS;
    }
    match POLICY.get_value_ptr_mut(0, &0) {
        Some(image) => {
            let image = ActiveImage(image.cast_const().cast());
            let verdict = decision::decide(&packet, framing, &image, INTERFACE.load());
            #[cfg(feature = "log")]
            log(&ctx, &verdict);
            finish(packet, &image, &verdict)
        }
        // Without a policy the program cannot tell its interface: it lets no label in.
        None => xdp_action::XDP_DROP,
    }
}

/// Says why a frame was refused; only in an object built for diagnosis.
#[cfg(feature = "log")]
fn log(ctx: &XdpContext, verdict: &Verdict) {
    match verdict {
        Verdict::Untouched | Verdict::Accepted { .. } => {}
        Verdict::NoIngress { reason, .. } => aya_log_ebpf::warn!(ctx, "{}", reason.name()),
        Verdict::Refused { reason, at, .. } => {
            aya_log_ebpf::warn!(ctx, "{} at {} label {}", reason.name(), at.position, at.label);
        }
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
