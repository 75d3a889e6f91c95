//! The project's own commands: `cargo xtask --help`.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

mod cargo;
mod ebpf;
mod record;
mod toolchain;

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "The project's own commands")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the kernel object and its record; installs the linker and the library source
    Ebpf {
        /// Build, and prove that the committed object is the same to the byte
        #[arg(long)]
        check: bool,
        /// Build an object that logs every refusal, for `cargo build --features log`; not committed
        #[arg(long, conflicts_with = "check")]
        log: bool,
        /// Archive of the Rust library's source, used when no package source has it
        #[arg(long, value_name = "FILE")]
        library_source: Option<PathBuf>,
    },
    /// Send legitimate and forged frames through a router made of network namespaces (root)
    Demo,
    /// Run all tests: unit, kernel, command line and lab (root)
    Test {
        /// Passed on to the test runner
        #[arg(trailing_var_arg = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Ebpf { log: true, library_source, .. } => ebpf::log_object(library_source.as_deref()),
        Task::Ebpf { check: true, library_source, .. } => ebpf::check(library_source.as_deref()),
        Task::Ebpf { library_source, .. } => ebpf::update(library_source.as_deref()),
        Task::Demo => cargo::demo(),
        Task::Test { arguments } => cargo::test(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
