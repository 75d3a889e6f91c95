//! Checks that the committed kernel object belongs to the source that it is built with.

use std::{env, error::Error, fs, path::Path};

#[path = "../xtask/src/record.rs"]
mod record;

fn main() -> Result<(), Box<dyn Error>> {
    let manifest = env::var("CARGO_MANIFEST_DIR")?;
    let root = Path::new(&manifest).parent().ok_or("the crate is not in its workspace")?;
    let logs = env::var_os("CARGO_FEATURE_LOG").is_some();
    let folder = root.join(if logs { record::LOG_FOLDER } else { record::FOLDER });
    if logs && !folder.exists() {
        return Err("an object that logs must be built first: run `cargo xtask ebpf --log`".into());
    }
    println!("cargo::rerun-if-changed={}", folder.display());
    println!("cargo::rerun-if-changed={}", root.join(record::SOURCE).display());

    let object = fs::read(folder.join(record::OBJECT))?;
    let record: record::Record = toml::from_str(&fs::read_to_string(folder.join(record::RECORD))?)?;
    if record.object != record::digest(&object) {
        return Err("the kernel object is not the one of its record: run `cargo xtask ebpf`".into());
    }
    if record.source != record::source_digest(root)? {
        return Err(
            "the kernel program's source changed since its object was built: run `cargo xtask ebpf`"
                .into(),
        );
    }
    println!("cargo::rustc-env=KERNEL_OBJECT={}", folder.join(record::OBJECT).display());
    println!("cargo::rustc-env=KERNEL_OBJECT_DIGEST={}", record.object);
    Ok(())
}
