use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;

use super::RouterError;

// From linux/ethtool.h.
const GSTRINGS: u32 = 0x1b;
const GSSET_INFO: u32 = 0x37;
const GFEATURES: u32 = 0x3a;
const SFEATURES: u32 = 0x3b;
const SS_FEATURES: u32 = 4;
const STRING_LENGTH: usize = 32;

/// A receive offload that takes a VLAN tag out of the frame before XDP sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VlanOffload {
    /// Customer tags, type 0x8100.
    Ctag,
    /// Service tags, type 0x88a8.
    Stag,
}

impl VlanOffload {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ctag, Self::Stag];

    /// The name that `ethtool -k` shows and `ethtool -K` takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ctag => "rx-vlan-offload",
            Self::Stag => "rx-vlan-stag-hw-parse",
        }
    }

    /// The name in the kernel's set of strings.
    fn kernel_name(self) -> &'static str {
        match self {
            Self::Ctag => "rx-vlan-hw-parse",
            Self::Stag => "rx-vlan-stag-hw-parse",
        }
    }
}

impl fmt::Display for VlanOffload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The receive VLAN offloads of one interface that are on now: none where the driver has none.
///
/// A bond says nothing about its members: ask each of them.
///
/// # Errors
///
/// Where there is no such interface, or the kernel does not tell its features.
pub fn vlan_offloads_on(interface: &str) -> Result<Vec<VlanOffload>, RouterError> {
    let device = Device::open(interface)?;
    let features = device.features()?;
    Ok(VlanOffload::ALL.into_iter().filter(|offload| features.active(*offload)).collect())
}

/// Turns a receive VLAN offload on or off, and looks whether it took.
///
/// A driver may reset the port for it.
///
/// # Errors
///
/// [`RouterError::OffloadFixed`] where the driver does not allow it,
/// [`RouterError::OffloadNotTaken`] where it was ignored, [`RouterError::NotPermitted`], or where
/// there is no such interface.
pub fn set_vlan_offload(
    interface: &str,
    offload: VlanOffload,
    on: bool,
) -> Result<(), RouterError> {
    let device = Device::open(interface)?;
    let features = device.features()?;
    if !features.changeable(offload) {
        return if features.active(offload) == on {
            Ok(())
        } else {
            Err(RouterError::OffloadFixed { interface: interface.to_owned(), offload, on })
        };
    }
    device.set(&features, offload, on)?;
    if device.features()?.active(offload) == on {
        Ok(())
    } else {
        Err(RouterError::OffloadNotTaken { interface: interface.to_owned(), offload, on })
    }
}

/// One interface, as the `SIOCETHTOOL` ioctl addresses it.
struct Device<'a> {
    interface: &'a str,
    name: [libc::c_char; libc::IFNAMSIZ],
    socket: UnixDatagram,
}

impl<'a> Device<'a> {
    fn open(interface: &'a str) -> Result<Self, RouterError> {
        let bytes = interface.as_bytes();
        let mut name = [0; libc::IFNAMSIZ];
        if bytes.is_empty() || bytes.len() >= name.len() || bytes.contains(&0) {
            return Err(RouterError::NoSuchInterface { interface: interface.to_owned() });
        }
        for (to, from) in name.iter_mut().zip(bytes) {
            *to = libc::c_char::from_ne_bytes([*from]);
        }
        let socket = UnixDatagram::unbound().map_err(|source| RouterError::Features {
            interface: interface.to_owned(),
            action: "open a socket for ethtool".to_owned(),
            source,
        })?;
        Ok(Self { interface, name, socket })
    }

    fn features(&self) -> Result<Features, RouterError> {
        match self.read_features() {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(Features::default()),
            result => result.map_err(|source| self.failed("read its offloads".to_owned(), source)),
        }
    }

    fn read_features(&self) -> io::Result<Features> {
        let names = self.feature_names()?;
        let mut words = vec![0; 2 + 4 * names.len().div_ceil(32)];
        words[0] = GFEATURES;
        words[1] = block_count(&names)?;
        // SAFETY: `size` (word 1) blocks of four words follow the two words of the header.
        unsafe { self.ethtool(&mut words) }?;
        let blocks = words[2..]
            .chunks_exact(4)
            .map(|block| Block { available: block[0], active: block[2], never_changed: block[3] })
            .collect();
        Ok(Features { names, blocks })
    }

