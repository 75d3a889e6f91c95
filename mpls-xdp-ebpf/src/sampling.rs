//! Takes samples of refused frames while somebody captures.

use core::arch::asm;

use aya_ebpf::{
    bindings::{BPF_F_INNER_MAP, BPF_F_MMAPABLE, xdp_md},
    btf_maps::{Array, ArrayOfMaps, RingBuf},
    helpers::generated::{bpf_ktime_get_ns, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    macros::btf_map,
};
use mpls_xdp_ebpf::{
    abi::{NONE, Trace},
    sample::{Bucket, CAPTURED, Refusal, Sample},
};
use network_types::eth::EthHdr;

use crate::{account_for, interface};

/// Arrays of any length fit the map of maps, so the one here is as short as it can be.
type Buckets = Array<Bucket, 1, { (BPF_F_MMAPABLE | BPF_F_INNER_MAP) as usize }>;
/// Rings of any size fit; the one here is a page.
type Ring = RingBuf<Sample, 4096>;

/// The buckets of whoever captures; empty while nobody does.
#[btf_map]
static BUCKETS: ArrayOfMaps<Buckets, 1> = ArrayOfMaps::new();

/// Where the samples go.
#[btf_map]
static SAMPLES: ArrayOfMaps<Ring, 1> = ArrayOfMaps::new();

/// Samples a refused frame if the bucket of its counter is not empty.
#[inline(always)]
pub fn refused(ctx: *mut xdp_md, counter: u32) {
    if filled_bucket(counter).is_some() {
        sample_refused(ctx, counter);
    }
}

/// The bucket of a counter, unless it is empty.
#[inline(always)]
fn filled_bucket(counter: u32) -> Option<*mut Bucket> {
    let bucket = BUCKETS.get(0)?.get_ptr_mut(counter)?;
    // SAFETY: the value stays valid while the program runs; others change it by whole words.
    let tokens = unsafe { (&raw const (*bucket).tokens).read_volatile() };
    if tokens == 0 { None } else { Some(bucket) }
}

/// Samples a refused frame. What this needs of stack and registers stays out of the way of others:
/// it is called, and decides about the frame once more. The name makes it a global function, which
/// the verifier looks at once, whoever calls it.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn sample_refused(ctx: *mut xdp_md, counter: u32) -> u32 {
    let Some(bucket) = filled_bucket(counter) else {
        return 0;
    };
    let mut trace =
        Trace { dropped: 0, reason: 0, ingress: 0, position: 0, label: 0, counter: NONE };
    let generation = account_for(ctx, &raw mut trace);
    // Otherwise the policy was replaced in between.
    if trace.counter == counter {
        let Trace { dropped, reason, position, label, .. } = trace;
        let interface = interface();
        let refusal = Refusal { generation, interface, counter, reason, dropped, position, label };
        write(ctx, bucket, &refusal);
    }
    0
}

/// Takes a token and writes a sample. A function of its own, called: the stack of what calls it need
/// not hold both.
#[inline(never)]
fn write(ctx: *mut xdp_md, bucket: *mut Bucket, refusal: &Refusal) -> u64 {
    let Some(ring) = SAMPLES.get(0) else {
        return 0;
    };
    // Two CPUs may take the same token, and one may take it from a bucket that is being filled:
    // some samples more or less than the rate, and never a bucket below 0.
    // SAFETY: as where it was tested; a race changes whole words.
    unsafe {
        let tokens = &raw mut (*bucket).tokens;
        tokens.write_volatile(tokens.read_volatile().saturating_sub(1));
    }
    let Some(mut entry) = ring.reserve(0) else {
        // The target has no atomic addition in `core`.
        // SAFETY: the value stays valid while the program runs, and every program adds like this.
        unsafe {
            asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) &raw mut (*bucket).lost, in(reg) 1_u64);
        }
        return 0;
    };
    let sample = entry.as_mut_ptr();
    // SAFETY: the context is that of this run of the program, the entry has room for a sample, and
    // the helper writes as many bytes as are said.
    unsafe {
        let length = bpf_xdp_get_buff_len(ctx);
        let mut captured = length;
        if captured > u64::from(CAPTURED) {
            captured = CAPTURED.into();
        }
        (&raw mut (*sample).time).write(bpf_ktime_get_ns());
        (&raw mut (*sample).refusal).write(*refusal);
        (&raw mut (*sample).length).write(length as u32);
        // The assembly copies a register onto itself. It keeps the compiler from joining both tests
        // into one that tells the verifier less; that of Linux 6.1 learns nothing from "not 0".
        asm!("{0} = {0}", inout(reg) captured, options(pure, nomem, nostack, preserves_flags));
        if captured >= EthHdr::LEN as u64 {
            asm!("{0} = {0}", inout(reg) captured, options(pure, nomem, nostack, preserves_flags));
            if captured <= u64::from(CAPTURED) {
                let bytes = (&raw mut (*sample).bytes).cast();
                if bpf_xdp_load_bytes(ctx, 0, bytes, captured as u32) != 0 {
                    captured = 0;
                }
            }
        }
        (&raw mut (*sample).captured).write(captured as u32);
    }
    entry.submit(0);
    0
}
