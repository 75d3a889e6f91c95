//! The counters: a block of slots for each CPU, and as many more as make a power of two.
//!
//! A program counts in the map that it was loaded with. When a policy needs more slots than that
//! has, there is another map for programs to come, and what was counted in the one before stays
//! there: a slot has counted the sum of all.

use std::{
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    path::{Path, PathBuf},
    slice,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use aya::maps::MapData;
use aya_obj::generated::{BPF_F_MMAPABLE, bpf_map_type::BPF_MAP_TYPE_ARRAY};
use memmap2::{MmapOptions, MmapRaw};
use mpls_xdp_ebpf::abi::Counter;

use super::{KernelError, Pins, definition};

/// Slots of the smallest map: 16 KiB a CPU.
const FEWEST_SLOTS: u32 = 1024;
/// Bytes of a counter.
const COUNTER_BYTES: u32 = 16;
const _: () = assert!(COUNTER_BYTES as usize == size_of::<Counter>());
/// Bytes of the largest map: the verifier bounds an offset into a map value to 2^29 bytes.
const MOST_BYTES: u64 = (1 << 29) - COUNTER_BYTES as u64;
/// Which CPUs the kernel may ever use.
const POSSIBLE_CPUS: &str = "/sys/devices/system/cpu/possible";

/// A snapshot of all counters, summed over the CPUs.
#[derive(Debug, Default)]
pub struct Counters {
    slots: Vec<Counter>,
}

impl Counters {
    /// Reads every pinned map.
    ///
    /// # Errors
    ///
    /// When one cannot be opened.
    pub fn read(pins: &Pins) -> Result<Self, KernelError> {
        Ok(OpenCounters::open(pins)?.read())
    }

    /// Removes all pins of counters; programs that are loaded later count anew.
    ///
    /// # Errors
    ///
    /// When that is not permitted.
    pub fn forget(pins: &Pins) -> Result<(), KernelError> {
        for (path, _) in CounterMap::pinned(pins)? {
            pins.remove(&path)?;
        }
        Ok(())
    }

    /// Counters of which these slots have counted so many frames.
    #[cfg(test)]
    pub(crate) fn of(packets: &[(u32, u64)]) -> Self {
        let mut slots = vec![Counter::default(); FEWEST_SLOTS as usize];
        for (slot, packets) in packets {
            slots[*slot as usize].packets = *packets;
        }
        Self { slots }
    }

    /// What a slot has counted since it was made.
    pub fn get(&self, slot: u32) -> Counter {
        self.slots.get(slot as usize).copied().unwrap_or_default()
    }
}

/// All maps of counters, which can be read after their pins are gone.
pub struct OpenCounters {
    maps: Vec<CounterMap>,
}

impl OpenCounters {
    /// Opens every pinned map.
    ///
    /// # Errors
    ///
    /// When one cannot be opened.
    pub fn open(pins: &Pins) -> Result<Self, KernelError> {
        let maps = CounterMap::pinned(pins)?
            .into_iter()
            .map(|(path, slots)| CounterMap::open(&path, slots));
        Ok(Self { maps: maps.collect::<Result<_, _>>()? })
    }

    /// What has been counted so far.
    pub fn read(&self) -> Counters {
        let most = self.maps.iter().map(|map| map.slots).max().unwrap_or(0);
        let mut slots = vec![Counter::default(); most as usize];
        for map in &self.maps {
            map.add_to(&mut slots);
        }
        Counters { slots }
    }
}

/// A map of counters.
#[derive(Debug)]
pub struct CounterMap {
    map: MapData,
    /// Slots of a CPU.
    slots: u32,
    memory: MmapRaw,
}

impl CounterMap {
    /// Makes a map with slots up to `end` at least, of which none has counted.
    ///
    /// # Errors
    ///
    /// When the kernel has no memory for it.
    pub fn create(end: u32) -> Result<Self, KernelError> {
        let slots = Self::slots_for(end);
        // The program cuts the number of a counter to as many bits.
        let blocks = cpus()?.next_power_of_two();
        let bytes = u64::from(slots) * u64::from(COUNTER_BYTES) * u64::from(blocks);
        let bytes = u32::try_from(bytes).ok().filter(|bytes| u64::from(*bytes) <= MOST_BYTES);
        let bytes = bytes.ok_or(KernelError::TooManyCounters(slots))?;
        let definition = definition::array(BPF_MAP_TYPE_ARRAY, bytes, 1, BPF_F_MMAPABLE);
        Self::of(definition::create(definition, "mpls_counters")?, slots)
    }

    /// The pinned map that programs are given for slots up to `end`: a new one, where none has as
    /// many. It is pinned before any program counts in it.
    ///
    /// # Errors
    ///
    /// When the kernel has no memory for it, or the pin cannot be made.
    pub fn pinned_for(pins: &Pins, end: u32) -> Result<Self, KernelError> {
        match Self::pinned(pins)?.pop() {
            Some((path, slots)) if slots >= end => Self::open(&path, slots),
            _ => {
                let map = Self::create(end)?;
                map.map.pin(pins.counters(map.slots))?;
                Ok(map)
            }
        }
    }

    /// Opens the pinned map of so many slots a CPU.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub fn open(path: &Path, slots: u32) -> Result<Self, KernelError> {
        Self::of(MapData::from_pin(path)?, slots)
    }

    fn of(map: MapData, slots: u32) -> Result<Self, KernelError> {
        let mut options = MmapOptions::new();
        options.len(map.info()?.value_size() as usize);
        let memory = options.map_raw(map.fd().as_fd().as_raw_fd()).map_err(KernelError::Memory)?;
        Ok(Self { map, slots, memory })
    }

    /// The pins of all maps with their slots, from the smallest to the largest.
    fn pinned(pins: &Pins) -> Result<Vec<(PathBuf, u32)>, KernelError> {
        let pinned = pins.numbered("counters-")?.into_iter();
        Ok(pinned
            .filter_map(|(path, slots)| Some((path, slots.first().copied()?.try_into().ok()?)))
            .collect())
    }

    /// The slots of all pinned maps, from the smallest to the largest.
    ///
    /// # Errors
    ///
    /// When the pins cannot be listed.
    pub fn all(pins: &Pins) -> Result<Vec<u32>, KernelError> {
        Ok(Self::pinned(pins)?.into_iter().map(|(_, slots)| slots).collect())
    }

    /// The slots of `maps`, and of the one that is needed behind them for slots up to `end`.
    pub fn with_slots(mut maps: Vec<u32>, end: u32) -> Vec<u32> {
        if maps.last().is_none_or(|slots| *slots < end) {
            maps.push(Self::slots_for(end));
        }
        maps
    }

    fn slots_for(end: u32) -> u32 {
        end.next_power_of_two().max(FEWEST_SLOTS)
    }

    /// The map, as programs are given it.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.map.fd().as_fd()
    }

    /// Slots of a CPU.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// The bits of the number of a counter among those of all CPUs.
    pub(super) fn mask(&self) -> u32 {
        u32::try_from(self.len() - 1).unwrap_or(u32::MAX)
    }

    /// Counters of all CPUs, a power of two.
    fn len(&self) -> usize {
        self.memory.len() / size_of::<Counter>()
    }

    /// The counters of each CPU.
    pub fn by_cpu(&self) -> impl Iterator<Item = impl Iterator<Item = Counter>> {
        self.shared().chunks_exact(self.slots as usize).map(|cpu| {
            cpu.iter().map(|counter| Counter {
                packets: counter.packets.load(Relaxed),
                bytes: counter.bytes.load(Relaxed),
            })
        })
    }

    fn add_to(&self, sums: &mut [Counter]) {
        for cpu in self.by_cpu() {
            for (sum, counter) in sums.iter_mut().zip(cpu) {
                sum.packets += counter.packets;
                sum.bytes += counter.bytes;
            }
        }
    }

    fn shared(&self) -> &[SharedCounter] {
        // SAFETY: the memory has as many counters, lives as long as `self`, begins at a page, and
        // is only ever reached through atomics here.
        unsafe { slice::from_raw_parts(self.memory.as_ptr().cast(), self.len()) }
    }
}

/// A [`Counter`] in memory that the programs write.
#[repr(C)]
struct SharedCounter {
    packets: AtomicU64,
    bytes: AtomicU64,
}

/// One more than the highest number of a CPU that the kernel may ever use.
fn cpus() -> Result<u32, KernelError> {
    let text = fs::read_to_string(POSSIBLE_CPUS).map_err(KernelError::Cpus)?;
    let last = text.trim().rsplit([',', '-']).next().and_then(|last| last.parse::<u32>().ok());
    last.map(|last| last + 1).ok_or_else(|| KernelError::Cpus(io::ErrorKind::InvalidData.into()))
}
