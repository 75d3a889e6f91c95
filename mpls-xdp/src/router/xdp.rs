use std::ffi::CStr;
use std::fmt;

use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage, LinkXdp, XdpAttached};

use super::{RouterError, netlink};

/// Where in the receive path an XDP program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum XdpAttachMode {
    /// In the driver, before the kernel allocates anything for the frame.
    Native,
    /// In the kernel's general receive path, after allocation.
    Generic,
    /// In the network card.
    Offloaded,
}

impl XdpAttachMode {
    /// The name that `status` shows: `native`, `generic` or `offloaded`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Offloaded => "offloaded",
        }
    }

    /// The flag `XDP_FLAGS_*_MODE` of `linux/if_link.h`.
    fn netlink_flag(self) -> u32 {
        match self {
            Self::Generic => 1 << 1,
            Self::Native => 1 << 2,
            Self::Offloaded => 1 << 3,
        }
    }
}

impl fmt::Display for XdpAttachMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The XDP program that is on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XdpProgram {
    /// Where it runs.
    pub mode: XdpAttachMode,
    /// The kernel's number for it, as `bpftool prog` shows.
    pub program_id: u32,
}

impl XdpProgram {
    /// Reads `IFLA_XDP`. Of programs in several modes it gives the native one, then the generic.
    pub(super) fn from_attributes(attributes: &[LinkXdp]) -> Option<Self> {
        let mut attached = None;
        let (mut any, mut native, mut generic, mut offloaded) = (None, None, None, None);
        for attribute in attributes {
            match attribute {
                LinkXdp::Attached(mode) => attached = Some(*mode),
                LinkXdp::ProgId(id) => any = Some(*id),
                LinkXdp::DrvProgId(id) => native = Some(*id),
                LinkXdp::SkbProgId(id) => generic = Some(*id),
                LinkXdp::HwProgId(id) => offloaded = Some(*id),
                _ => (),
            }
        }
        let (mode, id) = match attached? {
            XdpAttached::Driver => (XdpAttachMode::Native, native.or(any)),
            XdpAttached::SocketBuffer => (XdpAttachMode::Generic, generic.or(any)),
            XdpAttached::Hardware => (XdpAttachMode::Offloaded, offloaded.or(any)),
            XdpAttached::Multiple if native.is_some() => (XdpAttachMode::Native, native),
            XdpAttached::Multiple if generic.is_some() => (XdpAttachMode::Generic, generic),
            XdpAttached::Multiple => (XdpAttachMode::Offloaded, offloaded),
            _ => return None,
        };
        Some(Self { mode, program_id: id.unwrap_or_default() })
    }
}

/// Takes off an XDP program that was attached over RTNETLINK (as `ip link` does), not by a BPF
/// link.
///
/// An interface without a program in this mode stays as it is.
///
/// # Errors
///
/// [`RouterError::HeldByLink`] where a BPF link holds the program,
/// [`RouterError::NoSuchInterface`], [`RouterError::NotPermitted`], or what else the kernel says.
pub fn detach_foreign(index: u32, mode: XdpAttachMode) -> Result<(), RouterError> {
    change_program(index, -1, mode).map_err(|source| {
        let interface = interface_name(index);
        match source.raw_os_error() {
            Some(libc::EBUSY) => RouterError::HeldByLink { interface },
            Some(libc::ENODEV) => RouterError::NoSuchInterface { interface },
            Some(libc::EPERM | libc::EACCES) => RouterError::NotPermitted {
                interface,
                action: "take its XDP program off".to_owned(),
            },
            _ => RouterError::Detach { interface, source },
        }
    })
}

fn change_program(index: u32, program: i32, mode: XdpAttachMode) -> std::io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
        .attributes
        .push(LinkAttribute::Xdp(vec![LinkXdp::Fd(program), LinkXdp::Flags(mode.netlink_flag())]));
    netlink::set_link(message)
}

