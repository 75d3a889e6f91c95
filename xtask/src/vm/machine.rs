//! A guest from its boot to its end.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, ChildStdout, Stdio},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::{guest::Guest, kernel::Kernel, qemu::Qemu, verdict::Verdict};

/// Mebibytes of memory.
const MEMORY: &str = "1024";
/// Nothing that a guest does takes so long without a line on the console; what it waits for itself,
/// it gives up earlier and says so.
const SILENCE: Duration = Duration::from_secs(300);
/// A guest that takes longer has gone astray; it takes some minutes where it has a CPU to itself.
const TOTAL: Duration = Duration::from_secs(45 * 60);
/// What the kernel tells on the console: nothing but trouble, or all that an operator would see.
const SILENT: &str = "quiet loglevel=4";
const VERBOSE: &str = "loglevel=7";
/// How lines start that tell how a check went.
const OUTCOMES: [&str; 2] = ["ok ", "FAILED "];
/// Lines of the console that are shown of a guest that failed.
const SHOWN: usize = 120;

/// A guest that is to be booted.
#[derive(Debug)]
pub struct Machine<'a> {
    /// The emulator.
    pub qemu: &'a Qemu,
    /// The kernel.
    pub kernel: &'a Kernel,
    /// What runs in it.
    pub guest: &'a Guest,
    /// What its program is called with.
    pub arguments: &'a [String],
    /// For the files of this run.
    pub folder: PathBuf,
    /// Whether the console is shown while it runs, and not only how each check went.
    pub live: bool,
}

/// How a guest went.
#[derive(Debug)]
pub struct Outcome {
    /// What it said of itself, unless it came to a bad end.
    pub verdict: Result<Verdict>,
    /// Its console.
    pub console: String,
    /// Where the console is kept.
    pub console_file: PathBuf,
    /// From the start of the emulator to its end.
    pub took: Duration,
}

impl Machine<'_> {
    /// Boots the guest and waits for its end.
    pub fn run(&self) -> Result<Outcome> {
        let initramfs = self.folder.join("initramfs.cpio");
        let console_file = self.folder.join("console.log");
        let verdict_file = self.folder.join("verdict.json");
        self.guest.initramfs(self.kernel, self.arguments)?.write(&initramfs)?;

        let mut command = self.qemu.command();
        command
            .args(["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"])
            .args(["-smp", "1", "-m", MEMORY, "-nodefaults", "-display", "none", "-no-reboot"])
            .args(["-serial", "stdio", "-device", "virtio-serial-pci"])
            .args(["-device", "virtserialport,chardev=verdict", "-chardev"])
            .arg(format!("file,id=verdict,path={}", verdict_file.display()))
            .arg("-kernel")
            .arg(&self.kernel.image)
            .arg("-initrd")
            .arg(&initramfs)
            .arg("-append")
            .arg(format!("console=ttyS0 panic=-1 {}", if self.live { SILENT } else { VERBOSE }))
            .args(self.guest.devices())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        // SAFETY: between fork and exec the closure makes one system call.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let started = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let output = child.stdout.take().context("the console is not piped")?;
        let file = File::create(&console_file)?;
        let (console, ended) = self.follow(&mut child, output, file);
        let took = started.elapsed();
        let verdict = ended.and_then(|()| Verdict::read(&verdict_file));
        Ok(Outcome { verdict, console, console_file, took })
    }

    /// Waits for the guest's end; one that hangs is killed.
    fn follow(&self, child: &mut Child, output: ChildStdout, file: File) -> (String, Result<()>) {
        let (tell, told) = mpsc::channel();
        let screen = if self.live {
            Screen::Everything
        } else {
            Screen::Checks(self.kernel.release.clone())
        };
        let reader = thread::spawn(move || read(output, file, &screen, &tell));
        let deadline = Instant::now() + TOTAL;
        let ended = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match told.recv_timeout(left.min(SILENCE)) {
                Ok(()) if left.is_zero() => {
                    break Err(anyhow::anyhow!("still busy after {TOTAL:?}"));
                }
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => {
                    break Err(anyhow::anyhow!("hangs: silent for {:?}", left.min(SILENCE)));
                }
                Err(RecvTimeoutError::Disconnected) => break Ok(()),
            }
        };
        // One that ended by itself is not there any more to be killed.
        let _ = if ended.is_err() { child.kill() } else { Ok(()) };
        let status = child.wait();
        let console = reader.join().expect("reading the console does not panic");
        let ended = ended.and_then(|()| match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(anyhow::anyhow!("QEMU ended with {status}")),
            Err(error) => Err(error.into()),
        });
        (console, ended)
    }
}

impl Outcome {
    /// The end of the console.
    pub fn last_lines(&self) -> String {
        let lines: Vec<_> = self.console.lines().collect();
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }
}

/// What is shown of a console while the guest runs.
enum Screen {
    Everything,
    /// How each check went, with the name of the kernel.
    Checks(String),
}

impl Screen {
    /// Shows what has come since the last call, up to the last whole line where lines count.
    fn show(&self, console: &[u8], shown: &mut usize) {
        let new = &console[*shown..];
        let mut out = io::stdout().lock();
        // Whether a guest did well does not depend on what can be shown of it.
        match self {
            Self::Everything => {
                let _ = out.write_all(new).and_then(|()| out.flush());
                *shown = console.len();
            }
            Self::Checks(release) => {
                let Some(end) = new.iter().rposition(|&byte| byte == b'\n') else { return };
                let lines = String::from_utf8_lossy(&new[..end]);
                let is_outcome = |line: &&str| OUTCOMES.iter().any(|word| line.starts_with(word));
                for line in lines.lines().filter(is_outcome) {
                    let _ = writeln!(out, "{release}: {line}");
                }
                *shown += end + 1;
            }
        }
    }
}

/// Reads the console to its end, keeps it, shows of it what is wanted, and tells of every piece.
fn read(mut output: ChildStdout, mut file: File, screen: &Screen, tell: &Sender<()>) -> String {
    let mut text = Vec::new();
    let mut shown = 0;
    let mut piece = [0; 4096];
    loop {
        let length = match output.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        // A serial line ends lines with CR LF.
        let piece: Vec<u8> =
            piece[..length].iter().copied().filter(|&byte| byte != b'\r').collect();
        // The verdict does not depend on what can be kept of the console.
        let _ = file.write_all(&piece);
        text.extend(piece);
        screen.show(&text, &mut shown);
        let _ = tell.send(());
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_of_checks_waits_for_whole_lines() {
        let screen = Screen::Checks("6.1.0".to_owned());
        let (console, mut shown) = (b"start   one\nok      one (1.0 s)\nFAI".to_vec(), 0);
        screen.show(&console[..20], &mut shown);
        assert_eq!(shown, 12);
        screen.show(&console, &mut shown);
        assert_eq!(shown, console.len() - 3);
    }
}
