//! The Tab key in real shells, each in a terminal of its own (tmux).

use std::env;
use std::fs;
use std::process::{self, Command};
use std::thread;
use std::time::{Duration, Instant};

use mpls_xdp_tests::product;

use super::support::{Lab, Output, core};

/// How long a shell may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const SHELLS: [Shell; 3] = [
    Shell {
        start: "bash --noprofile --norc",
        // Readline's bell would be one more thing on the screen.
        setup: "bind 'set bell-style none'; PS1='ready> '; source <(COMPLETE=bash mpls-xdp)",
    },
    Shell {
        start: "zsh -f",
        setup: "autoload -Uz compinit && compinit -D -u; PS1='ready> '; \
                source <(COMPLETE=zsh mpls-xdp)",
    },
    Shell {
        start: "fish --no-config",
        setup: "function fish_prompt; echo 'ready> '; end; set -g fish_autosuggestion_enabled 0; \
                COMPLETE=fish mpls-xdp | source",
    },
];

struct Shell {
    start: &'static str,
    setup: &'static str,
}

/// A shell in a terminal.
struct Terminal<'a> {
    lab: &'a Lab,
    shell: &'a Shell,
    /// Name of the tmux server.
    server: String,
}

impl<'a> Terminal<'a> {
    /// Starts it in a mount namespace of its own, after a script has run there.
    fn start(lab: &'a Lab, shell: &'a Shell, script: &str) -> Self {
        let word = shell.start.split(' ').next().unwrap();
        let cookie = lab.router.id().cookie;
        let server = format!("mpls-xdp-{}-{cookie}-{word}", process::id());
        let terminal = Self { lab, shell, server };
        let folder = lab.store.directory();
        let binary = product::binary().unwrap();
        let path = env::join_paths(
            [binary.parent().unwrap().to_owned()]
                .into_iter()
                .chain(env::split_paths(&env::var_os("PATH").unwrap())),
        );
        let mut tmux = terminal.tmux();
        tmux.args(["new-session", "-d", "-x", "200", "-y", "20", "-c"]).arg(folder);
        tmux.args(["unshare", "--mount", "--propagation", "private", "sh", "-c"]);
        tmux.arg(format!("set -e; {script}; exec {}", shell.start));
        tmux.env("PATH", path.unwrap());
        // Shells leave files where these say.
        tmux.env("HOME", folder).env("XDG_RUNTIME_DIR", folder);
        Output::of(&mut tmux).ends(0);
        terminal.type_in(&format!("{}\n", shell.setup));
        terminal.type_in("clear\n");
        terminal.wait_for("ready>", |screen| screen.trim() == "ready>");
        terminal
    }

    fn tmux(&self) -> Command {
        let mut tmux = self.lab.router.command("tmux");
        tmux.args(["-L", &self.server, "-f", "/dev/null"]);
        tmux
    }

    /// Types; `\n` is Enter and `\t` is Tab.
    fn type_in(&self, text: &str) {
        Output::of(self.tmux().args(["send-keys", "-l", "--"]).arg(text)).ends(0);
    }

    fn screen(&self) -> String {
        Output::of(self.tmux().args(["capture-pane", "-p"])).ends(0).stdout
    }

