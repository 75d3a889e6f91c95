//! The policy map: room for two images, of which one is active.

use std::{
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    path::Path,
    slice,
    sync::atomic::{
        AtomicU32,
        Ordering::{Acquire, Relaxed, Release},
        fence,
    },
    thread,
    time::Duration,
};

use aya::maps::MapData;
use aya_obj::generated::{BPF_F_MMAPABLE, bpf_map_type::BPF_MAP_TYPE_ARRAY};
use memmap2::{MmapOptions, MmapRaw};
use mpls_xdp_ebpf::abi::{self, header, policy_map};

use super::{Fence, KernelError, Pins, definition, is_not_permitted};
use crate::manifest::Manifest;

/// How often an image is read again that was written meanwhile.
const ATTEMPTS: u32 = 100;
/// How long the command that writes is given.
const INTERVAL: Duration = Duration::from_millis(1);

/// A policy map in the kernel.
///
/// Programs judge by the active image. The other one is written, made active by one word, and the
/// kernel is waited for; so whoever dies at any point leaves the old policy or the new one whole.
#[derive(Debug)]
pub struct PolicyMap {
    map: MapData,
    id: u32,
    /// Words of an image.
    words: u32,
    memory: Memory,
}

impl PolicyMap {
    /// Makes a map for images of `words`, in which `image` is active.
    ///
    /// # Errors
    ///
    /// When the kernel has no memory for it or privileges are missing.
    pub fn create(image: &[u32], words: u32) -> Result<Self, KernelError> {
        let bytes = policy_map::bytes(words);
        let definition = definition::array(BPF_MAP_TYPE_ARRAY, bytes, 1, BPF_F_MMAPABLE);
        let map = definition::create(definition, "mpls_policy")?;
        let memory = Memory::of(&map)?;
        memory.word(policy_map::SECOND).store(policy_map::second(words), Relaxed);
        let map = Self { id: map.info()?.id(), words, memory, map };
        map.write(0, image);
        Ok(map)
    }

    /// Opens a pinned map.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or another version of the ABI wrote it.
    pub fn open(path: &Path) -> Result<Self, KernelError> {
        let other_abi = || KernelError::OtherAbi { path: path.to_owned() };
        let map = MapData::from_pin(path)?;
        if map.info()?.value_size() < policy_map::bytes(abi::FIXED_WORDS) {
            return Err(other_abi());
        }
        let memory = match Memory::of(&map) {
            // Maps of this version can always be mapped.
            Err(KernelError::Memory(_)) => return Err(other_abi()),
            memory => memory?,
        };
        let second = memory.word(policy_map::SECOND).load(Relaxed);
        let words = second / 4;
        let is_so_long = || memory.words().len() == policy_map::bytes(words) as usize / 4;
        if second > abi::MOST_WORDS * 4 || !is_so_long() {
            return Err(other_abi());
        }
        let map = Self { id: map.info()?.id(), words, memory, map };
        match map.active() {
            Some(image) if load_header(image, header::MAGIC) == abi::MAGIC => Ok(map),
            _ => Err(other_abi()),
        }
    }

