//! The place in a pinned map of maps.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::maps::{HashMap, Map, MapData, MapError};

use super::{KernelError, Pins};

/// The one place of a pinned map of maps, taken as a map of numbers: aya's type for it takes
/// nothing out.
pub(super) struct Slot {
    map: HashMap<MapData, u32, u32>,
    /// The map's id.
    pub(super) id: u32,
}

impl Slot {
    pub(super) fn open(pins: &Pins, name: &str) -> Result<Self, KernelError> {
        let map = MapData::from_pin(pins.path(name))?;
        let id = map.info()?.id();
        Ok(Self { map: HashMap::try_from(Map::HashMap(map))?, id })
    }

    pub(super) fn put(&mut self, map: &MapData) -> Result<(), KernelError> {
        let descriptor = map.fd().as_fd().as_raw_fd();
        Ok(self.map.insert(0, descriptor.cast_unsigned(), 0)?)
    }

    pub(super) fn clear(&mut self) -> Result<(), KernelError> {
        match self.map.remove(&0) {
            Err(MapError::SyscallError(error))
                if error.io_error.kind() == io::ErrorKind::NotFound =>
            {
                Ok(())
            }
            result => Ok(result?),
        }
    }
}
