use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::RouterError;

/// Where the kernel says on which interfaces it accepts MPLS.
#[derive(Debug, Clone)]
pub struct MplsConf {
    root: PathBuf,
}

impl Default for MplsConf {
    /// The running kernel's, in the network namespace of the calling thread.
    fn default() -> Self {
        Self::at("/proc/sys/net/mpls/conf")
    }
}

impl MplsConf {
    /// A directory laid out like `/proc/sys/net/mpls/conf`.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The interfaces on which the kernel accepts MPLS, sorted by name.
    ///
    /// None where the directory is absent: the kernel does not forward MPLS then.
    ///
    /// # Errors
    ///
    /// Where one of the files cannot be read.
    pub fn inputs(&self) -> Result<Vec<String>, RouterError> {
        let failed = |path: &Path, source| RouterError::MplsInput { path: path.to_owned(), source };
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|source| failed(&self.root, source))?,
        };
        let mut interfaces = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| failed(&self.root, source))?;
            let path = entry.path().join("input");
            match fs::read_to_string(&path) {
                // The kernel takes any number for yes that is not 0.
                Ok(value) if value.trim() == "0" => (),
                Ok(_) => interfaces.push(entry.file_name().to_string_lossy().into_owned()),
                // The interface went away meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => (),
                Err(source) => return Err(failed(&path, source)),
            }
        }
        interfaces.sort_unstable();
        Ok(interfaces)
    }
}

/// The interfaces on which the running kernel accepts MPLS.
///
/// # Errors
///
/// As [`MplsConf::inputs`].
pub fn mpls_inputs() -> Result<Vec<String>, RouterError> {
    MplsConf::default().inputs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_that_accept_mpls_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let conf = MplsConf::at(directory.path());
        for (name, input) in
            [("eth2.100", "1\n"), ("eth1", "1\n"), ("eth3", "0\n"), ("eth4", "2\n")]
        {
            fs::create_dir(directory.path().join(name)).unwrap();
            fs::write(directory.path().join(name).join("input"), input).unwrap();
        }
        fs::create_dir(directory.path().join("going")).unwrap();
        assert_eq!(conf.inputs().unwrap(), ["eth1", "eth2.100", "eth4"]);
    }

    #[test]
    fn without_mpls_in_the_kernel_no_interface_accepts_it() {
        let directory = tempfile::tempdir().unwrap();
        assert!(MplsConf::at(directory.path().join("conf")).inputs().unwrap().is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("eth1/input")).unwrap();
        let error = MplsConf::at(directory.path()).inputs().unwrap_err();
        assert!(error.to_string().contains("eth1/input"), "{error}");
    }
}
