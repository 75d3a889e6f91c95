//! XDP programs of a few instructions, written by hand: tests need no compiler for them.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::PATIENCE;

// From linux/bpf.h. The structures there are sequences of 32-bit words and addresses of 64 bits.
const PROG_LOAD: libc::c_int = 5;
const PROG_TEST_RUN: libc::c_int = 10;
const TYPE_XDP: u32 = 6;
const LIVE_FRAMES: u32 = 1 << 1;

/// `union bpf_attr`, in words.
type Attributes = [u32; 36];

/// Frames that the kernel makes and sends at once; a veth holds 256 that nobody has taken yet.
const BATCH: u32 = 64;

/// An instruction as linux/bpf.h lays it out.
pub(super) const fn instruction(
    code: u8,
    destination: u8,
    source: u8,
    offset: i16,
    value: i32,
) -> u64 {
    code as u64
        | (destination as u64 | (source as u64) << 4) << 8
        | (offset.cast_unsigned() as u64) << 16
        | (value.cast_unsigned() as u64) << 32
}

/// A loaded program.
#[derive(Debug)]
pub struct HandWritten {
    program: OwnedFd,
}

impl HandWritten {
    /// The program that passes every frame.
    ///
    /// # Errors
    ///
    /// When not root.
    pub fn pass_all() -> Result<Self> {
        const XDP_PASS: i32 = 2;
        Self::load(
            &[instruction(0xb7, 0, 0, 0, XDP_PASS), instruction(0x95, 0, 0, 0, 0)],
            c"pass_all",
        )
    }

    /// Loads a program; the kernel keeps 15 bytes of its name.
    pub(super) fn load(instructions: &[u64], name: &CStr) -> Result<Self> {
        let mut log = vec![0_u8; 16 << 10];
        let mut attributes: Attributes = [0; 36];
        attributes[0] = TYPE_XDP;
        attributes[1] = u32::try_from(instructions.len())?;
        put_address(&mut attributes, 2, instructions.as_ptr().cast());
        put_address(&mut attributes, 4, c"GPL".as_ptr().cast());
        attributes[6] = 1;
        attributes[7] = u32::try_from(log.len())?;
        put_address(&mut attributes, 8, log.as_mut_ptr());
        for (at, byte) in name.to_bytes().iter().take(15).enumerate() {
            attributes[12 + at / 4] |= u32::from(*byte) << (at % 4 * 8);
        }
        let program = bpf(PROG_LOAD, &mut attributes).with_context(|| {
            let log = String::from_utf8_lossy(&log);
            format!("loading {name:?}: {}", log.trim_end_matches('\0'))
        })?;
        // SAFETY: the kernel has just made this descriptor for us alone.
        Ok(Self { program: unsafe { OwnedFd::from_raw_fd(program) } })
    }

    /// Runs the program in this thread's namespace on so many copies of a frame, which go where it
    /// says. Where the kernel has no memory for them, it is asked again.
    pub(super) fn run_live(&self, frame: &[u8], count: u32) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut attributes: Attributes = [0; 36];
            attributes[0] = descriptor(&self.program)?;
            attributes[2] = u32::try_from(frame.len())?;
            put_address(&mut attributes, 4, frame.as_ptr());
            attributes[8] = count;
            attributes[16] = LIVE_FRAMES;
            attributes[18] = BATCH;
            match bpf(PROG_TEST_RUN, &mut attributes) {
                Ok(_) => return Ok(()),
                Err(error) => {
                    let again = error.kind() == io::ErrorKind::OutOfMemory;
                    ensure!(again && Instant::now() < deadline, "running live frames: {error}");
                }
            }
        }
    }
}

impl AsFd for HandWritten {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }
}

fn descriptor(descriptor: &OwnedFd) -> Result<u32> {
    Ok(u32::try_from(descriptor.as_raw_fd())?)
}

fn put_address(attributes: &mut Attributes, word: usize, address: *const u8) {
    let address = address as u64;
    let [a, b, c, d, e, f, g, h] = address.to_ne_bytes();
    attributes[word] = u32::from_ne_bytes([a, b, c, d]);
    attributes[word + 1] = u32::from_ne_bytes([e, f, g, h]);
}

fn bpf(command: libc::c_int, attributes: &mut Attributes) -> io::Result<i32> {
    // SAFETY: the attributes have the length given, and what they point at outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size_of::<Attributes>())
    };
    i32::try_from(result).ok().filter(|result| *result >= 0).ok_or_else(io::Error::last_os_error)
}
