//! A lab for one test: a router's namespace, and where `mpls-xdp` keeps its things for it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mpls_xdp_tests::frame::Frame;
use mpls_xdp_tests::lab::{Link, Namespace, Port, Store, Veth, probe};
use mpls_xdp_tests::leak::{self, Objects};
use mpls_xdp_tests::product;
use serde_json::Value;

/// How long to wait for what takes milliseconds.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A router, the neighbour on its wires, and a store.
pub struct Lab {
    pub router: Namespace,
    pub neighbour: Namespace,
    pub store: Store,
}

/// A port of the router and the two ends to try it with.
pub struct Wire {
    pub port: Link,
    /// The neighbour's end.
    pub far: Link,
    sender: Port,
    receiver: Port,
}

impl Wire {
    /// Says of a frame for each of these labels whether it passes.
    pub fn passes(&self, labels: &[u32]) -> Vec<bool> {
        let frames: Vec<_> = labels.iter().map(|label| Frame::mpls([*label]).build()).collect();
        self.pass(&frames)
    }

    /// Says of each frame whether it passes.
    pub fn pass(&self, frames: &[Vec<u8>]) -> Vec<bool> {
        probe(&self.sender, &self.receiver, frames).unwrap()
    }
}

impl Lab {
    pub fn new() -> Self {
        let [router, neighbour] = ["router", "neighbour"].map(|name| Namespace::new(name).unwrap());
        Self { router, neighbour, store: Store::new().unwrap() }
    }

    /// A lab with one port on which a core policy for labels 100 to 199 is in force.
    pub fn filtering(port: &str) -> (Self, Wire) {
        let lab = Self::new();
        let wire = lab.wire(port);
        lab.apply(&core(&[port], r#""100-199""#)).ends(0);
        (lab, wire)
    }

    /// Makes a port of the router with the neighbour behind it.
    pub fn wire(&self, name: &str) -> Wire {
        let (port, far) =
            Veth::between((&self.router, name), (&self.neighbour, name)).create().unwrap();
        Wire { sender: far.port().unwrap(), receiver: port.port().unwrap(), port, far }
    }

    /// Writes a policy file.
    pub fn policy(&self, text: &str) -> PathBuf {
        self.file("policy.toml", text)
    }

    /// Writes a file that goes with the lab.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.store.directory().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The command with the lab's folders.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        self.command_with(&self.store, arguments)
    }

    /// The command with the folders of another store.
    pub fn command_with<S: AsRef<OsStr>>(
        &self,
        store: &Store,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = self.router.command(product::binary().unwrap());
        command.args(store.arguments()).args(arguments).stdin(Stdio::null());
        command
    }

    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        Output::of(&mut self.command(arguments))
    }

    pub fn apply(&self, policy: &str) -> Output {
        self.apply_with(policy, &[])
    }

    pub fn apply_with(&self, policy: &str, options: &[&str]) -> Output {
        let path = self.policy(policy);
        let command = [OsStr::new("apply"), path.as_os_str()];
        self.run(command.into_iter().chain(options.iter().map(OsStr::new)))
    }

    /// What `status` says, and that it found nothing wrong.
    pub fn healthy(&self) -> Status {
        let output = self.run(["status", "--json"]).ends(0);
        let status = Status(output.json());
        assert_eq!(status.problems(), [""; 0], "{output}");
        status
    }

    /// What `status` says, and that it found something wrong.
    pub fn unhealthy(&self) -> Status {
        let human = self.run(["status"]).ends(1);
        assert!(human.stdout.contains("PROBLEM"), "{human}");
        let output = self.run(["status", "--json"]).ends(1);
        let status = Status(output.json());
        assert!(!status.problems().is_empty(), "{output}");
        status
    }

    /// What `stats` says of one ingress: the number of frames under a JSON pointer.
    pub fn packets(&self, ingress: &str, pointer: &str) -> u64 {
        let stats = self.run(["stats", "--json", ingress]).ends(0).json();
        let row = stats.pointer(&format!("/ingresses/0{pointer}/packets"));
        row.and_then(Value::as_u64).unwrap_or_else(|| panic!("no {pointer} in {stats}"))
    }

    /// The folder of this router's pins.
    pub fn pins(&self) -> PathBuf {
        self.store.bpffs().join(format!("mpls-xdp/netns-{}", self.router.id().cookie))
    }

