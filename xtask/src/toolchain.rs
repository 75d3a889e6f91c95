//! What the kernel object is built with: a pinned nightly compiler, the library source that
//! matches it, and the linker.
//!
//! New LLVM versions break verifier acceptance now and then, so compiler and linker are pinned
//! together.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::cargo::{output, run};

/// What the pinned compiler says of itself.
pub const COMPILER: &str = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)";
/// The names under which rustup may hold it: by date, or as the current nightly.
const CHANNELS: [&str; 2] = ["nightly-2026-05-20", "nightly"];
/// The pinned linker; the last release line that can use the compiler's own LLVM.
pub const LINKER: &str = "bpf-linker 0.10.4";
const LINKER_VERSION: &str = "0.10.4";
const LINKER_FEATURE: &str = "rust-llvm-22";

/// Everything that a build of the kernel object needs.
pub struct Toolchain {
    /// The channel name of the compiler.
    pub channel: &'static str,
    /// Folder that holds `library/`.
    pub library: PathBuf,
    /// Folder of the linker.
    pub linker: PathBuf,
    /// The compiler's own folder.
    sysroot: PathBuf,
}

impl Toolchain {
    /// Finds or installs everything; what is installed goes below `folder`.
    pub fn install(folder: &Path, library_source: Option<&Path>) -> Result<Self> {
        let channel = compiler()?;
        let sysroot =
            output(Command::new("rustc").args([&format!("+{channel}"), "--print", "sysroot"]))?;
        let sysroot = PathBuf::from(sysroot.trim());
        let library = library(channel, &sysroot, folder, library_source)?;
        let linker = linker(channel, folder)?;
        Ok(Self { channel, library, linker, sysroot })
    }

    /// Writes an object without what is there for debuggers: programs are loaded by its BTF alone.
    pub fn strip(&self, object: &Path, stripped: &Path) -> Result<()> {
        let host = output(Command::new("rustc").args(["--print", "host-tuple"]))?;
        let tools = self.sysroot.join("lib/rustlib").join(host.trim()).join("bin");
        run(Command::new(tools.join("rust-objcopy"))
            // It is linked with the compiler's LLVM, and does not say where that is.
            .env("LD_LIBRARY_PATH", self.sysroot.join("lib"))
            .arg("--strip-debug")
            .args([object, stripped]))
    }
}

/// The channel name of the pinned compiler, installed where it is missing.
pub fn compiler() -> Result<&'static str> {
    if let Some(channel) = CHANNELS.into_iter().find(|channel| is_pinned(channel)) {
        return Ok(channel);
    }
    let [dated, _] = CHANNELS;
    eprintln!("installing the compiler {dated}");
    run(Command::new("rustup").args(["toolchain", "install", dated, "--profile", "minimal"]))?;
    ensure!(is_pinned(dated), "{dated} is not {COMPILER}");
    Ok(dated)
}

fn is_pinned(channel: &str) -> bool {
    output(Command::new("rustc").args([&format!("+{channel}"), "--version"]))
        .is_ok_and(|version| version.trim() == COMPILER)
}

/// The library source, from the first that has it: the toolchain, rustup, the given archive.
///
/// It is always a copy: built from the compiler's own folder the object differs from one that is
/// built from an archive of the same source.
fn library(
    channel: &str,
    sysroot: &Path,
    folder: &Path,
    archive: Option<&Path>,
) -> Result<PathBuf> {
    let copy = folder.join("library-source");
    if has_library(&copy) {
        return Ok(copy);
    }
    fs::create_dir_all(&copy).with_context(|| format!("cannot make {}", copy.display()))?;
    let installed = sysroot.join("lib/rustlib/src/rust");
    if !has_library(&installed) {
        // Where it fails, the archive is left.
        let _status = Command::new("rustup")
            .args(["component", "add", "rust-src", "--toolchain", channel])
            .status();
    }
    if has_library(&installed) {
        run(Command::new("cp").arg("-RL").arg(installed.join("library")).arg(&copy))?;
    } else if let Some(archive) = archive {
        run(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&copy))?;
    }
    ensure!(
        has_library(&copy),
        "the library source of {COMPILER} cannot be installed by rustup; name an archive of \
         `library/` of the same minor version with --library-source FILE"
    );
    Ok(copy)
}

fn has_library(folder: &Path) -> bool {
    folder.join("library/core/Cargo.toml").is_file()
}

fn linker(channel: &str, folder: &Path) -> Result<PathBuf> {
    let root = folder.join("linker");
    let bin = root.join("bin");
    let installed = output(Command::new(bin.join("bpf-linker")).arg("--version"))
        .is_ok_and(|version| version.trim() == LINKER);
    if !installed {
        eprintln!("installing {LINKER}");
        // The linker uses the compiler's own LLVM, so the same compiler must build it. Its build
        // must not inherit what this workspace's cargo was called with.
        let inherited = env::vars_os()
            .map(|(name, _)| name)
            .filter(|name| name.to_str().is_some_and(is_cargo_variable));
        let mut install = Command::new("cargo");
        for name in inherited {
            install.env_remove(name);
        }
        run(install
            .env("CARGO_TARGET_DIR", folder.join("linker-build"))
            .args([&format!("+{channel}"), "install", "bpf-linker", "--locked"])
            .args(["--version", LINKER_VERSION, "--force"])
            .args(["--no-default-features", "--features", LINKER_FEATURE, "--root"])
            .arg(&root))?;
    }
    Ok(bin)
}

/// Whether cargo set the variable for what it runs.
pub fn is_cargo_variable(name: &str) -> bool {
    name == "CARGO"
        || name.starts_with("CARGO_PKG")
        || name.starts_with("CARGO_MANIFEST")
        || name.starts_with("RUSTUP_TOOLCHAIN")
        || name.starts_with("RUST_RECURSION")
}
