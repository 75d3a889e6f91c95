//! A mount namespace in which the machine looks as a test needs it.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mpls_xdp_tests::lab::Namespace;
use mpls_xdp_tests::product;
use tempfile::TempDir;

use super::support::Output;

/// A bpffs, a state folder and the program, in a place that everybody may enter; only commands of
/// this machine see what is mounted.
pub struct Mounts {
    folder: TempDir,
    router: Namespace,
    /// Keeps the mount namespace.
    holder: Child,
}

impl Mounts {
    /// Runs a shell script in a new mount namespace that makes it as it should be.
    pub fn new(router: &Namespace, script: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("mpls-xdp-cli-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["bpffs", "state"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::copy(product::binary().unwrap(), at("mpls-xdp")).unwrap();
        let script = format!(
            "set -e; mount -t bpf -o mode=700 bpf {}; {script}\necho ready; read end",
            at("bpffs").display()
        );
        let mut holder = router
            .command("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the mounts could not be made");
        Self { folder, router: router.clone(), holder }
    }

    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `mpls-xdp` there, with the words of `with` before it.
    pub fn run<S: AsRef<OsStr>>(
        &self,
        with: &[&str],
        arguments: impl IntoIterator<Item = S>,
    ) -> Output {
        Output::of(&mut self.command(with, arguments))
    }

    fn command<S: AsRef<OsStr>>(
        &self,
        with: &[&str],
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = self.router.command("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id())).args(with);
        let at = |name: &str| self.folder.path().join(name);
        command.arg(at("mpls-xdp")).arg("--bpffs").arg(at("bpffs"));
        command.arg("--state-dir").arg(at("state")).args(arguments);
        command
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}
