//! Offload features of an interface, by the kernel's names, some of which `ethtool -k` abbreviates.

use std::ffi::c_char;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, bail, ensure};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

// From linux/ethtool.h. The structures there are sequences of 32-bit words, apart from one mask of
// 64 bits and the strings.
const GET_STRINGS: u32 = 0x1b;
const GET_STRING_SET_INFO: u32 = 0x37;
const GET_FEATURES: u32 = 0x3a;
const SET_FEATURES: u32 = 0x3b;
/// The set of strings that names the features.
const FEATURE_NAMES: u32 = 4;
/// Words of a string.
const STRING: usize = 32 / 4;
/// Words of a block of 32 features in an answer: available, requested, active, never changed.
const ANSWER_BLOCK: usize = 4;
const ACTIVE: usize = 2;
/// Words of a block of 32 features in a request: valid, requested.
const REQUEST_BLOCK: usize = 2;

/// The features of one interface of the thread's network namespace.
pub(super) struct Features<'a> {
    interface: &'a str,
    socket: OwnedFd,
    names: Vec<String>,
}

impl<'a> Features<'a> {
    /// Asks for the names of the features that this kernel has.
    pub(super) fn of(interface: &'a str) -> Result<Self> {
        let socket =
            socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        let names = feature_names(socket.as_fd(), interface)
            .with_context(|| format!("asking for the offload features of {interface}"))?;
        Ok(Self { interface, socket, names })
    }

    /// The names that start so.
    pub(super) fn starting_with(&self, prefix: &str) -> Vec<&str> {
        self.names.iter().map(String::as_str).filter(|name| name.starts_with(prefix)).collect()
    }

    /// Whether a feature is on.
    pub(super) fn is_on(&self, name: &str) -> Result<bool> {
        let position = self.position(name)?;
        let mut answer = vec![0; 2 + self.blocks() * ANSWER_BLOCK];
        answer[..2].copy_from_slice(&[GET_FEATURES, word(self.blocks())]);
        self.ioctl(&mut answer).context("reading the offload features")?;
        Ok(answer[2 + position / 32 * ANSWER_BLOCK + ACTIVE] & bit(position) != 0)
    }

    /// Turns features on or off.
    pub(super) fn set(&self, names: &[&str], on: bool) -> Result<()> {
        let mut request = vec![0; 2 + self.blocks() * REQUEST_BLOCK];
        request[..2].copy_from_slice(&[SET_FEATURES, word(self.blocks())]);
        for name in names {
            let position = self.position(name)?;
            let block = 2 + position / 32 * REQUEST_BLOCK;
            request[block] |= bit(position);
            request[block + 1] |= if on { bit(position) } else { 0 };
        }
        let wanted = if on { "on" } else { "off" };
        self.ioctl(&mut request).with_context(|| format!("turning {names:?} {wanted}"))?;
        for name in names {
            ensure!(
                self.is_on(name)? == on,
                "the driver of {} does not turn {name} {wanted}",
                self.interface
            );
        }
        Ok(())
    }

    fn position(&self, name: &str) -> Result<usize> {
        match self.names.iter().position(|known| known == name) {
            Some(position) => Ok(position),
            None => bail!("this kernel has no offload feature {name}"),
        }
    }

    fn blocks(&self) -> usize {
        self.names.len().div_ceil(32)
    }

    fn ioctl(&self, words: &mut [u32]) -> io::Result<()> {
        ioctl(self.socket.as_fd(), self.interface, words)
    }
}

fn feature_names(socket: BorrowedFd<'_>, interface: &str) -> io::Result<Vec<String>> {
    let [low, high] = halves(1 << FEATURE_NAMES);
    let mut info = [GET_STRING_SET_INFO, 0, low, high, 0];
    ioctl(socket, interface, &mut info)?;
    let [.., count] = info;

    let mut strings = vec![0; 3 + count as usize * STRING];
    strings[..3].copy_from_slice(&[GET_STRINGS, FEATURE_NAMES, count]);
    ioctl(socket, interface, &mut strings)?;
    Ok(strings[3..].chunks_exact(STRING).map(text).collect())
}

/// The text in words, up to its NUL.
fn text(words: &[u32]) -> String {
    let bytes = words.iter().flat_map(|word| word.to_ne_bytes());
    bytes.take_while(|&byte| byte != 0).map(char::from).collect()
}

/// A 64-bit number as the two words that it takes in memory.
fn halves(number: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = number.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}

fn bit(position: usize) -> u32 {
    1 << (position % 32)
}

fn word(number: usize) -> u32 {
    u32::try_from(number).expect("there are fewer than 2^32 features")
}

/// Hands a structure of words to the driver, which may answer in it.
///
/// How long the structure is stands in the structure: `words` must hold all of it.
fn ioctl(socket: BorrowedFd<'_>, interface: &str, words: &mut [u32]) -> io::Result<()> {
    let mut name: [c_char; libc::IFNAMSIZ] = [0; libc::IFNAMSIZ];
    if interface.len() >= name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    let request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: words.as_mut_ptr().cast() },
    };
    // SAFETY: the request and the words outlive the call, the name ends with NUL, and each caller
    // gives as many words as its structure says.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw const request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