    /// The names of all features, in the order of their bits.
    fn feature_names(&self) -> io::Result<Vec<String>> {
        // cmd, reserved, the mask of sets as a u64, and the length of the one set asked for.
        let [a, b, c, d, e, f, g, h] = (1_u64 << SS_FEATURES).to_ne_bytes();
        let mask = [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])];
        let mut info = [GSSET_INFO, 0, mask[0], mask[1], 0];
        // SAFETY: one bit of the mask is set, so at most one word is written after it.
        unsafe { self.ethtool(&mut info) }?;
        let length = usize::try_from(info[4]).map_err(io::Error::other)?;

        let mut words = vec![0; 3 + length * STRING_LENGTH / size_of::<u32>()];
        words[0] = GSTRINGS;
        words[1] = SS_FEATURES;
        words[2] = info[4];
        // SAFETY: the buffer has room for all strings of the set, whose number is a constant of
        // the running kernel.
        unsafe { self.ethtool(&mut words) }?;
        let bytes: Vec<u8> = words[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();
        Ok(bytes
            .chunks_exact(STRING_LENGTH)
            .map(|string| {
                let end = string.iter().position(|byte| *byte == 0).unwrap_or(STRING_LENGTH);
                String::from_utf8_lossy(&string[..end]).into_owned()
            })
            .collect())
    }

    fn set(&self, features: &Features, offload: VlanOffload, on: bool) -> Result<(), RouterError> {
        let failed = |source| {
            self.failed(format!("turn {offload} {}", if on { "on" } else { "off" }), source)
        };
        let Some((block, bit)) = features.position(offload) else { return Ok(()) };
        let mut words = vec![0; 2 + 2 * features.blocks.len()];
        words[0] = SFEATURES;
        words[1] = block_count(&features.names).map_err(failed)?;
        words[2 + 2 * block] = bit;
        words[3 + 2 * block] = if on { bit } else { 0 };
        // SAFETY: `size` (word 1) blocks of two words follow the two words of the header.
        unsafe { self.ethtool(&mut words) }.map_err(failed)
    }

    /// Does one ethtool command.
    ///
    /// # Safety
    ///
    /// The words are the command's structure, with all the room that the kernel writes to for it.
    unsafe fn ethtool(&self, words: &mut [u32]) -> io::Result<()> {
        let mut request = libc::ifreq {
            ifr_name: self.name,
            ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: words.as_mut_ptr().cast() },
        };
        // SAFETY: the descriptor is open, the name ends with a NUL, and the caller vouches for the
        // words, which outlive the call.
        let result =
            unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn failed(&self, action: String, source: io::Error) -> RouterError {
        let interface = self.interface.to_owned();
        match source.raw_os_error() {
            Some(libc::ENODEV) => RouterError::NoSuchInterface { interface },
            Some(libc::EPERM) => RouterError::NotPermitted { interface, action },
            _ => RouterError::Features { interface, action, source },
        }
    }
}

/// How many blocks of 32 bits the features take.
fn block_count(names: &[String]) -> io::Result<u32> {
    u32::try_from(names.len().div_ceil(32)).map_err(io::Error::other)
}

/// The features of one interface.
#[derive(Default)]
struct Features {
    names: Vec<String>,
    blocks: Vec<Block>,
}

/// 32 features.
struct Block {
    available: u32,
    active: u32,
    never_changed: u32,
}

impl Features {
    /// The block and the bit of an offload, where the kernel knows it.
    fn position(&self, offload: VlanOffload) -> Option<(usize, u32)> {
        let position = self.names.iter().position(|name| name == offload.kernel_name())?;
        Some((position / 32, 1 << (position % 32)))
    }

    fn active(&self, offload: VlanOffload) -> bool {
        self.position(offload).is_some_and(|(block, bit)| self.blocks[block].active & bit != 0)
    }

    fn changeable(&self, offload: VlanOffload) -> bool {
        self.position(offload).is_some_and(|(block, bit)| {
            let Block { available, never_changed, .. } = self.blocks[block];
            available & !never_changed & bit != 0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fresh_namespace::{in_fresh_namespace, ip};
    use super::*;

    #[test]
    fn the_offloads_of_a_veth_go_off_and_on_one_by_one() {
        in_fresh_namespace(|| {
            ip("link add port type veth peer name far");
            assert_eq!(vlan_offloads_on("port").unwrap(), VlanOffload::ALL);
            set_vlan_offload("port", VlanOffload::Ctag, false).unwrap();
            assert_eq!(vlan_offloads_on("port").unwrap(), [VlanOffload::Stag]);
            set_vlan_offload("port", VlanOffload::Ctag, false).unwrap();
            set_vlan_offload("port", VlanOffload::Stag, false).unwrap();
            assert!(vlan_offloads_on("port").unwrap().is_empty());
            assert_eq!(vlan_offloads_on("far").unwrap(), VlanOffload::ALL);
            set_vlan_offload("port", VlanOffload::Ctag, true).unwrap();
            assert_eq!(vlan_offloads_on("port").unwrap(), [VlanOffload::Ctag]);
        });
    }

    #[test]
    fn an_offload_that_the_driver_does_not_have_is_off_and_stays_so() {
        in_fresh_namespace(|| {
            assert!(vlan_offloads_on("lo").unwrap().is_empty());
            set_vlan_offload("lo", VlanOffload::Ctag, false).unwrap();
            let error = set_vlan_offload("lo", VlanOffload::Ctag, true).unwrap_err();
            assert_eq!(
                error.to_string(),
                "interface lo: its driver keeps rx-vlan-offload off (fixed); use another port or \
                 driver"
            );
        });
    }

    #[test]
    fn names_that_no_interface_has_are_told() {
        in_fresh_namespace(|| {
            for name in ["", "nosuch", "a-name-too-long-", "a\0b"] {
                let error = vlan_offloads_on(name).unwrap_err();
                let RouterError::NoSuchInterface { interface } = error else { panic!("{error}") };
                assert_eq!(interface, name);
            }
        });
    }

    #[test]
    fn without_root_nothing_is_switched_and_the_error_says_why() {
        in_fresh_namespace(|| {
            ip("link add port type veth peer name far");
            // SAFETY: the raw call changes the user of this thread only, which ends with the test.
            assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) }, 0);
            let error = set_vlan_offload("port", VlanOffload::Ctag, false).unwrap_err();
            assert_eq!(
                error.to_string(),
                "interface port: not permitted to turn rx-vlan-offload off; run as root or with \
                 CAP_NET_ADMIN"
            );
            assert_eq!(vlan_offloads_on("port").unwrap(), VlanOffload::ALL);
        });
    }

    #[test]
    fn a_bit_that_is_on_and_not_available_is_fixed() {
        let names = VlanOffload::ALL.map(|offload| offload.kernel_name().to_owned()).to_vec();
        let block = Block { available: 0b10, active: 0b01, never_changed: 0 };
        let features = Features { names, blocks: vec![block] };
        assert!(features.active(VlanOffload::Ctag) && !features.changeable(VlanOffload::Ctag));
        assert!(!features.active(VlanOffload::Stag) && features.changeable(VlanOffload::Stag));
    }
}
