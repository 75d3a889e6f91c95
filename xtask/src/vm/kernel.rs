//! Debian's stock kernels.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::archive::Archive;

/// The suites that kernels are looked for in. Each keeps those of its time.
pub const SUITES: [&str; 4] = ["bookworm", "trixie", "trixie-backports", "sid"];

/// A kernel by the name that `--kernel` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// What the operator calls it.
    pub name: &'static str,
    /// What its releases start with; the highest of them is taken.
    release: &'static str,
}

/// The kernels that the filter is tried on.
pub const SERIES: [Series; 4] = [
    Series { name: OLDEST, release: "6.1." },
    Series { name: "6.12", release: "6.12." },
    Series { name: "7.2", release: "7.2." },
    Series { name: NEWEST, release: "" },
];
/// The oldest kernel that the filter is for.
pub const OLDEST: &str = "6.1";
/// Whatever is the newest that the suites have.
pub const NEWEST: &str = "newest";

const PACKAGE: &str = "linux-image-";
const FLAVOUR: &str = "-amd64";
/// Newer releases have the parts in packages of their own.
const PARTS: [&str; 4] = ["linux-image-", "linux-base-", "linux-binary-", "linux-modules-"];
/// Written once everything is there.
const COMPLETE: &str = "release";

/// A kernel that is there to be booted.
#[derive(Debug)]
pub struct Kernel {
    /// The series that was asked for.
    pub name: &'static str,
    /// What it calls itself.
    pub release: String,
    /// The file to boot.
    pub image: PathBuf,
    /// `kernel/`, `modules.order` and `modules.builtin`.
    pub modules: PathBuf,
}

impl Series {
    /// The series of this name.
    pub fn find(name: &str) -> Option<Self> {
        SERIES.into_iter().find(|series| series.name == name)
    }

    /// What an earlier call has fetched into this folder.
    pub fn cached(self, folder: &Path) -> Option<Kernel> {
        let folder = folder.join(self.name);
        let release = fs::read_to_string(folder.join(COMPLETE)).ok()?;
        self.found_in(&folder, release).ok()
    }

    /// Fetches the highest release into this folder.
    pub fn fetch(self, archive: &Archive, folder: &Path) -> Result<Kernel> {
        let release = self.highest(archive)?;
        if let Some(kernel) = self.cached(folder).filter(|kernel| kernel.release == release) {
            return Ok(kernel);
        }
        let folder = folder.join(self.name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let mut packages = Vec::new();
        for part in PARTS {
            let package = format!("{part}{release}");
            if archive.names(&package)?.contains(&package) {
                packages.push(package);
            }
        }
        archive.unpack(&packages, &folder)?;
        let kernel = self.found_in(&folder, release)?;
        fs::write(folder.join(COMPLETE), &kernel.release)?;
        Ok(kernel)
    }

    fn highest(self, archive: &Archive) -> Result<String> {
        let names = archive.names(&format!("{PACKAGE}{}", self.release))?;
        let releases = names.iter().filter_map(|name| name.strip_prefix(PACKAGE));
        let plain = releases.filter(|release| is_plain(release));
        let highest = plain.max_by_key(|release| numbers(release));
        highest
            .map(str::to_owned)
            .with_context(|| format!("no kernel {} in the suites {}", self.name, SUITES.join(", ")))
    }

    fn found_in(self, folder: &Path, release: String) -> Result<Kernel> {
        let places = [folder.to_owned(), folder.join("usr")];
        let modules = places
            .into_iter()
            .map(|place| place.join("lib/modules").join(&release))
            .find(|place| place.join("kernel").is_dir())
            .with_context(|| format!("the packages of {release} have no modules"))?;
        let image = [folder.join(format!("boot/vmlinuz-{release}")), modules.join("vmlinuz")]
            .into_iter()
            .find(|image| image.is_file())
            .with_context(|| format!("the packages of {release} have no kernel"))?;
        ensure!(
            modules.join("modules.order").is_file() && modules.join("modules.builtin").is_file(),
            "the packages of {release} do not list its modules"
        );
        Ok(Kernel { name: self.name, release, image, modules })
    }
}

/// Whether a release is one with every driver: `6.1.0-50-amd64`, `7.2.12+deb13-amd64`.
///
/// Those for clouds lack drivers, and those for real time are other kernels.
fn is_plain(release: &str) -> bool {
    let version = release.strip_suffix(FLAVOUR);
    version.is_some_and(|version| {
        let version = version.replace("+deb", "");
        version.split('.').count() > 2
            && version
                .chars()
                .all(|character| character.is_ascii_digit() || ".-".contains(character))
    })
}

/// What releases are ordered by.
fn numbers(release: &str) -> Vec<u32> {
    release
        .split(|character: char| !character.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_with_every_driver_are_told_from_the_others() {
        for release in ["6.1.0-50-amd64", "6.12.117+deb13-amd64", "6.12.90+deb12.1-amd64"] {
            assert!(is_plain(release), "{release}");
        }
        for release in [
            "6.1.0-50-cloud-amd64",
            "6.1.0-50-rt-amd64",
            "6.1.0-50-amd64-dbg",
            "6.1.0-50-amd64-unsigned",
            "7.3-amd64",
            "amd64",
        ] {
            assert!(!is_plain(release), "{release}");
        }
    }

    #[test]
    fn releases_are_ordered_by_their_numbers() {
        let ordered = [
            "6.1.0-9-amd64",
            "6.1.0-50-amd64",
            "6.12.9+deb13-amd64",
            "6.12.90+deb13-amd64",
            "7.2.12+deb13-amd64",
            "7.2.12+deb14-amd64",
            "7.10.1+deb14-amd64",
        ];
        assert!(ordered.is_sorted_by_key(|release| numbers(release)));
    }
}
