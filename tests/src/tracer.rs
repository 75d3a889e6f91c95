//! Runs a command under `ptrace`, sees each of its system calls, and kills it at one of them.
//!
//! The command must be one whose process may be traced by the thread that calls; threads and
//! processes that it makes are traced too, and their calls count in the order in which they come.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::leak::Object;

/// Where in a call the process is killed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Moment {
    /// Before the kernel does what is asked.
    Entry,
    /// After it has, and before the process knows.
    Exit,
}

/// A system call of a traced command.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Call {
    /// Its number on this machine.
    pub number: u64,
    /// Its first argument: for `bpf`, the command.
    pub argument: u64,
}

/// Calls that change nothing that anybody else could see, and their names.
const INWARD: &[(libc::c_long, &str)] = &[
    (libc::SYS_arch_prctl, "arch_prctl"),
    (libc::SYS_brk, "brk"),
    (libc::SYS_epoll_create1, "epoll_create1"),
    (libc::SYS_epoll_ctl, "epoll_ctl"),
    (libc::SYS_epoll_wait, "epoll_wait"),
    (libc::SYS_eventfd2, "eventfd2"),
    (libc::SYS_getdents64, "getdents64"),
    (libc::SYS_getrandom, "getrandom"),
    (libc::SYS_getsockname, "getsockname"),
    (libc::SYS_getsockopt, "getsockopt"),
    (libc::SYS_gettid, "gettid"),
    (libc::SYS_getuid, "getuid"),
    (libc::SYS_inotify_add_watch, "inotify_add_watch"),
    (libc::SYS_inotify_init1, "inotify_init1"),
    (libc::SYS_mmap, "mmap"),
    (libc::SYS_mprotect, "mprotect"),
    (libc::SYS_mremap, "mremap"),
    (libc::SYS_munmap, "munmap"),
    (libc::SYS_newfstatat, "newfstatat"),
    (libc::SYS_poll, "poll"),
    (libc::SYS_pread64, "pread64"),
    (libc::SYS_prlimit64, "prlimit64"),
    (libc::SYS_read, "read"),
    (libc::SYS_rseq, "rseq"),
    (libc::SYS_rt_sigaction, "rt_sigaction"),
    (libc::SYS_rt_sigprocmask, "rt_sigprocmask"),
    (libc::SYS_sched_getaffinity, "sched_getaffinity"),
    (libc::SYS_set_robust_list, "set_robust_list"),
    (libc::SYS_set_tid_address, "set_tid_address"),
    (libc::SYS_sigaltstack, "sigaltstack"),
    (libc::SYS_statfs, "statfs"),
    (libc::SYS_statx, "statx"),
    (libc::SYS_timerfd_create, "timerfd_create"),
    (libc::SYS_timerfd_settime, "timerfd_settime"),
    (libc::SYS_uname, "uname"),
];

/// Names of the other calls that commands make.
const OUTWARD: &[(libc::c_long, &str)] = &[
    (libc::SYS_bind, "bind"),
    (libc::SYS_bpf, "bpf"),
    (libc::SYS_chdir, "chdir"),
    (libc::SYS_clone3, "clone3"),
    (libc::SYS_close, "close"),
    (libc::SYS_close_range, "close_range"),
    (libc::SYS_dup3, "dup3"),
    (libc::SYS_execve, "execve"),
    (libc::SYS_exit_group, "exit_group"),
    (libc::SYS_fcntl, "fcntl"),
    (libc::SYS_flock, "flock"),
    (libc::SYS_futex, "futex"),
    (libc::SYS_ioctl, "ioctl"),
    (libc::SYS_mkdir, "mkdir"),
    (libc::SYS_openat, "openat"),
    (libc::SYS_pipe2, "pipe2"),
    (libc::SYS_recvfrom, "recvfrom"),
    (libc::SYS_recvmsg, "recvmsg"),
    (libc::SYS_rename, "rename"),
    (libc::SYS_rmdir, "rmdir"),
    (libc::SYS_sendto, "sendto"),
    (libc::SYS_setsid, "setsid"),
    (libc::SYS_socket, "socket"),
    (libc::SYS_unlink, "unlink"),
    (libc::SYS_wait4, "wait4"),
    (libc::SYS_write, "write"),
];

impl Call {
    /// Whether the call can change something outside of the process.
    #[must_use]
    pub fn is_outward(self) -> bool {
        !INWARD.iter().any(|(number, _)| self.is(*number))
    }

    /// Whether it is a `bpf` that makes a map, a program or a link. What a command only opens to
    /// look at it can be anybody's, and stay.
    fn makes_an_object(self) -> bool {
        const MAP_CREATE: u64 = 0;
        const PROG_LOAD: u64 = 5;
        const LINK_CREATE: u64 = 28;
        self.is(libc::SYS_bpf) && [MAP_CREATE, PROG_LOAD, LINK_CREATE].contains(&self.argument)
    }

