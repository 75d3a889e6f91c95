//! A kernel's modules with what they need, in the order in which they can be loaded.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use object::{Object as _, ObjectSection as _};

/// A module, ready to be loaded.
pub struct Module {
    /// Its name, as `modprobe` takes it.
    pub name: String,
    /// The object file.
    pub object: Vec<u8>,
}

/// Reads these modules and those that they need, each after what it needs.
///
/// What is built into the kernel is left out.
pub fn with_needs(folder: &Path, names: &[&str]) -> Result<Vec<Module>> {
    let list = |file: &str| -> Result<BTreeMap<String, String>> {
        let text = fs::read_to_string(folder.join(file))
            .with_context(|| format!("cannot read {file} of {}", folder.display()))?;
        Ok(text.lines().map(|path| (name(path), path.to_owned())).collect())
    };
    let mut load = Load {
        folder,
        loadable: list("modules.order")?,
        builtin: list("modules.builtin")?,
        ordered: Vec::new(),
    };
    for name in names {
        load.add(name)?;
    }
    Ok(load.ordered)
}

struct Load<'a> {
    folder: &'a Path,
    /// Paths by name.
    loadable: BTreeMap<String, String>,
    builtin: BTreeMap<String, String>,
    ordered: Vec<Module>,
}

impl Load<'_> {
    fn add(&mut self, wanted: &str) -> Result<()> {
        let known = self.ordered.iter().any(|module| module.name == wanted);
        if known || self.builtin.contains_key(wanted) {
            return Ok(());
        }
        let Some(path) = self.loadable.get(wanted) else {
            bail!("the kernel of {} has no module {wanted}", self.folder.display())
        };
        let object = read(&self.folder.join(path))?;
        for need in needs(&object).with_context(|| format!("reading the module {path}"))? {
            self.add(&need)?;
        }
        self.ordered.push(Module { name: wanted.to_owned(), object });
        Ok(())
    }
}

/// The name of a module by its path. In names `-` and `_` are the same.
fn name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

/// The module's object file. It may be compressed, whatever the lists say.
fn read(path: &Path) -> Result<Vec<u8>> {
    let stem = path.with_extension("");
    let with = |ending: &str| PathBuf::from(format!("{}{ending}", stem.display()));
    let plain = with(".ko");
    if plain.is_file() {
        return Ok(fs::read(plain)?);
    }
    for (ending, program) in [(".ko.xz", "xz"), (".ko.zst", "zstd")] {
        let compressed = with(ending);
        if compressed.is_file() {
            let mut unpack = Command::new(program);
            unpack.args(["--decompress", "--stdout"]).arg(&compressed);
            let output =
                unpack.output().with_context(|| format!("cannot start {program}: install it"))?;
            ensure!(output.status.success(), "{unpack:?} ended with {}", output.status);
            return Ok(output.stdout);
        }
    }
    bail!("there is no module {}", plain.display())
}

/// The names of the modules that a module says it needs.
fn needs(object: &[u8]) -> Result<Vec<String>> {
    const FIELD: &[u8] = b"depends=";
    let file = object::File::parse(object)?;
    let information = file.section_by_name(".modinfo").context("it says nothing of itself")?;
    let information = information.data()?;
    let value = information.split(|&byte| byte == 0).find_map(|field| field.strip_prefix(FIELD));
    let value = std::str::from_utf8(value.context("it does not say what it needs")?)?;
    let names = value.split(',').filter(|name| !name.is_empty());
    Ok(names.map(|name| name.replace('-', "_")).collect())
}
