//! The benchmark, and the sizes that are kept.

use anyhow::Result;

use crate::cargo::{build, cargo, run};

const PACKAGE: [&str; 2] = ["--package", "mpls-xdp-tests"];

/// Builds the command line and the benchmark with optimisation and runs the benchmark.
pub fn bench(arguments: &[String]) -> Result<()> {
    build(&["--release", "--package", "mpls-xdp"])?;
    // Files that the arguments name are those of whoever calls.
    run(cargo()
        .current_dir(".")
        .args(["run", "--quiet", "--locked", "--release"])
        .args(PACKAGE)
        .args(["--bin", "bench", "--"])
        .args(arguments))
}

/// Writes the file of sizes, or compares it with what is.
pub fn sizes(check: bool) -> Result<()> {
    build(&["--package", "mpls-xdp"])?;
    let steps: &[&str] = if check { &[] } else { &["--ignored", "--exact", "write_the_sizes"] };
    run(cargo()
        .args(["test", "--quiet", "--locked"])
        .args(PACKAGE)
        .args(["--test", "sizes", "--"])
        .args(steps))
}
