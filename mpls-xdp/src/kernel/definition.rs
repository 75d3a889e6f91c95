//! Definitions of the maps that no object declares, because their number or size comes at run time.

use aya::maps::{MapData, MapError};
use aya_obj::{
    EbpfSectionKind, Map,
    generated::bpf_map_type,
    maps::{LegacyMap, PinningType, bpf_map_def},
};

use super::{KernelError, is_not_permitted};

/// An array of `max_entries` values of `value_size` bytes.
pub(super) fn array(
    map_type: bpf_map_type,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
) -> Map {
    Map::Legacy(LegacyMap {
        def: bpf_map_def {
            map_type: map_type as u32,
            key_size: 4,
            value_size,
            max_entries,
            map_flags,
            id: 0,
            pinning: PinningType::None,
        },
        inner_def: None,
        section_index: 0,
        section_kind: EbpfSectionKind::Undefined,
        symbol_index: None,
        data: Vec::new(),
    })
}

/// Makes a map.
///
/// # Errors
///
/// When the kernel has no memory for it or privileges are missing.
pub(super) fn create(definition: Map, name: &str) -> Result<MapData, KernelError> {
    MapData::create(definition, name, None).map_err(|error| match error {
        MapError::CreateError { io_error, .. } if is_not_permitted(&io_error) => {
            KernelError::NotPermitted
        }
        error => error.into(),
    })
}