/// The name of an interface, or its index where it is gone.
fn interface_name(index: u32) -> String {
    let mut name = [0; libc::IFNAMSIZ];
    // SAFETY: the buffer has the IFNAMSIZ bytes that if_indextoname may write.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr()) };
    if found.is_null() {
        return format!("with index {index}");
    }
    // SAFETY: if_indextoname has written a name that ends with a NUL into the buffer.
    unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    use super::super::Links;
    use super::super::fresh_namespace::{in_fresh_namespace, ip};
    use super::*;

    /// `union bpf_attr` in 32-bit words.
    fn bpf(command: libc::c_int, attributes: &mut [u32; 32]) -> OwnedFd {
        // SAFETY: the attributes are valid for the size that is passed, and the pointers that the
        // callers wrote into them outlive the call.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), 128) };
        let error = std::io::Error::last_os_error();
        assert!(result >= 0, "bpf command {command}: {error}; this test needs root");
        // SAFETY: the call returned a new descriptor that nobody else owns.
        unsafe { OwnedFd::from_raw_fd(i32::try_from(result).unwrap()) }
    }

    /// Loads the program `return XDP_PASS`.
    fn pass() -> OwnedFd {
        const PROG_LOAD: libc::c_int = 5;
        const TYPE_XDP: u32 = 6;
        let instructions: [u64; 2] = [
            u64::from_ne_bytes([0xb7, 0, 0, 0, 2, 0, 0, 0]),
            u64::from_ne_bytes([0x95, 0, 0, 0, 0, 0, 0, 0]),
        ];
        let words = |address: u64| {
            let [a, b, c, d, e, f, g, h] = address.to_ne_bytes();
            [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
        };
        let mut attributes = [0; 32];
        attributes[0] = TYPE_XDP;
        attributes[1] = 2;
        attributes[2..4].copy_from_slice(&words(instructions.as_ptr() as u64));
        attributes[4..6].copy_from_slice(&words(c"GPL".as_ptr() as u64));
        bpf(PROG_LOAD, &mut attributes)
    }

    /// Attaches by a BPF link, natively.
    fn link(program: &OwnedFd, index: u32) -> OwnedFd {
        const LINK_CREATE: libc::c_int = 28;
        const ATTACH_XDP: u32 = 37;
        let mut attributes = [0; 32];
        attributes[0] = u32::try_from(program.as_raw_fd()).unwrap();
        attributes[1] = index;
        attributes[2] = ATTACH_XDP;
        attributes[3] = XdpAttachMode::Native.netlink_flag();
        bpf(LINK_CREATE, &mut attributes)
    }

    fn port() -> u32 {
        ip("link add port type veth peer name far");
        Links::read().unwrap().by_name("port").unwrap().index
    }

    fn attached(index: u32) -> Option<XdpProgram> {
        Links::read().unwrap().by_index(index).unwrap().xdp
    }

    #[test]
    fn a_program_attached_over_netlink_is_seen_and_taken_off() {
        in_fresh_namespace(|| {
            let (index, program) = (port(), pass());
            assert_eq!(attached(index), None);
            for mode in [XdpAttachMode::Native, XdpAttachMode::Generic] {
                change_program(index, program.as_raw_fd(), mode).unwrap();
                let seen = attached(index).unwrap();
                assert_eq!(seen.mode, mode);
                assert_ne!(seen.program_id, 0);
                detach_foreign(index, mode).unwrap();
                assert_eq!(attached(index), None);
                detach_foreign(index, mode).unwrap();
            }
        });
    }

    #[test]
    fn a_program_held_by_a_link_stays_and_the_error_says_so() {
        in_fresh_namespace(|| {
            let (index, program) = (port(), pass());
            let link = link(&program, index);
            let before = attached(index).unwrap();
            assert_eq!(before.mode, XdpAttachMode::Native);
            let error = detach_foreign(index, XdpAttachMode::Native).unwrap_err();
            assert!(
                matches!(&error, RouterError::HeldByLink { interface } if interface == "port"),
                "{error}"
            );
            assert_eq!(attached(index), Some(before));
            drop(link);
            assert_eq!(attached(index), None);
        });
    }

    #[test]
    fn an_interface_that_is_gone_is_named_by_its_index() {
        in_fresh_namespace(|| {
            let error = detach_foreign(4711, XdpAttachMode::Native).unwrap_err();
            assert_eq!(
                error.to_string(),
                "interface with index 4711: not in this network namespace; `ip link` shows those \
                 that are"
            );
        });
    }

    #[test]
    fn of_several_modes_the_native_program_is_told() {
        let several = |ids: &[LinkXdp]| {
            let mut attributes = vec![LinkXdp::Attached(XdpAttached::Multiple)];
            attributes.extend_from_slice(ids);
            XdpProgram::from_attributes(&attributes).unwrap()
        };
        assert_eq!(
            several(&[LinkXdp::SkbProgId(7), LinkXdp::DrvProgId(8), LinkXdp::HwProgId(9)]),
            XdpProgram { mode: XdpAttachMode::Native, program_id: 8 }
        );
        assert_eq!(
            several(&[LinkXdp::SkbProgId(7), LinkXdp::HwProgId(9)]),
            XdpProgram { mode: XdpAttachMode::Generic, program_id: 7 }
        );
        assert_eq!(
            XdpProgram::from_attributes(&[
                LinkXdp::Attached(XdpAttached::Hardware),
                LinkXdp::ProgId(9)
            ]),
            Some(XdpProgram { mode: XdpAttachMode::Offloaded, program_id: 9 })
        );
        assert_eq!(XdpProgram::from_attributes(&[LinkXdp::Attached(XdpAttached::None)]), None);
    }
}
