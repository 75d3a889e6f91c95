//! The kernel object, with the numbers of one copy of the program in its instructions.
//!
//! aya relocates the addresses of maps that it makes itself. Those that are made at run time reach
//! the program here: an instruction that loads one of the numbers of [`given`](abi::given) loads
//! what stands for it in the copy.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use aya_obj::generated::{BPF_DW, BPF_IMM, BPF_LD, BPF_PSEUDO_MAP_VALUE};
#[cfg(doc)]
use mpls_xdp_ebpf::abi;

/// The committed object, aligned as the loader needs it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("KERNEL_OBJECT"));
/// SHA-256 of [`OBJECT`], in hexadecimal.
pub(super) const DIGEST: &str = env!("KERNEL_OBJECT_DIGEST");

/// `ld_imm64`, the instruction of 16 bytes that loads a 64-bit number.
#[expect(clippy::cast_possible_truncation, reason = "an operation code is a byte")]
const LOAD: u8 = (BPF_LD | BPF_IMM | BPF_DW) as u8;
/// Its second byte where the number stands for a map: the source register is no register.
#[expect(clippy::cast_possible_truncation, reason = "half a byte")]
const MAP_VALUE: u8 = (BPF_PSEUDO_MAP_VALUE as u8) << 4;
/// Instructions begin at multiples of this many bytes, as do the sections that have them.
const INSTRUCTION: usize = 8;

/// What takes the place of a number.
#[derive(Debug, Clone, Copy)]
pub(super) enum Given<'a> {
    /// Another number.
    Number(u64),
    /// The address of the one value of a map. The map must be open until the program is loaded.
    Value(BorrowedFd<'a>),
}

/// A copy of the object in which every number is replaced by what is given for it.
pub(super) fn with(given: &[(u64, Given<'_>)]) -> Vec<u8> {
    let mut object = OBJECT.to_vec();
    for at in (0..object.len().saturating_sub(2 * INSTRUCTION)).step_by(INSTRUCTION) {
        let instruction = &mut object[at..at + 2 * INSTRUCTION];
        let Some(number) = loaded_number(instruction) else {
            continue;
        };
        if let Some((_, given)) = given.iter().find(|(placeholder, _)| *placeholder == number) {
            give(instruction, *given);
        }
    }
    object
}

/// The number that an instruction loads, if it is a load of a number.
fn loaded_number(instruction: &[u8]) -> Option<u64> {
    let [code, registers, 0, 0, a, b, c, d, 0, 0, 0, 0, e, f, g, h] = *instruction else {
        return None;
    };
    let is_number = code == LOAD && registers >> 4 == 0;
    is_number.then(|| u64::from_le_bytes([a, b, c, d, e, f, g, h]))
}

fn give(instruction: &mut [u8], given: Given<'_>) {
    let number = match given {
        Given::Number(number) => number,
        Given::Value(map) => {
            instruction[1] |= MAP_VALUE;
            // The high half is an offset in the value.
            map.as_raw_fd().cast_unsigned().into()
        }
    };
    let bytes = number.to_le_bytes();
    instruction[4..8].copy_from_slice(&bytes[..4]);
    instruction[12..].copy_from_slice(&bytes[4..]);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mpls_xdp_ebpf::abi::given;

    use super::*;

    const ALL: [u64; 8] = [
        given::POLICY,
        given::IMAGE_WORDS,
        given::SECOND_IMAGE,
        given::COUNTERS,
        given::COUNTER_SLOTS,
        given::COUNTERS_END,
        given::INTERFACE,
        given::TRACING,
    ];

    fn loaded(object: &[u8]) -> BTreeSet<u64> {
        object.windows(2 * INSTRUCTION).step_by(INSTRUCTION).filter_map(loaded_number).collect()
    }

    #[test]
    fn every_number_is_replaced_and_nothing_else() {
        let before = loaded(OBJECT);
        assert!(ALL.iter().all(|number| before.contains(number)), "{before:x?}");
        let replaced = ALL.map(|number| (number, Given::Number(!number)));
        let after = loaded(&with(&replaced));
        let expected: BTreeSet<u64> = before
            .iter()
            .map(|number| if ALL.contains(number) { !number } else { *number })
            .collect();
        assert_eq!(after, expected);
    }
}