    /// The names of this router's pins.
    pub fn pin_names(&self) -> Vec<String> {
        let mut names: Vec<String> = leak::entries_of_bpffs(&self.pins())
            .unwrap()
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Takes the filter off and makes sure that nothing of it is left.
    pub fn take_down(&self) {
        let made = self.objects();
        self.run(["detach", "--all"]).ends(0);
        let left = leak::entries_of_bpffs(self.store.bpffs()).unwrap();
        assert!(left.is_empty(), "{left:?}");
        // The listing fails now and then while others make links; that says nothing of ours.
        wait_for("everything is gone", || made.remaining().is_ok_and(|left| left.is_empty()));
    }

    /// What this router's filter consists of in the kernel.
    pub fn objects(&self) -> Objects {
        let mut objects = None;
        wait_for("the kernel's objects are listed", || {
            objects = Objects::pinned_under(self.store.bpffs()).ok();
            objects.is_some()
        });
        objects.unwrap()
    }
}

/// The object that `status --json` prints.
#[derive(Debug, Clone, PartialEq)]
pub struct Status(pub Value);

impl Status {
    pub fn generation(&self) -> u64 {
        self.0["generation"].as_u64().unwrap()
    }

    pub fn policy_map(&self) -> u64 {
        self.0["policy_map_id"].as_u64().unwrap()
    }

    pub fn problems(&self) -> Vec<&str> {
        self.0["problems"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
    }

    /// Whether one problem has all of these words.
    pub fn complains(&self, words: &[&str]) -> bool {
        self.problems().iter().any(|problem| words.iter().all(|word| problem.contains(word)))
    }

    /// How each interface is filtered.
    pub fn attached(&self) -> BTreeMap<&str, &str> {
        self.by_interface("attached", |value| value.as_str().unwrap())
    }

    /// The program on each interface.
    pub fn programs(&self) -> BTreeMap<&str, Option<u64>> {
        self.by_interface("program_id", Value::as_u64)
    }

    /// The interfaces that nothing covers.
    pub fn uncovered(&self) -> BTreeMap<&str, &str> {
        let entries = self.0["uncovered"].as_array().unwrap().iter();
        entries
            .map(|entry| (entry["interface"].as_str().unwrap(), entry["why"].as_str().unwrap()))
            .collect()
    }

    fn by_interface<'a, T>(
        &'a self,
        field: &str,
        value: impl Fn(&'a Value) -> T,
    ) -> BTreeMap<&'a str, T> {
        let entries = self.0["interfaces"].as_array().unwrap().iter();
        entries.map(|entry| (entry["interface"].as_str().unwrap(), value(&entry[field]))).collect()
    }
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Output {
    line: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self::new(format!("{command:?}"), output)
    }

    pub fn new(line: String, output: process::Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            line,
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Checks that standard error has all of these words.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "no `{word}` on standard error of {self}");
        }
        self
    }

    /// Checks that standard output has all of these words.
    #[track_caller]
    pub fn prints(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stdout.contains(word), "no `{word}` on standard output of {self}");
        }
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self}"))
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, code, stdout, stderr } = self;
        write!(f, "{line}\nexit code {code:?}\nstdout:\n{stdout}\nstderr:\n{stderr}")
    }
}

/// A policy with one core context; each of these interfaces is a core ingress `at-INTERFACE`.
pub fn core(interfaces: &[&str], labels: &str) -> String {
    let mut text =
        format!("version = 1\n[contexts.core]\nkind = \"transport\"\nlabels = [{labels}]\n");
    for interface in interfaces {
        text += &format!(
            "[ingress.at-{interface}]\ninterface = \"{interface}\"\nrole = \"core\"\n\
             contexts = [\"core\"]\n"
        );
    }
    text
}

/// Runs `ip` in a namespace.
pub fn ip(namespace: &Namespace, arguments: &str) {
    Output::of(namespace.command("ip").args(arguments.split(' '))).ends(0);
}

/// Waits for a condition.
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "after {PATIENCE:?} still not: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a folder of a bpffs is not there or has no pin.
pub fn is_bare(folder: &Path) -> bool {
    leak::entries_of_bpffs(folder).unwrap().is_empty()
}
