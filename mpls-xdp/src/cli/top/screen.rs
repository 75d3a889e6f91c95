//! The terminal: ours while a [`Screen`] lives, as it was before afterwards.

use std::io::{self, IsTerminal as _, stdin, stdout};

use anyhow::{Context as _, Result, ensure};
use ratatui::{DefaultTerminal, Frame};

/// A terminal without line editing and echo, on its second screen. Ended in any way, by a panic
/// too, it is left as it was found.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    _left: Left,
}

/// Puts the terminal back when it goes.
struct Left;

impl Drop for Left {
    fn drop(&mut self) {
        // A terminal that is gone has nothing to put back, and nobody who would read of it.
        let _ = ratatui::try_restore();
    }
}

impl Screen {
    pub(super) fn enter() -> Result<Self> {
        ensure!(
            stdin().is_terminal() && stdout().is_terminal(),
            "top needs a terminal; `mpls-xdp stats --watch` writes to files and pipes"
        );
        // Before the first change: what was changed half-way is put back as well.
        let left = Left;
        let terminal = ratatui::try_init().context("cannot use this terminal")?;
        Ok(Self { terminal, _left: left })
    }

    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{env, process::Command};

    use super::*;

    const HELPER: &str = "cli::top::screen::tests::a_screen_that_panics";

    #[test]
    #[ignore = "run in a terminal of its own by the test below"]
    fn a_screen_that_panics() {
        let mut screen = Screen::enter().unwrap();
        screen.draw(|frame| frame.render_widget("drawn", frame.area())).unwrap();
        panic!("on purpose");
    }

    #[test]
    fn a_panic_leaves_the_terminal_as_it_was() {
        let test = env::current_exe().unwrap();
        let line = format!(
            "stty rows 24 cols 80; stty -g; {} --ignored --exact {HELPER} --nocapture; stty -g",
            test.display()
        );
        // `script` runs it in a terminal and prints every byte that it writes there.
        let output = Command::new("script")
            .args(["--quiet", "--command", &line, "/dev/null"])
            .env("TERM", "xterm")
            .output()
            .expect("script is there: apt-get install bsdutils");
        let text = String::from_utf8(output.stdout).unwrap();
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what:?}: {text:?}"));
        let (enter, leave) = ("\x1b[?1049h", "\x1b[?1049l");
        assert!(at(enter) < at("drawn") && at("drawn") < at(leave), "{text:?}");
        assert!(at(leave) < at("on purpose"), "the message went with the screen: {text:?}");
        assert!(text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l"), "no cursor: {text:?}");
        let settings: Vec<&str> =
            text.lines().map(str::trim_end).filter(|line| line.split(':').count() > 30).collect();
        let [before, after] = settings[..] else { panic!("{text:?}") };
        assert_eq!(before, after);
    }
}
