//! Waits until no program runs that began before.

use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_ARRAY;

use super::{KernelError, Pins, definition, slot::Slot};

/// Pin of the map that is updated to wait.
pub(super) const FENCE: &str = "fence";

/// The map whose update the kernel answers when every program that ran has ended.
pub(super) struct Fence(Slot);

impl Fence {
    /// Opens the pinned map.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub(super) fn open(pins: &Pins) -> Result<Self, KernelError> {
        Ok(Self(Slot::open(pins, FENCE)?))
    }

    /// Waits (`maybe_wait_bpf_programs` in kernel/bpf/syscall.c): some milliseconds.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub(super) fn wait(&mut self) -> Result<(), KernelError> {
        let any = definition::array(BPF_MAP_TYPE_ARRAY, 4, 1, 0);
        self.0.put(&definition::create(any, "mpls_fence")?)
    }
}
