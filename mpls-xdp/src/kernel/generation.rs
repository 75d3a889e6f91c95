//! The policy map and the images that it can hold.

use std::{
    borrow::BorrowMut,
    os::fd::{AsFd as _, AsRawFd as _, RawFd},
    path::Path,
};

use aya::maps::{Array, ArrayOfMaps, Map, MapData, MapError};
use aya_obj::generated::{BPF_F_MMAPABLE, bpf_map_type::BPF_MAP_TYPE_ARRAY};
use memmap2::{Mmap, MmapOptions};
use mpls_xdp_ebpf::abi::{self, header};

use super::{KernelError, Pins, definition, is_not_permitted};
use crate::manifest::Manifest;

/// An image in the kernel.
#[derive(Debug)]
pub struct Generation {
    map: MapData,
    id: u32,
    words: u32,
}

impl Generation {
    /// Puts an image into a new map of `capacity` words.
    ///
    /// # Errors
    ///
    /// When the kernel has no memory for it or privileges are missing.
    pub fn create(image: &[u32], capacity: u32) -> Result<Self, KernelError> {
        let definition = definition::array(BPF_MAP_TYPE_ARRAY, capacity * 4, 1, BPF_F_MMAPABLE);
        let map = MapData::create(definition, "mpls_image", None)?;
        let mut generation = Self::from_map(map)?;
        generation.write(image)?;
        Ok(generation)
    }

    fn from_map(map: MapData) -> Result<Self, KernelError> {
        let info = map.info()?;
        Ok(Self { id: info.id(), words: info.value_size() / 4, map })
    }

    /// Opens a pinned image.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or another version of the ABI wrote it.
    pub fn open(path: &Path) -> Result<Self, KernelError> {
        let generation = Self::from_map(MapData::from_pin(path)?)?;
        let is_ours = match generation.memory() {
            Ok(bytes) => word(&bytes, header::MAGIC) == abi::MAGIC,
            // Images of this version can always be mapped.
            Err(KernelError::Memory(_)) => false,
            Err(error) => return Err(error),
        };
        if is_ours { Ok(generation) } else { Err(KernelError::OtherAbi { path: path.to_owned() }) }
    }

    fn write(&mut self, image: &[u32]) -> Result<(), KernelError> {
        // SAFETY: the map was made a moment ago and no program reads it yet.
        let mut memory =
            unsafe { self.options().map_mut(self.raw_fd()) }.map_err(KernelError::Memory)?;
        for (bytes, word) in memory.chunks_exact_mut(4).zip(image) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        Ok(())
    }

    /// The map's file says nothing of its size.
    fn options(&self) -> MmapOptions {
        let mut options = MmapOptions::new();
        options.len(self.words as usize * 4);
        options
    }

    fn raw_fd(&self) -> RawFd {
        self.map.fd().as_fd().as_raw_fd()
    }

    fn memory(&self) -> Result<Mmap, KernelError> {
        // SAFETY: an image is never changed once its map has been written.
        unsafe { self.options().map(self.raw_fd()) }.map_err(|error| {
            match is_not_permitted(&error) {
                true => KernelError::NotPermitted,
                false => KernelError::Memory(error),
            }
        })
    }

    /// The map's id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Words that the map holds.
    pub fn capacity(&self) -> u32 {
        self.words
    }

    /// The image's words.
    ///
    /// # Errors
    ///
    /// When the map's memory cannot be reached.
    pub fn image(&self) -> Result<Vec<u32>, KernelError> {
        let bytes = self.memory()?;
        Ok((0..self.words).map(|offset| word(&bytes, offset)).collect())
    }

    /// The image's names.
    ///
    /// # Errors
    ///
    /// When the manifest cannot be read.
    pub fn manifest(&self) -> Result<Manifest, KernelError> {
        let bytes = self.memory()?;
        let start = word(&bytes, header::MANIFEST) as usize * 4;
        let len = word(&bytes, header::MANIFEST_LEN) as usize;
        Ok(serde_json::from_slice(bytes.get(start..start + len).unwrap_or_default())?)
    }

    /// Pins the image, so that commands to come can read its names.
    ///
    /// # Errors
    ///
    /// When the pin cannot be made.
    pub fn pin(&self, pins: &Pins, generation: u64) -> Result<(), KernelError> {
        let path = pins.image(generation, self.words);
        pins.remove(&path)?;
        Ok(self.map.pin(path)?)
    }
}

fn word(bytes: &[u8], offset: u32) -> u32 {
    let start = offset as usize * 4;
    bytes.get(start..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_ne_bytes(*word))
}

/// The map of the active generation.
#[derive(Debug)]
pub struct PolicyMap<T> {
    map: ArrayOfMaps<T>,
}

impl PolicyMap<MapData> {
    /// Opens the pinned map for images of `words`.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub fn open(pins: &Pins, words: u32) -> Result<Self, KernelError> {
        let map = Map::ArrayOfMaps(MapData::from_pin(pins.policy(words))?);
        Ok(Self { map: ArrayOfMaps::try_from(map)? })
    }

    /// Id of the active generation's map in the pinned map at `path`.
    ///
    /// # Errors
    ///
    /// When the map cannot be read.
    pub fn active_id(path: &Path) -> Result<Option<u32>, KernelError> {
        // Read as plain numbers: opening the inner map by its id would take CAP_SYS_ADMIN.
        let map = Array::<_, u32>::try_from(Map::Array(MapData::from_pin(path)?))?;
        match map.get(&0, 0) {
            Ok(id) => Ok(Some(id)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(MapError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(libc::ENOENT) =>
            {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl<'a> PolicyMap<&'a mut MapData> {
    pub(super) fn new(map: &'a mut Map) -> Result<Self, KernelError> {
        Ok(Self { map: ArrayOfMaps::try_from(map)? })
    }
}

impl<T: BorrowMut<MapData>> PolicyMap<T> {
    /// Makes `generation` the active one; returns when no packet uses the one before any more
    /// (`maybe_wait_bpf_programs` in kernel/bpf/syscall.c).
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub fn activate(&mut self, generation: &Generation) -> Result<(), KernelError> {
        Ok(self.map.set(0, &generation.map, 0)?)
    }
}
