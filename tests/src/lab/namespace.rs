//! Network namespaces without a name in the file system.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::Arc;
use std::thread;
use std::{fmt, fs};

use anyhow::{Context, Result};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use super::{netlink, require_root, socket};

/// The network namespace of the thread that asks.
const OWN: &str = "/proc/thread-self/ns/net";
/// What interfaces that are made later start with; absent where the kernel has no IPv6.
const IPV6_OFF: &str = "/proc/sys/net/ipv6/conf/default/disable_ipv6";

/// A network namespace of the lab, with its loopback up and IPv6 off for every interface to come.
///
/// It has no name in the file system, only the file descriptor that all clones share, so it cannot
/// collide with another. The kernel removes it with all its interfaces once the clones, the
/// [`Port`](super::Port)s and the child processes in it are gone.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: Arc<str>,
    net: Arc<OwnedFd>,
    id: NamespaceId,
}

/// What tells a network namespace from every other, also from later ones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NamespaceId {
    /// The number in `net:[…]`; used again once the namespace is gone.
    pub inode: u64,
    /// The kernel's cookie for it; never used again.
    pub cookie: u64,
}

impl Namespace {
    /// Makes a namespace; the name serves messages only.
    ///
    /// # Errors
    ///
    /// When not root, or when the kernel refuses.
    pub fn new(name: &str) -> Result<Self> {
        require_root()?;
        let made = thread::scope(|scope| join(scope.spawn(unshare)))
            .with_context(|| format!("making the network namespace {name}"))?;
        let id = NamespaceId::of(made.as_fd())?;
        let namespace = Self { name: name.into(), net: Arc::new(made), id };
        netlink::set_loopback_up(&namespace)?;
        Ok(namespace)
    }

    /// The namespace that this thread is in, the machine's own as a rule.
    ///
    /// # Errors
    ///
    /// When not root.
    pub fn own() -> Result<Self> {
        require_root()?;
        let net: OwnedFd = File::open(OWN).with_context(|| format!("opening {OWN}"))?.into();
        let id = NamespaceId::of(net.as_fd())?;
        Ok(Self { name: "the machine".into(), net: Arc::new(net), id })
    }

    /// The name for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What tells this namespace from every other.
    #[must_use]
    pub fn id(&self) -> NamespaceId {
        self.id
    }

    /// A path by which others reach the namespace while this process holds it: `nsenter --net=PATH`.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        descriptor_path(self.net.as_fd())
    }

    /// Runs a closure on a thread inside the namespace and waits for it.
    ///
    /// Sockets made there stay in the namespace wherever they are used later. The thread sees the
    /// namespace in `/proc/sys/net` and `/proc/thread-self/net`, but not in `/proc/net` nor
    /// `/sys/class/net`.
    ///
    /// # Errors
    ///
    /// Those of the closure, or when the namespace cannot be entered.
    ///
    /// # Panics
    ///
    /// When the closure does.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        run_in(self.net.as_fd(), work).with_context(|| format!("in the namespace {self}"))
    }

    /// A command whose process runs in the namespace.
    ///
    /// Only the network namespace differs from this process: bpffs and everything else stay where
    /// they are. `/sys/class/net` shows the interfaces of the machine, not those of the namespace.
    ///
    /// The kernel kills the process when the thread that started it ends, so that a killed test
    /// leaves no process behind that holds the namespace. Start it where it is waited for.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let net = Arc::clone(&self.net);
        let enter_and_follow = move || {
            enter(net.as_fd())?;
            set_parent_process_death_signal(Some(Signal::KILL))?;
            Ok(())
        };
        let mut command = Command::new(program);
        // SAFETY: between fork and exec the closure makes two system calls and builds an error from
        // a number; it neither allocates nor takes a lock.
        unsafe { command.pre_exec(enter_and_follow) };
        command
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.net.as_fd()
    }
}

impl NamespaceId {
    /// Identifies the network namespace that a descriptor stands for.
    ///
    /// # Errors
    ///
    /// When the descriptor is not a network namespace's, or when not root.
    pub fn of(net: BorrowedFd<'_>) -> Result<Self> {
        let inode = File::from(net.try_clone_to_owned()?).metadata()?.ino();
        let cookie = run_in(net, || socket::own_cookie().context("reading a namespace's cookie"))?;
        Ok(Self { inode, cookie })
    }
}

/// The path of a descriptor of this process, for any process of the machine.
pub(super) fn descriptor_path(descriptor: BorrowedFd<'_>) -> PathBuf {
    Path::new("/proc").join(format!("{}/fd/{}", process::id(), descriptor.as_raw_fd()))
}

/// Moves this thread, which is to end, into a new namespace and hands its descriptor out.
fn unshare() -> Result<OwnedFd> {
    // SAFETY: the table of file descriptors stays shared with the other threads.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    match fs::write(IPV6_OFF, "1") {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).context("turning IPv6 off");
        }
        _ => {}
    }
    Ok(File::open(OWN).with_context(|| format!("opening {OWN}"))?.into())
}

fn run_in<T: Send>(net: BorrowedFd<'_>, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        join(scope.spawn(|| {
            enter(net).context("entering a network namespace")?;
            work()
        }))
    })
}

/// Moves this thread into the namespace.
fn enter(net: BorrowedFd<'_>) -> rustix::io::Result<()> {
    move_into_link_name_space(net, Some(LinkNameSpaceType::Network))
}

/// Waits for a thread and passes its panic on.
fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
}
