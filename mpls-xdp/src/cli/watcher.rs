//! The process that goes back when no confirmation comes in time.
//!
//! It is a process of ours on every router, not a transient unit of systemd: it needs no systemd,
//! and it is in the network and mount namespaces of the command that starts it, in which the
//! interfaces, the pins and the state are. It leaves the session and the control group of its
//! caller, so that neither a closed terminal nor systemd (`KillUserProcesses`, or the end of the
//! unit that ran `apply`) ends it.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path,
    process::{Command, ExitCode, Stdio},
};

use anyhow::Result;
use mpls_xdp::filter::{
    Folders,
    rollout::{self, Notice},
};

use super::syslog::{self, Severity};

/// What the hidden command is called.
pub(super) const COMMAND: &str = "return-unless-confirmed";
/// What it says when it watches.
const READY: &str = "ready";
/// Where a process can leave the control group that it was born in: in the unified hierarchy, also
/// where it stands beside older ones, and in systemd's own of those.
const ROOT_GROUPS: [&str; 3] = [
    "/sys/fs/cgroup/cgroup.procs",
    "/sys/fs/cgroup/unified/cgroup.procs",
    "/sys/fs/cgroup/systemd/cgroup.procs",
];

/// Starts the process, and returns when it watches.
pub(super) fn start(folders: &Folders) -> io::Result<()> {
    // This file itself, also when an upgrade has put another in its place.
    let mut command = Command::new("/proc/self/exe");
    command.arg0(env!("CARGO_PKG_NAME")).arg(COMMAND).current_dir("/");
    command.arg("--bpffs").arg(path::absolute(&folders.bpffs)?);
    command.arg("--state-dir").arg(path::absolute(&folders.state)?);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    if let Some(pipe) = child.stdout.take() {
        BufReader::new(pipe).read_line(&mut line)?;
    }
    if line.trim_end() == READY {
        return Ok(());
    }
    Err(io::Error::other(format!("it ended with {}", child.wait()?)))
}

/// Watches until nothing is awaited any more.
pub(super) fn run(folders: &Folders) -> Result<ExitCode> {
    close_what_was_inherited();
    rustix::process::setsid()?;
    for group in ROOT_GROUPS {
        // One of them is there, if any; in a container perhaps none can be written to.
        let _ = fs::write(group, "0");
    }
    let ready = || {
        println!("{READY}");
        // Whoever reads the caller's output must not wait for this process.
        if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
            let _ = rustix::stdio::dup2_stdout(&null);
            let _ = rustix::stdio::dup2_stderr(&null);
        }
    };
    let tell = |notice: &Notice| {
        let severity = if notice.is_failure() { Severity::Error } else { Severity::Warning };
        syslog::write(severity, &notice.to_string());
    };
    rollout::watch(folders, ready, &tell)?;
    Ok(ExitCode::SUCCESS)
}

/// A descriptor that the caller had, of a lock for example, must not live as long as this process.
fn close_what_was_inherited() {
    // SAFETY: this is the first thing that the command does, so nothing in this process owns a
    // descriptor beyond the standard ones.
    unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
}
