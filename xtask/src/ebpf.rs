//! Builds the kernel object and its record, the same to the byte wherever it is built.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    cargo::{root, run},
    record::{self, Record},
    toolchain::{self, Toolchain},
};

const TARGET: &str = "bpfel-unknown-none";
const PACKAGE: &str = "mpls-xdp-ebpf";
const BINARY: &str = "mpls-xdp-kernel";

/// Compiler flags of the object; `--cfg bpf_target_arch` is fixed so that the host is not asked.
const FLAGS: [&str; 7] = [
    "-Clinker=bpf-linker",
    "-Clinker-plugin-lto",
    "-Cdebuginfo=2",
    "-Clink-arg=--btf",
    "--cfg",
    "bpf_target_arch=\"x86_64\"",
    "-Ctarget-cpu=v3",
];

/// The folder of the library source as the compiler sees it. Cargo mixes its name into those of
/// symbols; behind a file descriptor that the compiler inherits it has one name for everybody.
const LIBRARY: &str = "/proc/self/fd/9/library";

/// Builds the object and writes it and its record into the tree.
pub fn update(library_source: Option<&Path>) -> Result<()> {
    write(library_source, "kernel", record::FOLDER)
}

/// Builds an object that logs every refusal, for `cargo build --features log`.
pub fn log_object(library_source: Option<&Path>) -> Result<()> {
    write(library_source, "log", record::LOG_FOLDER)?;
    println!("`cargo run --features log -- replay …` logs every refusal now");
    Ok(())
}

fn write(library_source: Option<&Path>, feature: &str, folder: &str) -> Result<()> {
    let (object, record) = build(library_source, feature)?;
    let folder = root().join(folder);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(record::OBJECT), &object)?;
    fs::write(folder.join(record::RECORD), render(&record)?)?;
    println!("{}: {} bytes, SHA-256 {}", record::OBJECT, object.len(), record.object);
    Ok(())
}

/// Builds the object and compares it with the committed one.
pub fn check(library_source: Option<&Path>) -> Result<()> {
    let (object, record) = build(library_source, "kernel")?;
    let folder = root().join(record::FOLDER);
    let committed = fs::read(folder.join(record::OBJECT)).context("no committed object")?;
    let text = fs::read_to_string(folder.join(record::RECORD)).context("no committed record")?;
    let committed_record: Record = toml::from_str(&text).context("the record is not readable")?;
    ensure!(
        committed == object,
        "the committed object is not what the source builds: committed SHA-256 {}, built {}; \
         run `cargo xtask ebpf` and commit both files of {}",
        record::digest(&committed),
        record.object,
        record::FOLDER
    );
    ensure!(
        committed_record == record,
        "the committed record is not that of this build: run `cargo xtask ebpf`"
    );
    println!("{} belongs to the source: SHA-256 {}", record::OBJECT, record.object);
    Ok(())
}

fn build_folder() -> PathBuf {
    root().join("target/ebpf")
}

fn build(library_source: Option<&Path>, feature: &str) -> Result<(Vec<u8>, Record)> {
    let folder = build_folder();
    let toolchain = Toolchain::install(&folder, library_source)?;
    let built = compile(&toolchain, &folder.join(feature), feature)?;
    let path = built.with_extension("o");
    toolchain.strip(&built, &path)?;
    let object = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let record = Record {
        source: record::source_digest(&root())?,
        object: record::digest(&object),
        compiler: toolchain::COMPILER.to_owned(),
        linker: toolchain::LINKER.to_owned(),
        flags: FLAGS.map(str::to_owned).to_vec(),
    };
    Ok((object, record))
}

fn compile(toolchain: &Toolchain, target_dir: &Path, feature: &str) -> Result<PathBuf> {
    let root = root();
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let mut flags: Vec<String> = FLAGS.map(str::to_owned).to_vec();
    let mut hide = |folder: &Path, name: &str| {
        flags.push(format!("--remap-path-prefix={}={name}", folder.display()));
    };
    // Type information carries paths.
    if let Some(home) = home {
        for registry in registries(&home) {
            hide(&registry, "/registry");
        }
    }
    hide(&toolchain.library.join("library"), "/rust/library");
    hide(Path::new(LIBRARY), "/rust/library");
    hide(&root, "/mpls-xdp");

    let mut path = vec![toolchain.linker.clone()];
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let mut command = Command::new("sh");
    command.args(["-c", "exec cargo \"$@\" 9<\"$0\""]).arg(&toolchain.library);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(toolchain::is_cargo_variable) {
            command.env_remove(name);
        }
    }
    run(command
        .current_dir(&root)
        .env("PATH", env::join_paths(path)?)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env("CARGO_TARGET_DIR", target_dir)
        // Where `-Z build-std` looks for the library source.
        .env("__CARGO_TESTS_ONLY_SRC_ROOT", LIBRARY)
        .args([&format!("+{}", toolchain.channel), "build", "--quiet", "--release", "--locked"])
        .args([
            "-Z",
            "build-std=core",
            "--target",
            TARGET,
            "--package",
            PACKAGE,
            "--bin",
            BINARY,
            "--features",
            feature,
        ]))?;
    Ok(target_dir.join(TARGET).join("release").join(BINARY))
}

/// The folders that cargo unpacks registry packages into.
fn registries(home: &Path) -> Vec<PathBuf> {
    fs::read_dir(home.join("registry/src"))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}

fn render(record: &Record) -> Result<String> {
    Ok(format!(
        "# What the kernel object was built from; written by `cargo xtask ebpf`.\n{}",
        toml::to_string(record)?
    ))
}
