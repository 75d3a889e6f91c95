//! The counters: chunks of per-CPU blocks that grow and never move.

use std::path::PathBuf;

use aya::maps::{ArrayOfMaps, Map, MapData, PerCpuArray};
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_PERCPU_ARRAY;
use mpls_xdp_ebpf::abi::{CHUNK_COUNTERS, Counter, CounterChunk};

use super::{KernelError, Pins, definition};

/// Bytes of a chunk.
const CHUNK_BYTES: u32 = 16 << 10;
const _: () = assert!(CHUNK_BYTES as usize == size_of::<CounterChunk>());

/// A snapshot of all counters, summed over the CPUs.
#[derive(Debug, Default)]
pub struct Counters {
    slots: Vec<Counter>,
}

impl Counters {
    /// Reads every pinned chunk.
    ///
    /// # Errors
    ///
    /// When a chunk cannot be read.
    pub fn read(pins: &Pins) -> Result<Self, KernelError> {
        OpenCounters::open(pins)?.read()
    }

    /// The pins that must be there for slots up to `end`.
    pub fn pins(pins: &Pins, end: u32) -> Vec<PathBuf> {
        let chunks = (0..end.div_ceil(CHUNK_COUNTERS)).map(|chunk| format!("counters-{chunk}"));
        let names = ["counters", "trace"].map(str::to_owned).into_iter().chain(chunks);
        names.map(|name| pins.path(&name)).collect()
    }

    /// Removes all pins of counters; programs that are loaded later count anew.
    ///
    /// # Errors
    ///
    /// When that is not permitted.
    pub fn forget(pins: &Pins) -> Result<(), KernelError> {
        let chunks = pins.numbered("counters-")?.into_iter().map(|(path, _)| path);
        for path in chunks.chain(Self::pins(pins, 0)) {
            pins.remove(&path)?;
        }
        Ok(())
    }

    /// Counters of which these slots have counted so many frames.
    #[cfg(test)]
    pub(crate) fn of(packets: &[(u32, u64)]) -> Self {
        let mut slots = vec![Counter::default(); CHUNK_COUNTERS as usize];
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

/// The chunks of counters, which can be read after their pins are gone.
pub struct OpenCounters {
    chunks: Vec<PerCpuArray<MapData, CounterChunk>>,
}

impl OpenCounters {
    /// Opens every pinned chunk.
    ///
    /// # Errors
    ///
    /// When one cannot be opened.
    pub fn open(pins: &Pins) -> Result<Self, KernelError> {
        let chunks = pins.numbered("counters-")?.into_iter().map(|(path, _)| {
            Ok(PerCpuArray::try_from(Map::PerCpuArray(MapData::from_pin(path)?))?)
        });
        Ok(Self { chunks: chunks.collect::<Result<_, KernelError>>()? })
    }

    /// What has been counted so far.
    ///
    /// # Errors
    ///
    /// When a chunk cannot be read.
    pub fn read(&self) -> Result<Counters, KernelError> {
        let mut slots = Vec::new();
        for chunk in &self.chunks {
            slots.extend(sum(chunk)?);
        }
        Ok(Counters { slots })
    }
}

/// Makes chunks until there are slots up to `end`, and pins them when `pins` are given.
pub(super) fn grow(map: &mut Map, pins: Option<&Pins>, end: u32) -> Result<(), KernelError> {
    let mut counters: ArrayOfMaps<&mut MapData> = ArrayOfMaps::try_from(map)?;
    let present = match pins {
        Some(pins) => pins.numbered("counters-")?.len(),
        None => 0,
    };
    for chunk in u32::try_from(present).unwrap_or(u32::MAX)..end.div_ceil(CHUNK_COUNTERS) {
        let definition = definition::array(BPF_MAP_TYPE_PERCPU_ARRAY, CHUNK_BYTES, 1, 0);
        let map = MapData::create(definition, "mpls_counters", None)?;
        // Set before it is pinned: a chunk whose pin is there is in use.
        counters.set(chunk, &map, 0)?;
        if let Some(pins) = pins {
            map.pin(pins.path(&format!("counters-{chunk}")))?;
        }
    }
    Ok(())
}

/// A chunk's counters, summed over the CPUs.
fn sum(chunk: &PerCpuArray<MapData, CounterChunk>) -> Result<Vec<Counter>, KernelError> {
    let mut sums = vec![Counter::default(); CHUNK_COUNTERS as usize];
    for cpu in chunk.get(&0, 0)?.iter() {
        for (sum, counter) in sums.iter_mut().zip(cpu) {
            sum.packets += counter.packets;
            sum.bytes += counter.bytes;
        }
    }
    Ok(sums)
}
