//! What the filter is measured against and with: programs of a few instructions, written by hand.

use anyhow::{Context, Result};

use super::bpf::{Map, MapKind, Program, Traits};

const XDP_DROP: i32 = 1;
const XDP_PASS: i32 = 2;

const TAIL_CALL: i32 = 12;
const LOOKUP: i32 = 1;
const REDIRECT: i32 = 23;

/// Source register that makes a 64-bit constant a map, and the value of a map with one element.
const MAP: u8 = 1;
const MAP_VALUE: u8 = 2;

/// Where the type of an untagged frame stands, and where its stack starts.
const TYPE_AT: i16 = 12;
pub const STACK_AT: i16 = 14;
/// Where the VLAN ID of a tagged frame stands, and where its stack starts.
const VLAN_AT: i16 = 14;
pub const TAGGED_STACK_AT: i16 = 18;
/// 0x8847, as it is read from a frame.
const MPLS: i32 = 0x4788;
/// TTL 64 and S: what the last label entry of a frame has beside its label.
const BOTTOM: i32 = 0x140;

/// An instruction as linux/bpf.h lays it out.
const fn op(code: u8, destination: u8, source: u8, offset: i16, value: i32) -> u64 {
    code as u64
        | (destination as u64 | (source as u64) << 4) << 8
        | (offset.cast_unsigned() as u64) << 16
        | (value.cast_unsigned() as u64) << 32
}

const EXIT: u64 = op(0x95, 0, 0, 0, 0);

fn result(action: i32) -> [u64; 2] {
    [op(0xb7, 0, 0, 0, action), EXIT]
}

/// The program that passes every frame at once: what the others are measured over.
pub fn empty(traits: Traits) -> Result<Program> {
    Program::load(&result(XDP_PASS), c"bench_empty", traits)
}

/// The program that drops every frame at once.
pub fn drop_all() -> Result<Program> {
    Program::load(&result(XDP_DROP), c"bench_drop", Traits::default())
}

/// Makes numbers in order look like numbers at random, in the bits from `SCATTER_SHIFT` on.
const SCATTER: u32 = 0x1e37_79b1;
const SCATTER_SHIFT: u32 = 20;

/// Labels, and VLAN IDs, to take one from at random.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// The first label.
    pub first: u32,
    /// From one label to the next.
    pub step: u32,
    /// By how many numbers, less one, a label may lie behind its step; a power of two. Without
    /// that, pages of labels would be alike, and a filter may share those.
    pub jitter: u32,
    /// Flips bits of that: labels that lie between those of another choice.
    pub flip: u32,
    /// How many labels; the frame keeps its own if there is one.
    pub labels: u32,
    /// So many VLAN IDs from 1 on; the frame is untagged if there is none, and keeps its own tag
    /// if there is one.
    pub vlans: u32,
}

impl Choice {
    /// This label, whatever comes.
    pub const fn only(label: u32) -> Self {
        Self { first: label, step: 1, jitter: 1, flip: 0, labels: 1, vlans: 0 }
    }

    /// The label with this number of those to choose from.
    pub fn label(self, number: u32) -> u32 {
        let scattered = (u64::from(number) * u64::from(SCATTER)) >> SCATTER_SHIFT;
        let jitter = (scattered & u64::from(self.jitter - 1)) ^ u64::from(self.flip);
        self.first + self.step * number + u32::try_from(jitter).unwrap_or(0)
    }

    const fn stack_at(self) -> i16 {
        if self.vlans == 0 { STACK_AT } else { TAGGED_STACK_AT }
    }

