//! Packages of Debian's archive, fetched and unpacked into a folder of the project.
//!
//! The mirror is the one that the machine's own sources name. Other suites of it are reached by a
//! configuration of our own, so that nothing on the machine changes and nobody need be root.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::cargo::{output, run};

/// Where Debian installs its archive's keys, the newer name first.
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.pgp",
    "/usr/share/keyrings/debian-archive-keyring.gpg",
];
const COMPONENT: &str = "main";
/// How often something is fetched before it counts as not to be had.
const ATTEMPTS: usize = 3;

/// The archive, seen through lists of packages of our own.
pub struct Archive {
    folder: PathBuf,
}

/// Fetches something from these suites, whose lists of packages go into a folder.
///
/// Where that fails, it starts anew with new lists: a mirror that is just being changed lists what it
/// has no more.
pub fn fetch<T>(
    folder: &Path,
    suites: &[&str],
    something: impl Fn(&Archive) -> Result<T>,
) -> Result<T> {
    let attempt = || something(&Archive::open(folder, suites)?);
    let again = |error| eprintln!("{error:#}\ntrying again");
    (1..ATTEMPTS).find_map(|_| attempt().map_err(again).ok()).map_or_else(attempt, Ok)
}

impl Archive {
    /// Reads the lists of packages of these suites into a folder.
    fn open(folder: &Path, suites: &[&str]) -> Result<Self> {
        let archive = Self { folder: folder.to_owned() };
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let mirror = mirror()?;
        let keyring = KEYRINGS.into_iter().find(|path| Path::new(path).is_file());
        let signed_by = keyring.map(|path| format!("[signed-by={path}] ")).unwrap_or_default();
        let sources: String = suites
            .iter()
            .map(|suite| format!("deb {signed_by}{mirror} {suite} {COMPONENT}\n"))
            .collect();
        fs::write(archive.sources(), sources)?;
        fs::write(archive.configuration(), configuration(folder))?;
        eprintln!("reading the lists of packages of {}", suites.join(", "));
        // A suite that the mirror lacks is an error in the text only.
        let mut update = archive.apt("apt-get");
        run(update.args(["update", "--quiet=2"]))?;
        Ok(archive)
    }

    /// The packages whose names start so.
    pub fn names(&self, prefix: &str) -> Result<BTreeSet<String>> {
        let names = output(self.apt("apt-cache").args(["pkgnames", prefix]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Fetches these packages alone and unpacks them into a folder.
    pub fn unpack(&self, packages: &[String], into: &Path) -> Result<()> {
        let fetched = self.fetch_folder("packages")?;
        eprintln!("fetching {}", packages.join(", "));
        run(self
            .apt("apt-get")
            .current_dir(&fetched)
            .args(["download", "--quiet=2"])
            .args(packages))?;
        unpack_all(&fetched, into)
    }

    /// Fetches a package with all that it needs and the machine lacks, and unpacks it into a folder.
    pub fn unpack_with_needs(&self, package: &str, suite: &str, into: &Path) -> Result<()> {
        let fetched = self.fetch_folder("needs")?;
        fs::create_dir_all(fetched.join("partial"))?;
        eprintln!("fetching {package} and what it needs");
        run(self
            .apt("apt-get")
            .arg("--option")
            .arg(format!("Dir::Cache::archives={}", fetched.display()))
            .args(["install", "--download-only", "--assume-yes", "--quiet=2"])
            .args(["--no-install-recommends", "--target-release", suite, package]))?;
        unpack_all(&fetched, into)
    }

    /// An empty folder for what is fetched.
    fn fetch_folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    fn sources(&self) -> PathBuf {
        self.folder.join("sources.list")
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join("apt.conf")
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("--config-file").arg(self.configuration());
        command
    }
}

fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "\
Dir::Etc::sourcelist \"{folder}/sources.list\";
Dir::Etc::sourceparts \"-\";
Dir::State::lists \"{folder}/lists\";
Dir::Cache \"{folder}/cache\";
// Nothing is installed, so nothing need be locked, and what the machine does after an update is not
// for this one.
Debug::NoLocking \"true\";
APT::Sandbox::User \"root\";
Acquire::Languages \"none\";
Acquire::Retries \"3\";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::DEP-11-icons;
#clear Acquire::IndexTargets::deb::DEP-11-icons-small;
#clear Acquire::IndexTargets::deb::DEP-11-icons-large;
#clear Acquire::IndexTargets::deb::DEP-11-icons-hidpi;
#clear Acquire::IndexTargets::deb::DEP-11-icons-large-hidpi;
"
    )
}

/// The name of the Debian release that the machine runs.
pub fn release() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("cannot tell what system this is")?;
    let value = |name| text.lines().find_map(|line| line.strip_prefix(name));
    let release = value("VERSION_CODENAME=").context("the system has no release name")?;
    Ok(release.trim_matches('"').to_owned())
}

/// The mirror of Debian's archive in the machine's own sources.
fn mirror() -> Result<String> {
    let release = release()?;
    let targets = output(Command::new("apt-get").args([
        "indextargets",
        "--no-release-info",
        "--format",
        "$(CREATED_BY) $(COMPONENT) $(RELEASE) $(REPO_URI)",
    ]))
    .context("kernels and QEMU come from Debian's archive by apt")?;
    let wanted = format!("Packages {COMPONENT} {release} ");
    let mirror = targets.lines().find_map(|line| line.strip_prefix(&wanted));
    let mirror = mirror.with_context(|| {
        format!("the apt sources of this machine have no {COMPONENT} of {release}")
    })?;
    Ok(mirror.to_owned())
}

fn unpack_all(packages: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    let mut count = 0;
    for entry in fs::read_dir(packages)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg").arg("-x").arg(&path).arg(into))?;
            fs::remove_file(&path)?;
            count += 1;
        }
    }
    ensure!(count > 0, "apt fetched nothing into {}", packages.display());
    Ok(())
}
