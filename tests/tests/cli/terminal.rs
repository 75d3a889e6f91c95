//! A real terminal (tmux) in a lab's router, with a shell in it.

use std::cell::Cell;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use mpls_xdp_tests::product;

use super::support::{Lab, Output, wait_for};

/// What the shell says when it takes a command.
const PROMPT: &str = "ready>";

/// A terminal whose screen can be read. It goes with all that runs in it.
pub struct Terminal<'a> {
    lab: &'a Lab,
    /// How often `top` was started in it.
    runs: Cell<u32>,
    server: Child,
    socket: PathBuf,
}

impl<'a> Terminal<'a> {
    /// A terminal of 80 columns and 24 lines.
    pub fn new(lab: &'a Lab) -> Self {
        let socket = lab.store.directory().join("tmux");
        // The server stays a child, so that it cannot outlive a test that is killed.
        let server = lab
            .router
            .command("tmux")
            .args(["-u", "-D", "-f", "/dev/null", "-S"])
            .arg(&socket)
            .env("LC_ALL", "C.UTF-8")
            // What an interactive shell reads first.
            .env("ENV", lab.file("shell", format!("PS1='{PROMPT} '\n")))
            .stdin(Stdio::null())
            .spawn()
            .expect("tmux is there: apt-get install tmux");
        let terminal = Self { lab, runs: Cell::new(0), server, socket };
        wait_for("tmux listens", || terminal.socket.exists());
        terminal.tmux(&["new-session", "-d", "-x", "80", "-y", "24", "/bin/sh"]);
        terminal.shows(&[PROMPT]);
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.args(["-u", "-S"]).arg(&self.socket).args(arguments);
        Output::of(command.env("LC_ALL", "C.UTF-8")).ends(0).stdout
    }

    /// What is on the screen, a line each.
    pub fn screen(&self) -> Vec<String> {
        let text = self.tmux(&["capture-pane", "-p"]);
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until the screen has all of these words and returns it.
    #[track_caller]
    pub fn shows(&self, words: &[&str]) -> Vec<String> {
        self.becomes(&format!("{words:?}"), |screen| {
            words.iter().all(|word| screen.iter().any(|line| line.contains(word)))
        })
    }

    /// Waits until the screen is so and returns it.
    #[track_caller]
    pub fn becomes(&self, what: &str, is: impl Fn(&[String]) -> bool) -> Vec<String> {
        let mut screen = Vec::new();
        let mut holds = || {
            screen = self.screen();
            is(&screen)
        };
        let deadline = std::time::Instant::now() + super::support::PATIENCE;
        while !holds() {
            let late = std::time::Instant::now() > deadline;
            assert!(!late, "not on the screen: {what}\n{}", self.screen().join("\n"));
        }
        screen
    }

    /// Presses keys, each by its name in tmux.
    pub fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys", "--"], keys].concat());
    }

    /// Types a line at the prompt.
    pub fn line(&self, line: &str) {
        self.tmux(&["send-keys", "-l", "--", line]);
        self.press(&["Enter"]);
    }

    pub fn resize(&self, columns: u16, lines: u16) {
        let [columns, lines] = [columns, lines].map(|size| size.to_string());
        self.tmux(&["resize-window", "-x", &columns, "-y", &lines]);
    }

    /// Starts `mpls-xdp top`, between two looks at the terminal's settings.
    pub fn start_top(&self) {
        self.runs.set(self.runs.get() + 1);
        let binary = product::binary().unwrap();
        let folders = self.lab.store.arguments().map(|word| word.to_str().unwrap().to_owned());
        let script = format!(
            "cd {}\nstty -g > before\nsh -c 'echo $$ > pid; exec {} {} top'\ncode=$?\n\
             stty -g > after\necho \"run {} ended with $code\"\n",
            self.lab.store.directory().display(),
            binary.display(),
            folders.join(" "),
            self.runs.get()
        );
        let script = self.lab.file("start-top", script);
        self.line(&format!(". {}", script.display()));
    }

    /// The process of `mpls-xdp top`.
    pub fn top(&self) -> rustix::process::Pid {
        let text = std::fs::read_to_string(self.lab.store.directory().join("pid")).unwrap();
        rustix::process::Pid::from_raw(text.trim().parse().unwrap()).unwrap()
    }

    /// Waits until the command has ended with this code and checks that it left the terminal as it
    /// was: its settings, its first screen with what was on it, and a cursor.
    #[track_caller]
    pub fn is_clean_after(&self, code: i32) -> Vec<String> {
        let ended = format!("run {} ended with {code}", self.runs.get());
        let screen = self.becomes(&ended, |screen| {
            let rest = screen.iter().skip_while(|line| !line.contains(&ended));
            rest.skip(1).any(|line| line.starts_with(PROMPT))
        });
        // The line that started it is there, and nothing of what it has drawn.
        assert!(screen.iter().any(|line| line.contains("start-top")), "{screen:#?}");
        assert!(!screen.iter().any(|line| line.contains("every 1 s")), "{screen:#?}");
        let settings = ["before", "after"]
            .map(|name| std::fs::read_to_string(self.lab.store.directory().join(name)).unwrap());
        assert_eq!(settings[0], settings[1], "stty");
        let modes = "#{alternate_on} #{cursor_flag} #{mouse_any_flag} #{keypad_flag}";
        assert_eq!(self.tmux(&["display-message", "-p", modes]).trim(), "0 1 0 0");
        screen
    }

    /// Takes the terminal away from what runs in it.
    pub fn hang_up(&self) {
        self.tmux(&["kill-session"]);
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
