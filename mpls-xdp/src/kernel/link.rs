//! Pinned links: programs on interfaces.

use std::{io, path::PathBuf};

use aya::programs::{
    ProgramError, XdpMode,
    links::{FdLink, LinkError, PinnedLink},
    xdp::XdpLink,
};

use super::{FilterProgram, KernelError, Pins, is_not_permitted};

/// The pin of a program on an interface.
#[derive(Debug, Clone)]
pub struct PinnedProgram {
    /// Slot of the program.
    pub slot: u32,
    /// Index of the interface that it was attached to; the interface may be gone.
    pub ifindex: u32,
    /// Id of the program.
    pub program_id: u32,
    /// The pin.
    pub path: PathBuf,
}

impl PinnedProgram {
    /// All of a network namespace's.
    ///
    /// # Errors
    ///
    /// When a pin cannot be read.
    pub fn all(pins: &Pins) -> Result<Vec<Self>, KernelError> {
        pins.numbered("link-")?
            .into_iter()
            .filter_map(|(path, numbers)| match numbers[..] {
                [slot, ifindex] => {
                    Some((path, u32::try_from(slot).ok()?, u32::try_from(ifindex).ok()?))
                }
                _ => None,
            })
            .map(|(path, slot, ifindex)| {
                let link = FdLink::from(PinnedLink::from_pin(&path).map_err(link_error)?);
                let program_id = link.info().map_err(link_error)?.program_id();
                Ok(Self { slot, ifindex, program_id, path })
            })
            .collect()
    }

    /// Attaches a program and pins its link.
    ///
    /// # Errors
    ///
    /// When another program is there, or the driver refuses.
    pub fn attach(
        program: &mut FilterProgram,
        pins: &Pins,
        slot: u32,
        interface: (&str, u32),
        mode: XdpMode,
    ) -> Result<PathBuf, KernelError> {
        let (name, ifindex) = interface;
        let xdp = program.xdp()?;
        let id =
            xdp.attach_to_if_index(ifindex, mode).map_err(|error| attach_error(error, name))?;
        let link = xdp.take_link(id)?;
        // A link over netlink cannot be pinned: dropped, it comes off again.
        let link = FdLink::try_from(link).map_err(link_error)?;
        let pin = pins.link(slot, ifindex);
        // A pin of the same name belongs to an interface that was deleted.
        pins.remove(&pin)?;
        link.pin(&pin)?;
        Ok(pin)
    }

    /// Replaces the program in one step; the interface is never without one.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn replace(&self, program: &mut FilterProgram) -> Result<(), KernelError> {
        let link = FdLink::from(PinnedLink::from_pin(&self.path).map_err(link_error)?);
        let link = XdpLink::try_from(link).map_err(link_error)?;
        let xdp = program.xdp()?;
        let id = xdp.attach_to_link(link)?;
        // Only the handle goes: the pin keeps the link.
        drop(xdp.take_link(id)?);
        Ok(())
    }
}

fn link_error(error: LinkError) -> KernelError {
    match error {
        LinkError::SyscallError(error) if is_not_permitted(&error.io_error) => {
            KernelError::NotPermitted
        }
        error => KernelError::Link(error),
    }
}

fn attach_error(error: ProgramError, interface: &str) -> KernelError {
    let interface = interface.to_owned();
    let error = match error {
        ProgramError::SyscallError(error) => error,
        // Asked a second time over netlink, the driver says why.
        ProgramError::XdpError(error) => {
            return KernelError::Attach { interface, source: io::Error::other(error) };
        }
        error => return KernelError::from(error),
    };
    match error.io_error.raw_os_error() {
        Some(libc::EPERM) => KernelError::NotPermitted,
        Some(libc::EOPNOTSUPP) => KernelError::NoNativeXdp(interface),
        Some(libc::EBUSY | libc::EEXIST) => {
            KernelError::ForeignProgram { interface, id: String::new() }
        }
        _ => KernelError::Attach { interface, source: error.io_error },
    }
}
