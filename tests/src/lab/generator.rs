//! Frames at the rate of a wire.

use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, IterableMap, MapData};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::hand_written::{HandWritten, instruction};
use super::{Link, Namespace};

/// Frames that a generator tells apart at most.
const KINDS: usize = 64;
/// The 64-bit words in which they may differ: tags and labels are there.
const WORDS: usize = 3;
/// Where these words start in a frame.
const START: usize = 8;

/// The map's value: how many frames were made, and the words of each kind.
type Table = [u64; 1 + WORDS * KINDS];

/// Sends some frames again and again in their order, millions in a second.
///
/// The kernel makes the frames (`BPF_PROG_TEST_RUN` with live frames) and a small program gives
/// each its tags and labels, counts it and redirects it to a veth end. What that end has no room
/// for is lost.
pub struct Generator {
    namespace: Namespace,
    program: HandWritten,
    table: Array<MapData, Table>,
    frame: Vec<u8>,
    kinds: usize,
    processor: Option<usize>,
}

impl Generator {
    /// A generator of these frames, as if sent on `link`, whose other end must be a veth of the
    /// lab. The number of frames is a power of two and 64 at most; they have one length and differ
    /// between byte 8 and byte 31 only.
    ///
    /// # Errors
    ///
    /// When the frames are not so, or the kernel refuses the program.
    pub fn new(link: &Link, frames: &[Vec<u8>]) -> Result<Self> {
        let kinds = frames.len();
        ensure!(kinds.is_power_of_two() && kinds <= KINDS, "{kinds} frames");
        let changing = START..START + WORDS * 8;
        let frame = frames[0].clone();
        ensure!(frame.len() >= changing.end, "a frame of {} bytes", frame.len());

        let mut words: Table = [0; 1 + WORDS * KINDS];
        for (kind, other) in frames.iter().enumerate() {
            let same = |range: std::ops::Range<usize>| frame.get(range.clone()) == other.get(range);
            let alike = other.len() == frame.len()
                && same(0..changing.start)
                && same(changing.end..frame.len());
            ensure!(alike, "frame {kind} differs from the first in more than its bytes 8 to 31");
            for (at, bytes) in other[changing.clone()].chunks_exact(8).enumerate() {
                words[1 + kind * WORDS + at] = u64::from_ne_bytes(bytes.try_into()?);
            }
        }
        let mut table = Array::create(1, 0).context("making a generator's map")?;
        table.set(0, words, 0)?;
        let map = table.map().fd().as_fd().as_raw_fd();
        let program = HandWritten::load(&program(map, kinds, link.index()?)?, c"mpls_generator")?;
        Ok(Self {
            namespace: link.namespace().clone(),
            program,
            table,
            frame,
            kinds,
            processor: None,
        })
    }

    /// The same, on this CPU only. A veth with a queue for each CPU receives there as well.
    #[must_use]
    pub const fn on(mut self, processor: usize) -> Self {
        self.processor = Some(processor);
        self
    }

    /// Sends so many rounds of the frames.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn send(&self, rounds: usize) -> Result<()> {
        let count = u32::try_from(rounds * self.kinds)?;
        self.namespace.run(|| {
            if let Some(processor) = self.processor {
                let mut only = CpuSet::new();
                only.set(processor);
                sched_setaffinity(None, &only)
                    .with_context(|| format!("running on CPU {processor}"))?;
            }
            self.program.run_live(&self.frame, count)
        })
    }

    /// How many frames were sent. Of each kind there are as many, unless it is sending right now.
    ///
    /// # Errors
    ///
    /// When the kernel does not say.
    pub fn sent(&self) -> Result<u64> {
        Ok(self.table.get(&0, 0)?[0])
    }

    /// Length of each frame.
    #[must_use]
    pub fn frame_length(&self) -> u64 {
        self.frame.len() as u64
    }
}

/// Takes the next kind from the table, counts it, writes its words into the frame and sends it.
fn program(map: i32, kinds: usize, ifindex: u32) -> Result<Vec<u64>> {
    const BPF_REDIRECT: i32 = 23;
    const MAP_VALUE: u8 = 2;
    let start = i16::try_from(START)?;
    let end = i32::try_from(START + WORDS * 8)?;
    let stride = i32::try_from(WORDS * 8)?;
    let mask = i32::try_from(kinds - 1)?;
    let copies = (0..i16::try_from(WORDS)?).flat_map(|word| {
        [instruction(0x79, 2, 9, 8 + 8 * word, 0), instruction(0x7b, 7, 2, start + 8 * word, 0)]
    });
    let mut code = vec![
        // r7 and r8: start and end of the frame.
        instruction(0x61, 7, 1, 0, 0),
        instruction(0x61, 8, 1, 4, 0),
        instruction(0xbf, 2, 7, 0, 0),
        instruction(0x07, 2, 0, 0, end),
    ];
    let check = code.len();
    code.extend([
        // r9: the table; its first word becomes one more.
        instruction(0x18, 9, MAP_VALUE, 0, map),
        instruction(0, 0, 0, 0, 0),
        instruction(0x79, 1, 9, 0, 0),
        instruction(0xbf, 2, 1, 0, 0),
        instruction(0x07, 2, 0, 0, 1),
        instruction(0x7b, 9, 2, 0, 0),
        // r9: the table from this kind on.
        instruction(0x57, 1, 0, 0, mask),
        instruction(0x27, 1, 0, 0, stride),
        instruction(0x0f, 9, 1, 0, 0),
    ]);
    code.extend(copies);
    code.extend([
        instruction(0xb7, 1, 0, 0, ifindex.cast_signed()),
        instruction(0xb7, 2, 0, 0, 0),
        instruction(0x85, 0, 0, 0, BPF_REDIRECT),
        instruction(0x95, 0, 0, 0, 0),
    ]);
    // A frame that is too short ends here; there is none.
    let beyond = i16::try_from(code.len() - check)?;
    code.insert(check, instruction(0x2d, 2, 8, beyond, 0));
    code.extend([instruction(0xb7, 0, 0, 0, 0), instruction(0x95, 0, 0, 0, 0)]);
    Ok(code)
}
