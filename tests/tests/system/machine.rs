//! A machine in namespaces: this one's files under a layer of its own, with systemd as its init.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mpls_xdp_tests::lab::require_root;
use tempfile::TempDir;

/// How long systemd may take for anything on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Makes the machine's layer and control group, and takes the group away when systemd has ended.
/// It is told the folder that has `files`, what the layer starts with.
const OUTSIDE: &str = r#"
set -e
mount --make-rprivate /
cd "$1"
mkdir -p cgroup layers
mount -t cgroup2 cgroup2 cgroup
mkdir "cgroup/$2"
mount -t tmpfs tmpfs layers
mkdir layers/upper layers/work layers/root
cp -a files/. layers/upper
mount -t overlay overlay -o "lowerdir=/,upperdir=layers/upper,workdir=layers/work" layers/root
echo 0 > "cgroup/$2/cgroup.procs"
unshare --pid --net --uts --ipc --cgroup --mount --fork --kill-child sh -c "$3" inside layers/root 2> errors || true
echo 0 > cgroup/cgroup.procs
find "cgroup/$2" -depth -type d -exec rmdir {} +
"#;

/// Mounts what a machine has, and becomes its systemd. What belongs to the real machine cannot be
/// changed: /proc/sys, and the files of /dev.
const INSIDE: &str = r#"
set -e
mount -t proc proc "$1/proc"
mount --bind "$1/proc/sys" "$1/proc/sys"
mount -o remount,bind,ro "$1/proc/sys"
mount -t sysfs sysfs "$1/sys"
mount -t bpf -o mode=700 bpf "$1/sys/fs/bpf"
mount -t cgroup2 cgroup2 "$1/sys/fs/cgroup"
mount -t tmpfs tmpfs "$1/run"
mount -t tmpfs tmpfs "$1/tmp"
# Where /dev is no devtmpfs, systemd looks here whether there is an udev to listen to.
mkdir "$1/run/udev"
: > "$1/run/udev/control"
mount -t tmpfs tmpfs "$1/dev"
mkdir "$1/dev/shm" "$1/dev/pts"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$1/dev/pts"
ln -s pts/ptmx "$1/dev/ptmx"
for node in full null random tty urandom zero; do
    : > "$1/dev/$node"
    mount --bind "/dev/$node" "$1/dev/$node"
done
ip link add eth1 type veth peer name far1
exec env -i container=nspawn PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$1" \
    /lib/systemd/systemd --system --unit=lab.target --show-status=false
"#;

/// What of systemd's own services would act on the real machine, or takes long.
const MASKED: [&str; 7] = [
    "kmod-static-nodes",
    "systemd-hwdb-update",
    "systemd-modules-load",
    "systemd-sysctl",
    "systemd-sysusers",
    "systemd-tmpfiles-setup-dev",
    "systemd-udev-trigger",
];

/// All that is started: not what this machine's own packages have enabled.
const TARGET: &str = "[Unit]\nDefaultDependencies=no\n\
                      Wants=systemd-journald.service systemd-udevd.service\n";

/// What the machine has in its files before it starts.
pub struct Files(TempDir);

impl Files {
    pub fn new() -> Self {
        require_root().unwrap();
        let files = Self(tempfile::Builder::new().prefix("mpls-xdp-system-").tempdir().unwrap());
        for service in MASKED {
            let link = files.path(&format!("etc/systemd/system/{service}.service"));
            symlink("/dev/null", link).unwrap();
        }
        files.write("etc/systemd/system/lab.target", TARGET);
        files
    }

    /// A path in the machine; the folders above it are made.
    pub fn path(&self, path: &str) -> PathBuf {
        let path = self.0.path().join("files").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub fn write(&self, path: &str, content: &str) {
        fs::write(self.path(path), content).unwrap();
    }

    pub fn copy(&self, from: &Path, to: &str) {
        fs::copy(from, self.path(to)).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    }

    /// Has a unit started at boot.
    pub fn enable(&self, unit: &str) {
        let link = self.path(&format!("etc/systemd/system/lab.target.wants/{unit}"));
        symlink(format!("/etc/systemd/system/{unit}"), link).unwrap();
    }

    /// Starts the machine and waits until its services have been started.
    pub fn boot(self) -> Machine {
        let folder = self.0.path().canonicalize().unwrap();
        let group = folder.file_name().unwrap().to_owned();
        let outside = Command::new("unshare")
            .args(["--mount", "bash", "-c", OUTSIDE, "outside"])
            .arg(&folder)
            .arg(group)
            .arg(INSIDE)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut machine = Machine { outside, init: 0, files: self };
        machine.wait_for("init", |machine| {
            let unshare = only_child(machine.outside.id());
            let init = unshare.and_then(only_child).filter(|init| is_systemd(*init));
            machine.init = init.unwrap_or(0);
            init.is_some()
        });
        machine.wait_for("lab.target", |machine| {
            machine.shell("systemctl is-active --quiet lab.target").status.success()
        });
        machine.settle();
        machine
    }
}

fn only_child(parent: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

fn is_systemd(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name == "systemd\n")
}

/// A running machine.
pub struct Machine {
    /// The shell that takes the control group away.
    outside: Child,
    /// Its systemd, by its id on this machine.
    init: u32,
    files: Files,
}

impl Machine {
    /// Runs a shell script there.
    pub fn shell(&self, script: &str) -> Output {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.to_string()]);
        command.args(["--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--root", "--wd"]);
        command.args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]);
        command.args(["bash", "-c", script]).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a script that must succeed, and returns what it printed.
    #[track_caller]
    pub fn run(&self, script: &str) -> String {
        let output = self.shell(script);
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(
            output.status.success(),
            "{script}\n{}\n{stdout}\n{stderr}\n{}",
            output.status,
            text(&self.shell("journalctl --no-pager --lines 40").stdout)
        );
        stdout
    }

    /// Waits until udev and systemd have nothing to do.
    pub fn settle(&mut self) {
        self.wait_until("udevadm settle && ! systemctl list-jobs --no-legend | grep --quiet .");
    }

    /// Waits until a script there succeeds.
    #[track_caller]
    pub fn wait_until(&mut self, script: &str) {
        self.wait_for(script, |machine| machine.shell(script).status.success());
    }

    #[track_caller]
    fn wait_for(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            if let Some(status) = self.outside.try_wait().unwrap() {
                let errors = fs::read_to_string(self.files.0.path().join("errors"));
                panic!("the machine ended with {status} before {what}: {errors:?}");
            }
            assert!(Instant::now() < deadline, "after {PATIENCE:?} still no {what}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The kernel ends everything of the machine with its init.
        if self.init != 0 {
            Command::new("kill").args(["-KILL", &self.init.to_string()]).status().ok();
        } else {
            self.outside.kill().ok();
        }
        let ended = self.outside.wait();
        if !thread::panicking() {
            assert!(ended.unwrap().success(), "the machine's control group is left");
        }
    }
}