    /// The map, as programs are given it.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.map.fd().as_fd()
    }

    /// The map's id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Words that an image can have.
    pub fn capacity(&self) -> u32 {
        self.words
    }

    /// Bytes of the map.
    pub fn bytes(&self) -> u32 {
        policy_map::bytes(self.words)
    }

    /// The active image's words.
    ///
    /// # Errors
    ///
    /// When there is none, or it is replaced again and again.
    pub fn image(&self) -> Result<Vec<u32>, KernelError> {
        self.whole(|image| image.iter().map(|word| word.load(Relaxed)).collect())
    }

    /// The names in the active image.
    ///
    /// # Errors
    ///
    /// As [`Self::image`], or when they cannot be read.
    pub fn manifest(&self) -> Result<Manifest, KernelError> {
        let bytes = self.whole(|image| {
            let start = load_header(image, header::MANIFEST) as usize / 4;
            let len = load_header(image, header::MANIFEST_LEN) as usize;
            let words = image.get(start..start + len.div_ceil(4)).unwrap_or_default();
            let mut bytes: Vec<u8> =
                words.iter().flat_map(|word| word.load(Relaxed).to_le_bytes()).collect();
            bytes.truncate(len);
            bytes
        })?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// The number of the active generation.
    pub fn generation(&self) -> u64 {
        let half = |field| self.active().map_or(0, |image| u64::from(load_header(image, field)));
        half(header::GENERATION) | half(header::GENERATION + 1) << u32::BITS
    }

    /// How often an image began to be written.
    pub fn writes(&self) -> u32 {
        self.control(policy_map::WRITES).load(Acquire)
    }

    /// Makes `image` the active one; returns when no frame is judged by the one before any more.
    ///
    /// # Errors
    ///
    /// When it is larger than the map's images, or the kernel cannot be waited for.
    pub fn activate(&self, image: &[u32], pins: &Pins) -> Result<(), KernelError> {
        let mut fence = Fence::open(pins)?;
        let before = self.control(policy_map::ACTIVE).load(Relaxed);
        if self.control(policy_map::SETTLED).load(Relaxed) != before {
            // A command died before the kernel had let go of the image that is written now.
            fence.wait()?;
        }
        let second = policy_map::second(self.words);
        let other = if before == 0 { second } else { 0 };
        self.write(other, image);
        self.control(policy_map::ACTIVE).store(other, Release);
        fence.wait()?;
        self.control(policy_map::SETTLED).store(other, Relaxed);
        Ok(())
    }

    /// Says whether somebody samples refused frames: programs ask for buckets only then.
    pub fn set_sampled(&self, sampled: bool) {
        self.control(policy_map::SAMPLED).store(sampled.into(), Relaxed);
    }

    /// Whether somebody samples refused frames, or was killed while he did.
    pub fn is_sampled(&self) -> bool {
        self.control(policy_map::SAMPLED).load(Relaxed) != 0
    }

    /// Pins the map, so that programs and commands to come find it.
    ///
    /// # Errors
    ///
    /// When the pin cannot be made.
    pub fn pin(&self, pins: &Pins) -> Result<(), KernelError> {
        let path = pins.policy(self.words);
        pins.remove(&path)?;
        Ok(self.map.pin(path)?)
    }

    fn write(&self, start: u32, image: &[u32]) {
        self.control(policy_map::WRITES).fetch_add(1, Relaxed);
        // Whoever reads meanwhile must see that this began before what it writes.
        fence(Release);
        for (place, word) in self.image_at(start).iter().zip(image) {
            // A small change touches the lines that it changes, and no others.
            if place.load(Relaxed) != *word {
                place.store(*word, Relaxed);
            }
        }
    }

    /// What `read` makes of the active image, when nobody wrote meanwhile.
    fn whole<T>(&self, read: impl Fn(&[AtomicU32]) -> T) -> Result<T, KernelError> {
        for _ in 0..ATTEMPTS {
            let writes = self.writes();
            let result = read(self.active().ok_or(KernelError::NoImage)?);
            fence(Acquire);
            if self.control(policy_map::WRITES).load(Relaxed) == writes {
                return Ok(result);
            }
            thread::sleep(INTERVAL);
        }
        Err(KernelError::KeepsChanging)
    }

    fn active(&self) -> Option<&[AtomicU32]> {
        let start = self.control(policy_map::ACTIVE).load(Acquire);
        let is_one = start == 0 || start == policy_map::second(self.words);
        is_one.then(|| self.image_at(start))
    }

    fn image_at(&self, start: u32) -> &[AtomicU32] {
        let start = (policy_map::FIRST + start) as usize / 4;
        &self.memory.words()[start..start + self.words as usize]
    }

    fn control(&self, field: u32) -> &AtomicU32 {
        self.memory.word(field)
    }
}

/// A map's value, in this process as well.
#[derive(Debug)]
struct Memory(MmapRaw);

impl Memory {
    fn of(map: &MapData) -> Result<Self, KernelError> {
        let mut options = MmapOptions::new();
        // The map's file says nothing of its size.
        options.len(map.info()?.value_size() as usize);
        match options.map_raw(map.fd().as_fd().as_raw_fd()) {
            Ok(memory) => Ok(Self(memory)),
            Err(error) if is_not_permitted(&error) => Err(KernelError::NotPermitted),
            Err(error) => Err(KernelError::Memory(error)),
        }
    }

    fn word(&self, field: u32) -> &AtomicU32 {
        &self.words()[field as usize]
    }

    fn words(&self) -> &[AtomicU32] {
        // SAFETY: the memory is that long, lives as long as `self`, begins at a page, and is only
        // ever reached through atomics here; programs only read it.
        unsafe { slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() / 4) }
    }
}

fn load_header(image: &[AtomicU32], field: u32) -> u32 {
    image.get((abi::HEADER / 4 + field) as usize).map_or(0, |word| word.load(Relaxed))
}