    fn is(self, number: libc::c_long) -> bool {
        u64::try_from(number) == Ok(self.number)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match INWARD.iter().chain(OUTWARD).find(|(number, _)| self.is(*number)) {
            Some((number, name)) if *number == libc::SYS_bpf => {
                write!(f, "{name}({}, …)", self.argument)
            }
            Some((_, name)) => f.write_str(name),
            None => write!(f, "system call {}", self.number),
        }
    }
}

/// How a traced command ended.
pub struct Trace {
    /// Its calls, the one at which it was killed included.
    pub calls: Vec<Call>,
    /// What its end looks like to a parent.
    pub status: ExitStatus,
    /// What it wrote to standard output and standard error.
    pub output: String,
    /// The programs, maps and links that it made.
    pub made: BTreeSet<Object>,
}

impl Trace {
    /// Whether it was killed, and did not end by itself.
    #[must_use]
    pub fn was_killed(&self) -> bool {
        self.status.signal() == Some(libc::SIGKILL)
    }
}

/// Runs a command to its end, or until it has come to the call at this place, counted from 0.
///
/// # Errors
///
/// When the command cannot be started or traced.
pub fn trace(mut command: Command, kill_at: Option<(usize, Moment)>) -> Result<Trace> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: between fork and exec the closure makes one system call; it neither allocates nor
    // takes a lock.
    unsafe { command.pre_exec(|| ptrace::traceme().map_err(io::Error::from)) };
    let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
    Tracer::new(child, kill_at)?.run().with_context(|| format!("tracing {command:?}"))
}

struct Tracer {
    child: Child,
    process: Pid,
    kill_at: Option<(usize, Moment)>,
    calls: Vec<Call>,
    /// The call that each thread is in: its place among the calls.
    inside: Vec<(Pid, usize)>,
    made: BTreeSet<Object>,
    /// Threads and processes that the command made, the dead ones among them.
    others: BTreeSet<Pid>,
}

impl Tracer {
    fn new(child: Child, kill_at: Option<(usize, Moment)>) -> Result<Self> {
        let process = Pid::from_raw(i32::try_from(child.id())?);
        // It stops once it has become the command.
        let stopped = waitpid(process, None)?;
        ensure!(matches!(stopped, WaitStatus::Stopped(_, Signal::SIGTRAP)), "{stopped:?}");
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_EXITKILL
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACEEXEC;
        ptrace::setoptions(process, options)?;
        Ok(Self {
            child,
            process,
            kill_at,
            calls: Vec::new(),
            inside: Vec::new(),
            made: BTreeSet::new(),
            others: BTreeSet::new(),
        })
    }

    fn run(mut self) -> Result<Trace> {
        ptrace::syscall(self.process, None)?;
        let status = loop {
            // Only what this thread started: other threads of this process have children too.
            let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
            let stop = waitpid(Pid::from_raw(-1), Some(flags))?;
            self.others.extend(stop.pid().filter(|pid| *pid != self.process));
            match stop {
                WaitStatus::Exited(thread, code) if thread == self.process => {
                    break ExitStatus::from_raw(code << 8);
                }
                WaitStatus::Signaled(thread, signal, _) if thread == self.process => {
                    break ExitStatus::from_raw(signal as i32);
                }
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {}
                WaitStatus::PtraceSyscall(thread) => {
                    if self.is_the_moment(thread)? {
                        kill(self.process, Signal::SIGKILL)?;
                    } else {
                        go_on(thread, None)?;
                    }
                }
                WaitStatus::PtraceEvent(thread, ..)
                | WaitStatus::Stopped(thread, Signal::SIGSTOP | Signal::SIGTRAP) => {
                    go_on(thread, None)?;
                }
                WaitStatus::Stopped(thread, signal) => go_on(thread, Some(signal))?,
                other => bail!("{other:?}"),
            }
        };
        self.end_the_others()?;
        let mut output = Vec::new();
        if let Some(mut pipe) = self.child.stdout.take() {
            pipe.read_to_end(&mut output)?;
        }
        if let Some(mut pipe) = self.child.stderr.take() {
            pipe.read_to_end(&mut output)?;
        }
        let output = String::from_utf8_lossy(&output).into_owned();
        Ok(Trace { calls: self.calls, status, output, made: self.made })
    }

