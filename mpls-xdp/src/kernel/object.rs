//! The kernel object, with the numbers of one copy of the program in its instructions.
//!
//! aya relocates the addresses of maps that it makes itself. Those that are made at run time reach
//! the program here: an instruction that has one of the numbers of [`given`](abi::given) gets what
//! stands for it in the copy.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use aya_obj::generated::{
    BPF_ALU64, BPF_AND, BPF_DW, BPF_IMM, BPF_K, BPF_LD, BPF_MOV, BPF_MUL, BPF_PSEUDO_MAP_VALUE,
};
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
/// The instructions whose operand of 32 bits can be given: each puts it in a register, or reckons
/// with it on what is there.
#[expect(clippy::cast_possible_truncation, reason = "an operation code is a byte")]
const WITH_OPERAND: [u8; 3] = [
    (BPF_ALU64 | BPF_MOV | BPF_K) as u8,
    (BPF_ALU64 | BPF_AND | BPF_K) as u8,
    (BPF_ALU64 | BPF_MUL | BPF_K) as u8,
];
/// Instructions begin at multiples of this many bytes, as do the sections that have them.
const INSTRUCTION: usize = 8;

/// What every copy is given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    /// The maps whose one value's address takes the place of a number. They must be open until the
    /// program is loaded.
    pub(super) values: [(u64, BorrowedFd<'a>); 2],
    /// The operands that take the place of others.
    pub(super) operands: [(i32, u32); 6],
}

/// A copy of the object in which every number is replaced by what is given for it.
pub(super) fn with(given: Given<'_>) -> Vec<u8> {
    let mut object = OBJECT.to_vec();
    for at in (0..object.len().saturating_sub(2 * INSTRUCTION)).step_by(INSTRUCTION) {
        let instruction = &mut object[at..at + 2 * INSTRUCTION];
        if let Some(number) = loaded_number(instruction) {
            if let Some((_, map)) = given.values.iter().find(|(old, _)| *old == number) {
                instruction[1] |= MAP_VALUE;
                instruction[4..8].copy_from_slice(&map.as_raw_fd().to_le_bytes());
                // An offset in the value.
                instruction[12..].fill(0);
            }
        } else if let Some(operand) = operand(instruction)
            && let Some((_, new)) = given.operands.iter().find(|(old, _)| *old == operand)
        {
            instruction[4..8].copy_from_slice(&new.to_le_bytes());
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

/// The operand of an instruction, if it is one whose operand can be given.
fn operand(instruction: &[u8]) -> Option<i32> {
    let [code, registers, 0, 0, a, b, c, d, ..] = *instruction else {
        return None;
    };
    let has_operand = WITH_OPERAND.contains(&code) && registers >> 4 == 0;
    has_operand.then(|| i32::from_le_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs::File, os::fd::AsFd as _};

    use mpls_xdp_ebpf::abi::given;

    use super::*;

    const VALUES: [u64; 2] = [given::POLICY, given::COUNTERS];
    const OPERANDS: [i32; 6] = [
        given::PLACE_MASK,
        given::SECOND_IMAGE,
        given::COUNTER_SLOTS,
        given::COUNTER_MASK,
        given::INTERFACE,
        given::TRACING,
    ];

    fn numbers(object: &[u8]) -> (BTreeSet<u64>, BTreeSet<i32>) {
        let instructions = || object.windows(2 * INSTRUCTION).step_by(INSTRUCTION);
        let loaded = instructions().filter_map(loaded_number).collect();
        (loaded, instructions().filter_map(operand).collect())
    }

    #[test]
    fn every_number_is_replaced_and_nothing_else() {
        let (loaded, operands) = numbers(OBJECT);
        assert!(VALUES.iter().all(|number| loaded.contains(number)), "{loaded:x?}");
        assert!(OPERANDS.iter().all(|number| operands.contains(number)), "{operands:x?}");
        let file = File::open("/dev/null").unwrap();
        let given = Given {
            values: VALUES.map(|number| (number, file.as_fd())),
            operands: OPERANDS.map(|number| (number, !number.cast_unsigned())),
        };
        // Addresses of maps are no numbers any more.
        let expected: (BTreeSet<u64>, BTreeSet<i32>) = (
            loaded.into_iter().filter(|number| !VALUES.contains(number)).collect(),
            operands
                .into_iter()
                .map(|number| if OPERANDS.contains(&number) { !number } else { number })
                .collect(),
        );
        assert_eq!(numbers(&with(given)), expected);
    }
}