    /// Writes a tag and a label into the frame, and leaves the context in r6. A frame that is too
    /// short ends here; there is none.
    fn write(self, state: &Map) -> Result<Vec<u64>> {
        let stack = self.stack_at();
        let mut code = vec![
            op(0xbf, 6, 1, 0, 0),
            op(0x61, 7, 6, 0, 0),
            op(0x61, 8, 6, 4, 0),
            op(0xbf, 2, 7, 0, 0),
            op(0x07, 2, 0, 0, i32::from(stack) + 4),
            // Over the two instructions that end it.
            op(0xbd, 2, 8, 2, 0),
        ];
        code.extend(result(XDP_PASS));
        // r9: the state of the generator, r3: its next number (xorshift32).
        code.extend([
            op(0x18, 9, MAP_VALUE, 0, state.number()),
            op(0, 0, 0, 0, 0),
            op(0x61, 3, 9, 0, 0),
        ]);
        for (shift, bits) in [(0x64, 13), (0x74, 17), (0x64, 5)] {
            code.extend([op(0xbc, 4, 3, 0, 0), op(shift, 4, 0, 0, bits), op(0xac, 3, 4, 0, 0)]);
        }
        code.push(op(0x63, 9, 3, 0, 0));
        if self.labels > 1 {
            // r4 = r3 * labels >> 32, and then the label of that number.
            code.extend([
                op(0xbf, 4, 3, 0, 0),
                op(0x27, 4, 0, 0, i32::try_from(self.labels)?),
                op(0x77, 4, 0, 0, 32),
            ]);
            let jitter = [
                op(0xbf, 5, 4, 0, 0),
                op(0x27, 5, 0, 0, i32::try_from(SCATTER)?),
                op(0x77, 5, 0, 0, i32::try_from(SCATTER_SHIFT)?),
                op(0x57, 5, 0, 0, i32::try_from(self.jitter - 1)?),
                op(0xa7, 5, 0, 0, i32::try_from(self.flip)?),
                op(0x27, 4, 0, 0, i32::try_from(self.step)?),
                op(0x0f, 4, 5, 0, 0),
            ];
            if self.jitter > 1 {
                code.extend(jitter);
            }
            code.extend([
                op(0x07, 4, 0, 0, i32::try_from(self.first)?),
                op(0x67, 4, 0, 0, 12),
                op(0x47, 4, 0, 0, BOTTOM),
                op(0xdc, 4, 0, 0, 32),
                op(0x63, 7, 4, stack, 0),
            ]);
        }
        if self.vlans > 1 {
            // r4 = 1 + (the low half of r3 * vlans >> 16)
            code.extend([
                op(0xbf, 4, 3, 0, 0),
                op(0x57, 4, 0, 0, 0xffff),
                op(0x27, 4, 0, 0, i32::try_from(self.vlans)?),
                op(0x77, 4, 0, 0, 16),
                op(0x07, 4, 0, 0, 1),
                op(0xdc, 4, 0, 0, 16),
                op(0x6b, 7, 4, VLAN_AT, 0),
            ]);
        }
        Ok(code)
    }

    fn state() -> Result<Map> {
        let state = Map::create(MapKind::Array, 4, 4, 1)?;
        state.set(&0_u32.to_ne_bytes(), &0x9e37_79b9_u32.to_ne_bytes())?;
        Ok(state)
    }
}

/// A program that makes a choice and then becomes another program.
pub struct Chooser {
    /// To run and to attach.
    pub program: Program,
    /// What it must have in common with the other.
    pub traits: Traits,
    /// The kernel forgets the other program when this map has no descriptor any more.
    _programs: Map,
}

