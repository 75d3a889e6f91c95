//! The name of a network interface, as the kernel takes it.

use std::fmt;
use std::str::FromStr;

/// How many bytes of `IFNAMSIZ` are left for the name itself.
const MAX_BYTES: usize = 15;

/// A name that the kernel takes for an interface (`dev_valid_name`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(String);

/// Why the kernel would not take a name for an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InterfaceNameError {
    /// No byte at all.
    #[error("it is empty")]
    Empty,
    /// More bytes than the kernel keeps.
    #[error("it has {0} bytes")]
    TooLong(usize),
    /// `.` or `..`, which sysfs could not show.
    #[error("it is a directory's name")]
    Directory,
    /// A byte that the kernel refuses.
    #[error("it has {0} in it")]
    Refused(&'static str),
}

impl InterfaceName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for InterfaceName {
    type Err = InterfaceNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if name.is_empty() {
            return Err(InterfaceNameError::Empty);
        }
        if let Some(refused) = name.bytes().find_map(refused_byte) {
            return Err(InterfaceNameError::Refused(refused));
        }
        if name.len() > MAX_BYTES {
            return Err(InterfaceNameError::TooLong(name.len()));
        }
        if name == "." || name == ".." {
            return Err(InterfaceNameError::Directory);
        }
        Ok(Self(name.to_owned()))
    }
}

/// What `byte` is when the kernel refuses it in a name.
fn refused_byte(byte: u8) -> Option<&'static str> {
    match byte {
        0 => Some("a NUL"),
        b'/' => Some("a `/`"),
        b':' => Some("a `:`"),
        // The kernel's isspace() knows Latin-1, so it also refuses 0xa0 inside a UTF-8 sequence.
        b'\t'..=b'\r' | b' ' | 0xa0 => Some("white space"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{InterfaceName, InterfaceNameError as Error};

    fn refusal(name: &str) -> Option<Error> {
        name.parse::<InterfaceName>().err()
    }

    #[test]
    fn takes_what_the_kernel_takes() {
        for name in ["e", "eth2.100", "a23456789012345", "...", "wan-π", "a%d"] {
            assert_eq!(name.parse::<InterfaceName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn refuses_what_the_kernel_refuses() {
        assert_eq!(refusal(""), Some(Error::Empty));
        assert_eq!(refusal("a234567890123456"), Some(Error::TooLong(16)));
        assert_eq!(refusal("ππππππππ"), Some(Error::TooLong(16)));
        assert_eq!(refusal("."), Some(Error::Directory));
        assert_eq!(refusal(".."), Some(Error::Directory));
        assert_eq!(refusal("a/b"), Some(Error::Refused("a `/`")));
        assert_eq!(refusal("a:b"), Some(Error::Refused("a `:`")));
        assert_eq!(refusal("a\0"), Some(Error::Refused("a NUL")));
    }

    #[test]
    fn refuses_the_kernels_white_space() {
        for space in [' ', '\t', '\n', '\u{b}', '\u{c}', '\r', '\u{a0}', 'à'] {
            let name = format!("a{space}b");
            assert_eq!(refusal(&name), Some(Error::Refused("white space")));
        }
    }
}
