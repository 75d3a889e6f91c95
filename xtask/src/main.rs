//! The project's own commands: `cargo xtask --help`.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

mod bench;
mod cargo;
mod ebpf;
mod fuzz;
mod package;
mod record;
mod tool;
mod toolchain;
mod vm;

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
    /// Fuzz the parsing and the decision, guided by coverage
    Fuzz(fuzz::Fuzz),
    /// Measure the filter beside bare programs and other filters (root); `--help` has its options
    #[command(disable_help_flag = true)]
    Bench {
        /// Passed on to the benchmark
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Write down how large programs and maps are (root)
    Sizes {
        /// Compare with what is written down
        #[arg(long)]
        check: bool,
    },
    /// Build the Debian package
    Package {
        /// Have it judged as well: installed on a machine in namespaces, used and removed (root)
        #[arg(long)]
        check: bool,
    },
    /// Run the filter on Debian's stock kernels, in QEMU by software emulation
    Vm {
        #[command(subcommand)]
        task: vm::Task,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Ebpf { log: true, library_source, .. } => ebpf::log_object(library_source.as_deref()),
        Task::Ebpf { check: true, library_source, .. } => ebpf::check(library_source.as_deref()),
        Task::Ebpf { library_source, .. } => ebpf::update(library_source.as_deref()),
        Task::Demo => cargo::demo(),
        Task::Test { arguments } => cargo::test(&arguments),
        Task::Fuzz(arguments) => fuzz::fuzz(&arguments),
        Task::Bench { arguments } => bench::bench(&arguments),
        Task::Sizes { check } => bench::sizes(check),
        Task::Package { check: false } => package::build().map(|_| ()),
        Task::Package { check: true } => package::check(),
        Task::Vm { task } => vm::run(task),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