impl Chooser {
    /// In front of this program.
    pub fn before(target: &Program, choice: Choice) -> Result<Self> {
        let programs = Map::create(MapKind::ProgramArray, 4, 4, 1)?;
        programs.set(&0_u32.to_ne_bytes(), &target.as_value()).context("tail call")?;
        let state = Choice::state()?;
        let mut code = choice.write(&state)?;
        code.extend([
            op(0xbf, 1, 6, 0, 0),
            op(0x18, 2, MAP, 0, programs.number()),
            op(0, 0, 0, 0, 0),
            op(0xb7, 3, 0, 0, 0),
            op(0x85, 0, 0, 0, TAIL_CALL),
        ]);
        // Only if the jump failed.
        code.extend(result(0));
        let mut refused = None;
        for traits in Traits::ALL {
            match Program::load(&code, c"bench_chooser", traits) {
                Ok(program) => return Ok(Self { program, traits, _programs: programs }),
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.context("no traits to try")?)
    }
}

/// A program that sends each frame out of an interface, with a label at random if there are more
/// than one.
pub fn sender(ifindex: u32, choice: Choice) -> Result<Program> {
    let state = Choice::state()?;
    let mut code = choice.write(&state)?;
    code.extend([
        op(0xb7, 1, 0, 0, i32::try_from(ifindex)?),
        op(0xb7, 2, 0, 0, 0),
        op(0x85, 0, 0, 0, REDIRECT),
        EXIT,
    ]);
    Program::load(&code, c"bench_sender", Traits::default())
}

/// The beginning of a filter of untagged frames: passes what is not MPLS, and leaves the first label
/// entry in r3 as it stands in the frame.
fn first_entry() -> Vec<u64> {
    let mut code = vec![
        op(0x61, 7, 1, 0, 0),
        op(0x61, 8, 1, 4, 0),
        op(0xbf, 2, 7, 0, 0),
        op(0x07, 2, 0, 0, i32::from(STACK_AT) + 4),
        op(0xbd, 2, 8, 2, 0),
    ];
    code.extend(result(XDP_PASS));
    code.extend([op(0x69, 3, 7, TYPE_AT, 0), op(0x15, 3, 0, 2, MPLS)]);
    code.extend(result(XDP_PASS));
    code.push(op(0x61, 3, 7, STACK_AT, 0));
    code
}

/// Looks the key at the stack's place up, passes the frame if it is there and drops it if not.
fn look_up(code: &mut Vec<u64>, map: &Map, key_at: i32) {
    code.extend([
        op(0xbf, 2, 10, 0, 0),
        op(0x07, 2, 0, 0, key_at),
        op(0x18, 1, MAP, 0, map.number()),
        op(0, 0, 0, 0, 0),
        op(0x85, 0, 0, 0, LOOKUP),
        op(0x15, 0, 0, 2, 0),
    ]);
    code.extend(result(XDP_PASS));
    code.extend(result(XDP_DROP));
}

/// A filter that has each label in a hash table. It looks at the first entry only and counts
/// nothing.
pub fn hash(labels: impl ExactSizeIterator<Item = u32>) -> Result<Program> {
    let map = Map::create(MapKind::Hash, 4, 4, u32::try_from(labels.len())?)?;
    for label in labels {
        map.set(&label.to_ne_bytes(), &1_u32.to_ne_bytes())?;
    }
    let mut code = first_entry();
    code.extend([op(0xdc, 3, 0, 0, 32), op(0x77, 3, 0, 0, 12), op(0x63, 10, 3, -4, 0)]);
    look_up(&mut code, &map, -4);
    Program::load(&code, c"bench_hash", Traits::ALL[0])
}

/// A filter that has ranges of labels as prefixes in a trie, and is otherwise the same.
pub fn trie(prefixes: &[(u32, u32)]) -> Result<Program> {
    const LABEL_BITS: i32 = 20;
    let map = Map::create(MapKind::LpmTrie, 8, 4, u32::try_from(prefixes.len())?)?;
    for (label, bits) in prefixes {
        let key = [bits.to_ne_bytes(), (label << 12).to_be_bytes()].concat();
        map.set(&key, &1_u32.to_ne_bytes())?;
    }
    let mut code = first_entry();
    code.extend([op(0x63, 10, 3, -4, 0), op(0x62, 10, 0, -8, LABEL_BITS)]);
    look_up(&mut code, &map, -8);
    Program::load(&code, c"bench_trie", Traits::ALL[0])
}
