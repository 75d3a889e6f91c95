//! The few calls of `bpf(2)` that aya does not have: instructions as they are, raw test runs.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aya::programs::loaded_programs;
use rustix::time::{ClockId, clock_gettime};

// From linux/bpf.h. The structures there are sequences of 32-bit words and addresses of 64 bits.
const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP: libc::c_int = 1;
const MAP_UPDATE: libc::c_int = 2;
const PROG_LOAD: libc::c_int = 5;
const PROG_TEST_RUN: libc::c_int = 10;
const LINK_CREATE: libc::c_int = 28;
const TYPE_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
const NATIVE: u32 = 1 << 2;
const HAS_FRAGS: u32 = 1 << 5;
const LIVE_FRAMES: u32 = 1 << 1;

/// Frames that the kernel makes and sends at once; a veth holds 256 that nobody has taken yet.
const BATCH: u32 = 64;
/// How long the kernel may be without memory for a run.
const PATIENCE: Duration = Duration::from_secs(10);

/// `union bpf_attr`, in words.
type Attributes = [u32; 36];

/// The kinds of maps made here.
#[derive(Clone, Copy)]
pub enum MapKind {
    Hash = 1,
    Array = 2,
    ProgramArray = 3,
    LpmTrie = 11,
}

/// A map.
pub struct Map(OwnedFd);

impl Map {
    /// Makes a map.
    pub fn create(kind: MapKind, key: u32, value: u32, entries: u32) -> Result<Self> {
        const NO_PREALLOCATION: u32 = 1;
        let mut attributes: Attributes = [0; 36];
        attributes[0] = kind as u32;
        attributes[1] = key;
        attributes[2] = value;
        attributes[3] = entries;
        attributes[4] = if matches!(kind, MapKind::LpmTrie) { NO_PREALLOCATION } else { 0 };
        let map = bpf(MAP_CREATE, &mut attributes).context("making a map")?;
        // SAFETY: the kernel has just made this descriptor for us alone.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(map) }))
    }

    /// Sets an element.
    pub fn set(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut attributes = element(&self.0, key, value.as_ptr())?;
        bpf(MAP_UPDATE, &mut attributes).context("setting an element of a map")?;
        Ok(())
    }

    /// The descriptor as instructions name it.
    pub fn number(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

/// Reads the number at `index` of an array, or of an array of maps: then it is the map's id.
pub fn array_word(map: BorrowedFd<'_>, index: u32) -> Option<u32> {
    let mut value = [0_u8; 4];
    let key = index.to_ne_bytes();
    let mut attributes = element(&map, &key, value.as_mut_ptr()).ok()?;
    bpf(MAP_LOOKUP, &mut attributes).ok()?;
    Some(u32::from_ne_bytes(value))
}

fn element(map: &impl AsFd, key: &[u8], value: *const u8) -> Result<Attributes> {
    let mut attributes: Attributes = [0; 36];
    attributes[0] = descriptor(map)?;
    put_address(&mut attributes, 2, key.as_ptr());
    put_address(&mut attributes, 4, value);
    Ok(attributes)
}

/// What a program must share with those that it jumps to: whether it reads frames in fragments,
/// and the type of attachment that it was loaded for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traits {
    frags: bool,
    attachment: bool,
}

impl Traits {
    /// All that there are.
    pub const ALL: [Self; 4] = [
        Self { frags: true, attachment: true },
        Self { frags: true, attachment: false },
        Self { frags: false, attachment: true },
        Self { frags: false, attachment: false },
    ];
}

/// A loaded XDP program.
pub struct Program(OwnedFd);

impl Program {
    /// Loads a program; the kernel keeps 15 bytes of its name.
    pub fn load(instructions: &[u64], name: &CStr, traits: Traits) -> Result<Self> {
        let mut log = vec![0_u8; 64 << 10];
        let mut attributes: Attributes = [0; 36];
        attributes[0] = TYPE_XDP;
        attributes[1] = u32::try_from(instructions.len())?;
        put_address(&mut attributes, 2, instructions.as_ptr().cast());
        put_address(&mut attributes, 4, c"GPL".as_ptr().cast());
        attributes[6] = 1;
        attributes[7] = u32::try_from(log.len())?;
        put_address(&mut attributes, 8, log.as_mut_ptr());
        attributes[11] = if traits.frags { HAS_FRAGS } else { 0 };
        for (at, byte) in name.to_bytes().iter().take(15).enumerate() {
            attributes[12 + at / 4] |= u32::from(*byte) << (at % 4 * 8);
        }
        attributes[17] = if traits.attachment { ATTACH_XDP } else { 0 };
        let program = bpf(PROG_LOAD, &mut attributes).with_context(|| {
            let log = String::from_utf8_lossy(&log);
            format!("loading {name:?}: {}", log.trim_end_matches('\0'))
        })?;
        // SAFETY: the kernel has just made this descriptor for us alone.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(program) }))
    }

    /// A program that somebody else loaded, by the kernel's number.
    pub fn with_id(id: u32) -> Result<Self> {
        let found = loaded_programs().filter_map(Result::ok).find(|info| info.id() == id);
        let info = found.with_context(|| format!("there is no program {id}"))?;
        Ok(Self(info.fd()?.as_fd().try_clone_to_owned()?))
    }

    /// Attaches the program natively to an interface of this thread's namespace, until the link is
    /// dropped. A program that is attached nowhere would have the kernel rewrite its dispatcher in
    /// each test run.
    pub fn attach(&self, ifindex: u32) -> Result<OwnedFd> {
        let mut attributes: Attributes = [0; 36];
        attributes[0] = descriptor(&self.0)?;
        attributes[1] = ifindex;
        attributes[2] = ATTACH_XDP;
        attributes[3] = NATIVE;
        let link = bpf(LINK_CREATE, &mut attributes).context("attaching a program")?;
        // SAFETY: the kernel has just made this descriptor for us alone.
        Ok(unsafe { OwnedFd::from_raw_fd(link) })
    }

    /// Runs the program so often on a copy of the frame. Returns what it returned and how long a
    /// run took of this thread's time on the CPU, in nanoseconds.
    pub fn run(&self, frame: &[u8], repeat: u32) -> Result<(u32, f64)> {
        let mut attributes: Attributes = [0; 36];
        attributes[0] = descriptor(&self.0)?;
        attributes[2] = u32::try_from(frame.len())?;
        put_address(&mut attributes, 4, frame.as_ptr());
        attributes[8] = repeat;
        let before = clock_gettime(ClockId::ThreadCPUTime);
        bpf(PROG_TEST_RUN, &mut attributes).context("running a program")?;
        let after = clock_gettime(ClockId::ThreadCPUTime);
        let took = Duration::try_from(after - before)?;
        Ok((attributes[1], took.as_secs_f64() * 1e9 / f64::from(repeat)))
    }

    /// Runs the program in this thread's namespace on so many frames, which go where it says.
    pub fn run_live(&self, frame: &[u8], count: u32) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut attributes: Attributes = [0; 36];
            attributes[0] = descriptor(&self.0)?;
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

    /// The descriptor's bytes, as a map of programs takes them.
    pub fn as_value(&self) -> [u8; 4] {
        self.0.as_raw_fd().to_ne_bytes()
    }
}

fn descriptor(descriptor: &impl AsFd) -> Result<u32> {
    Ok(u32::try_from(descriptor.as_fd().as_raw_fd())?)
}

fn put_address(attributes: &mut Attributes, word: usize, address: *const u8) {
    let [a, b, c, d, e, f, g, h] = (address as u64).to_ne_bytes();
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