    /// Kills what the command left running: stopped as it is, it could not end by itself.
    fn end_the_others(&self) -> Result<()> {
        for other in &self.others {
            if kill(*other, Signal::SIGKILL) == Err(Errno::ESRCH) {
                continue;
            }
            loop {
                match waitpid(*other, Some(WaitPidFlag::__WALL)) {
                    Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(Errno::ECHILD) => {
                        break;
                    }
                    // A last stop on its way, which SIGKILL ends.
                    Ok(_) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Takes note of where a thread stopped, and says whether the process is to die there.
    fn is_the_moment(&mut self, thread: Pid) -> Result<bool> {
        // A thread may die while others run.
        let Ok(info) = ptrace::syscall_info(thread) else {
            return Ok(false);
        };
        let (place, moment) = match info.op {
            libc::PTRACE_SYSCALL_INFO_ENTRY => {
                // SAFETY: the kernel says that it has filled this part of the union.
                let entry = unsafe { info.u.entry };
                self.calls.push(Call { number: entry.nr, argument: entry.args[0] });
                let place = self.calls.len() - 1;
                self.inside.retain(|(other, _)| *other != thread);
                self.inside.push((thread, place));
                (place, Moment::Entry)
            }
            libc::PTRACE_SYSCALL_INFO_EXIT => {
                let at = self.inside.iter().position(|(other, _)| *other == thread);
                let Some(at) = at else {
                    return Ok(false);
                };
                let (_, place) = self.inside.swap_remove(at);
                // SAFETY: the kernel says that it has filled this part of the union.
                let result = unsafe { info.u.exit.sval };
                if self.calls[place].makes_an_object() && result > 0 {
                    let process = u32::try_from(self.process.as_raw())?;
                    let object = Object::behind(process, i32::try_from(result)?);
                    self.made.extend(object.unwrap_or_default());
                }
                (place, Moment::Exit)
            }
            _ => return Ok(false),
        };
        Ok(self.kill_at == Some((place, moment)))
    }
}

/// Lets a thread run to its next stop; one that died meanwhile has no more.
fn go_on(thread: Pid, signal: Option<Signal>) -> Result<()> {
    match ptrace::syscall(thread, signal) {
        Err(Errno::ESRCH) => Ok(()),
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn place_of(trace: &Trace, number: libc::c_long) -> usize {
        trace.calls.iter().position(|call| call.is(number)).unwrap()
    }

    #[test]
    fn a_command_that_is_not_killed_ends_by_itself() {
        let trace = trace(shell("echo told; echo >&2 complained; exit 3"), None).unwrap();
        assert_eq!(trace.status.code(), Some(3));
        assert_eq!(trace.output, "told\ncomplained\n");
        assert!(trace.calls.iter().any(|call| call.is(libc::SYS_write)));
        assert!(trace.calls.last().unwrap().is(libc::SYS_exit_group));
    }

    #[test]
    fn a_call_has_happened_after_its_exit_and_not_before_its_entry() {
        let folder = tempfile::tempdir().unwrap();
        let made = folder.path().join("made");
        let mkdir = || {
            let mut command = Command::new("mkdir");
            command.arg(&made);
            command
        };
        let whole = trace(mkdir(), None).unwrap();
        let place = place_of(&whole, libc::SYS_mkdir);
        assert!(whole.calls[place].is_outward());
        fs::remove_dir(&made).unwrap();
        for (moment, is_there) in [(Moment::Entry, false), (Moment::Exit, true)] {
            let killed = trace(mkdir(), Some((place, moment))).unwrap();
            assert_eq!(killed.status.signal(), Some(libc::SIGKILL));
            assert_eq!(killed.calls.len(), place + 1);
            assert_eq!(made.exists(), is_there, "{moment:?}");
        }
    }

    #[test]
    fn children_and_their_calls_are_traced_and_die_too() {
        let whole = trace(shell("(echo child); echo parent"), None).unwrap();
        assert_eq!(whole.output, "child\nparent\n");
        let writes = whole.calls.iter().filter(|call| call.is(libc::SYS_write)).count();
        assert_eq!(writes, 2);
    }

    #[test]
    fn what_is_left_running_dies_with_the_trace() {
        let trace = trace(shell("sleep 600 >/dev/null 2>&1 & echo $!"), None).unwrap();
        assert!(trace.status.success());
        let left = format!("/proc/{}/stat", trace.output.trim());
        // Whoever inherits it may not have waited for it yet.
        let state = fs::read_to_string(left).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z "), "{state}");
    }

    #[test]
    fn a_kill_beyond_the_last_call_kills_nothing() {
        let trace = trace(shell("exit 0"), Some((1_000_000, Moment::Entry))).unwrap();
        assert!(trace.status.success());
    }

    #[test]
    fn calls_are_called_by_their_names() {
        let name = |number: libc::c_long| {
            Call { number: u64::try_from(number).unwrap(), argument: 28 }.to_string()
        };
        assert_eq!(name(libc::SYS_bpf), "bpf(28, …)");
        assert_eq!(name(libc::SYS_read), "read");
        assert_eq!(name(99_999), "system call 99999");
    }
}
