#![no_main]

use libfuzzer_sys::fuzz_target;
use mpls_xdp_tests::fuzzing;

fuzz_target!(|input: &[u8]| {
    let case = fuzzing::case(input);
    if let Err(disagreement) = fuzzing::verdict(&case) {
        panic!("{disagreement}\n{case}");
    }
});