    fn wait_for(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if holds(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "{}: no {what} in\n{screen}", self.shell.start);
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What Tab makes of a line, which is then thrown away.
    fn completes(&self, line: &str, expected: &str) {
        self.type_in(line);
        self.type_in("\t");
        self.wait_for(expected, |screen| screen.contains(expected));
        self.throw_away();
    }

    /// What Tab shows below a line when there is more than one way to go on. The terminal is of no
    /// use afterwards: one shell has a menu open, another has not.
    fn lists(&self, line: &str, expected: &str) {
        self.type_in(line);
        self.type_in("\t\t");
        self.wait_for(expected, |screen| {
            let mut below = screen.trim_start().lines().skip(1).flat_map(str::split_whitespace);
            below.any(|word| word == expected)
        });
    }

    fn throw_away(&self) {
        Output::of(self.tmux().args(["send-keys", "C-u"])).ends(0);
        self.type_in("clear\n");
        self.wait_for("an empty screen", |screen| screen.trim() == "ready>");
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        // Fails only when the shell has ended by itself.
        self.tmux().arg("kill-server").output().ok();
    }
}

fn in_each_shell(lab: &Lab, test: impl Fn(&Terminal)) {
    after(":", lab, test);
}

/// The same after a script has made of the machine what the test needs.
fn after(script: &str, lab: &Lab, test: impl Fn(&Terminal)) {
    for shell in &SHELLS {
        test(&Terminal::start(lab, shell, script));
    }
}

#[test]
fn verbs_options_and_files() {
    let lab = Lab::new();
    lab.policy(&core(&["eth1"], "100"));
    in_each_shell(&lab, |terminal| {
        terminal.completes("mpls-xdp repl", "mpls-xdp replay");
        terminal.completes("mpls-xdp apply --dry", "mpls-xdp apply --dry-run");
        terminal.completes("mpls-xdp check pol", "mpls-xdp check policy.toml");
        terminal.completes("mpls-xdp status --color alw", "--color always");
    });
}

/// A kernel that accepts MPLS on one interface and on `lo`.
const MPLS: &str = "mount -t tmpfs none /proc/sys/net; cd /proc/sys/net; \
                    mkdir -p mpls/conf/lo mpls/conf/wire9 mpls/conf/wild; \
                    echo 1 > mpls/conf/lo/input; echo 1 > mpls/conf/wire9/input; \
                    echo 0 > mpls/conf/wild/input; cd - > /dev/null";

#[test]
fn names_of_ingresses_interfaces_reasons_and_entries() {
    // The policy on the line names others than the one in force.
    let (lab, _wire) = Lab::filtering("uplink7");
    lab.apply(&core(&["uplink7"], "100")).ends(0);
    fs::remove_file(lab.store.directory().join("policy.toml")).unwrap();
    lab.file("other.toml", core(&["up5"], "100"));
    let folders: Vec<&str> =
        lab.store.arguments().iter().map(|word| word.to_str().unwrap()).collect();
    let folders = folders.join(" ");
    after(MPLS, &lab, |terminal| {
        for (line, expected) in [
            ("capture --ingress at", "at-uplink7"),
            ("capture --reason label_out_of_v", "label_out_of_vrf"),
            ("detach --interface up", "uplink7"),
            ("explain other.toml --interface u", "up5"),
            ("help reason label_out_of_v", "label_out_of_vrf"),
            ("init --core w", "wire9"),
            ("replay other.toml --interface u", "up5"),
            ("stats at", "at-uplink7"),
        ] {
            let (words, _) = line.rsplit_once(' ').unwrap();
            terminal
                .completes(&format!("mpls-xdp {folders} {line}"), &format!("{words} {expected}"));
        }
        terminal.lists(&format!("mpls-xdp {folders} rollback "), "1");
    });
}

#[test]
fn trouble_is_quiet() {
    let lab = Lab::new();
    lab.policy("this is no policy");
    in_each_shell(&lab, |terminal| {
        for line in
            ["mpls-xdp replay policy.toml --interface zz", "mpls-xdp --bpffs /nowhere stats zz"]
        {
            terminal.type_in(line);
            terminal.type_in("\t");
            // What comes after it on the line shows that the Tab has been dealt with.
            terminal.type_in("END");
            let screen = terminal.wait_for("END", |screen| screen.contains("END"));
            let shown = screen.trim().trim_start_matches("ready>").trim();
            assert_eq!(
                shown.replace(' ', ""),
                format!("{line}END").replace(' ', ""),
                "{}",
                terminal.shell.start
            );
            terminal.throw_away();
        }
    });
}
