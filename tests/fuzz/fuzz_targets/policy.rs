#![no_main]

use libfuzzer_sys::fuzz_target;
use mpls_xdp_tests::fuzzing;

fuzz_target!(|text: &str| {
    if let Err(disagreement) = fuzzing::policy(text) {
        panic!("{disagreement}");
    }
});
