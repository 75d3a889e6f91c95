//! The maps through which the programs hand out samples of refused frames.
//!
//! Two maps of maps are pinned with the filter, and are empty but while somebody samples: then one
//! holds the [`Bucket`]s that allow samples, the other the ring that they come in. Both belong to
//! the process that samples. When it is killed they stay, and the buckets run dry.

use std::{
    os::fd::{AsFd, AsRawFd as _, BorrowedFd},
    path::PathBuf,
    slice,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use aya::maps::{Map, MapData, RingBuf};
use aya_obj::generated::{
    BPF_F_INNER_MAP, BPF_F_MMAPABLE,
    bpf_map_type::{BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_RINGBUF},
};
use memmap2::{MmapOptions, MmapRaw};
use mpls_xdp_ebpf::sample::{Bucket, Sample};

use super::{KernelError, Pins, definition, slot::Slot};

/// Pin of the map of buckets.
pub(super) const BUCKETS: &str = "buckets";
/// Pin of the map of rings.
pub(super) const SAMPLES: &str = "samples";

/// Bytes of the ring: some 13,000 samples.
const RING_BYTES: u32 = 4 << 20;
/// The least number of buckets: 64 KiB.
const FEWEST_BUCKETS: u32 = 4096;
/// Bytes of a bucket in its map.
const BUCKET_BYTES: u32 = 16;
const _: () = assert!(BUCKET_BYTES as usize == size_of::<Bucket>());

/// The maps of a process that samples; they leave the filter when this is dropped.
pub struct SampleMaps {
    buckets_slot: Slot,
    samples_slot: Slot,
    buckets: Buckets,
    ring: RingBuf<MapData>,
}

impl SampleMaps {
    /// The pins that programs share with whoever samples.
    pub fn pins(pins: &Pins) -> [PathBuf; 2] {
        [BUCKETS, SAMPLES].map(|name| pins.path(name))
    }

    /// Puts a ring and empty buckets for counter slots up to `end` in place; what a process that
    /// was killed left there goes.
    ///
    /// # Errors
    ///
    /// When a pin is missing, or the kernel has no memory.
    pub fn install(pins: &Pins, end: u32) -> Result<Self, KernelError> {
        let mut buckets_slot = Slot::open(pins, BUCKETS)?;
        let mut samples_slot = Slot::open(pins, SAMPLES)?;
        // Empty buckets first: those that were left may still have tokens.
        let buckets = Buckets::create(end)?;
        buckets_slot.put(&buckets.map)?;
        let ring = aya_obj::Map::new_from_params(BPF_MAP_TYPE_RINGBUF as u32, 0, 0, RING_BYTES, 0);
        let ring = definition::create(ring, "mpls_samples")?;
        samples_slot.put(&ring)?;
        let ring = RingBuf::try_from(Map::RingBuf(ring))?;
        Ok(Self { buckets_slot, samples_slot, buckets, ring })
    }

    /// Whether the pinned maps are those that these were put into.
    ///
    /// # Errors
    ///
    /// When a pin cannot be opened.
    pub fn are_pinned(&self, pins: &Pins) -> Result<bool, KernelError> {
        let pinned = MapData::from_pin(pins.path(BUCKETS))?.info()?.id();
        Ok(self.buckets_slot.id == pinned)
    }

    /// How many counter slots have a bucket: more than are in use.
    pub fn buckets(&self) -> u32 {
        self.buckets.len
    }

    /// Makes room for counter slots up to `end`. The buckets that are new are empty.
    ///
    /// # Errors
    ///
    /// When the kernel has no memory.
    pub fn grow(&mut self, end: u32) -> Result<(), KernelError> {
        if end > self.buckets.len {
            let buckets = Buckets::create(end)?;
            // No program uses those before when this returns.
            self.buckets_slot.put(&buckets.map)?;
            for (new, old) in buckets.all().iter().zip(self.buckets.all()) {
                new.tokens.store(old.tokens.load(Relaxed), Relaxed);
                new.lost.fetch_add(old.lost.load(Relaxed), Relaxed);
            }
            self.buckets = buckets;
        }
        Ok(())
    }

    /// Allows so many more samples of a counter slot, but no more than `most` together.
    pub fn allow(&self, slot: u32, more: u64, most: u64) {
        if let Some(bucket) = self.buckets.get(slot) {
            let tokens = bucket.tokens.load(Relaxed);
            if tokens < most {
                bucket.tokens.store(tokens.saturating_add(more).min(most), Relaxed);
            }
        }
    }

    /// Allows no more samples of a counter slot.
    pub fn forbid(&self, slot: u32) {
        if let Some(bucket) = self.buckets.get(slot) {
            bucket.tokens.store(0, Relaxed);
        }
    }

    /// How many samples of a counter slot the ring had no room for, since this was asked before.
    pub fn take_lost(&self, slot: u32) -> u64 {
        self.buckets.get(slot).map_or(0, |bucket| bucket.lost.swap(0, Relaxed))
    }

    /// The oldest sample in the ring.
    pub fn read(&mut self) -> Option<Sample> {
        let item = self.ring.next()?;
        let bytes: &[u8; size_of::<Sample>()] = item.first_chunk()?;
        // SAFETY: a sample is plain data, and the bytes are as many as it has.
        Some(unsafe { bytes.as_ptr().cast::<Sample>().read_unaligned() })
    }

    /// Takes no more samples; returns when no program uses the buckets any more. Those in the ring
    /// can still be read.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn stop(&mut self) -> Result<(), KernelError> {
        self.buckets_slot.clear()?;
        self.samples_slot.clear()
    }
}

impl AsFd for SampleMaps {
    /// Readable when there is a sample.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl Drop for SampleMaps {
    fn drop(&mut self) {
        // What cannot be taken away does no harm: the buckets run dry.
        let _ = self.stop();
    }
}

/// A [`Bucket`] in memory that the programs write as well.
#[repr(C)]
struct SharedBucket {
    tokens: AtomicU64,
    lost: AtomicU64,
}

/// The buckets of all counter slots.
struct Buckets {
    map: MapData,
    memory: MmapRaw,
    len: u32,
}

impl Buckets {
    fn create(end: u32) -> Result<Self, KernelError> {
        // Room for the policy to grow.
        let len = (end * 2).next_power_of_two().max(FEWEST_BUCKETS);
        let flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP;
        let definition = definition::array(BPF_MAP_TYPE_ARRAY, BUCKET_BYTES, len, flags);
        let map = definition::create(definition, "mpls_buckets")?;
        let mut options = MmapOptions::new();
        options.len(len as usize * size_of::<Bucket>());
        let memory = options.map_raw(map.fd().as_fd().as_raw_fd()).map_err(KernelError::Memory)?;
        Ok(Self { map, memory, len })
    }

    fn all(&self) -> &[SharedBucket] {
        // SAFETY: the memory has `len` buckets, lives as long as `self`, and is only ever reached
        // through atomics here.
        unsafe {
            slice::from_raw_parts(self.memory.as_ptr().cast::<SharedBucket>(), self.len as usize)
        }
    }

    fn get(&self, slot: u32) -> Option<&SharedBucket> {
        self.all().get(slot as usize)
    }
}
