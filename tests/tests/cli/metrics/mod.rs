//! `metrics`: the text as Prometheus' own tools read it, the file, and the HTTP server.

mod awaited;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use mpls_xdp_tests::frame::Frame;
use rustix::process::{Pid, Signal, kill_process};

use super::support::{Lab, Output, core, wait_for};

/// How long an answer may take that takes milliseconds as a rule.
const PATIENCE: Duration = Duration::from_secs(30);
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";

/// A server of the lab's metrics.
struct Server<'a> {
    lab: &'a Lab,
    child: Child,
    /// What it says after its first line.
    said: BufReader<std::process::ChildStderr>,
    address: SocketAddr,
}

impl<'a> Server<'a> {
    fn start(lab: &'a Lab) -> Self {
        let mut child = lab
            .command(["metrics", "--listen", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let address = line
            .strip_prefix("listening on http://")
            .and_then(|rest| rest.trim_end().strip_suffix("/metrics")?.parse().ok());
        Self { lab, child, said, address: address.unwrap_or_else(|| panic!("{line}")) }
    }

    fn connect(&self) -> TcpStream {
        let address = self.address;
        let stream = self.lab.router.run(move || Ok(TcpStream::connect(address)?)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// What it answers to a request's head.
    fn answer(&self, head: &str) -> Answer {
        let mut stream = self.connect();
        // It may have closed the connection before it read all of a request that it refuses.
        let _ = stream.write_all(head.as_bytes());
        let mut bytes = Vec::new();
        match stream.read_to_end(&mut bytes) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("{error}"),
            _ => Answer::new(&String::from_utf8(bytes).unwrap()),
        }
    }

    fn get(&self, path: &str, accept: &str) -> Answer {
        self.answer(&format!("GET {path} HTTP/1.1\r\nHost: router\r\nAccept: {accept}\r\n\r\n"))
    }

    fn metrics(&self, accept: &str) -> String {
        let answer = self.get("/metrics", accept);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// Ends it and returns its exit code with what it said.
    fn end(mut self, signal: Signal) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let code = self.child.wait().unwrap().code();
        let mut said = String::new();
        self.said.read_to_string(&mut said).unwrap();
        (code, said)
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: String,
    body: String,
}

impl Answer {
    fn new(text: &str) -> Self {
        let (headers, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = headers.split(' ').nth(1).and_then(|word| word.parse().ok());
        Self {
            status: status.unwrap_or_else(|| panic!("{text}")),
            headers: headers.to_lowercase(),
            body: body.to_owned(),
        }
    }
}

/// The value of each sample by its name and labels.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series, value.parse().unwrap())
        })
        .collect()
}

/// A router with an ingress in each mode, where each was sent frames.
fn busy() -> Lab {
    let lab = Lab::new();
    let wires = ["eth1", "eth2", "eth3"].map(|name| lab.wire(name));
    lab.apply(
        "version = 1\n[contexts.red]\nkind = \"vrf\"\nlabels = [100]\n\
         [ingress.peer]\ninterface = \"eth1\"\nrole = \"peer\"\ncontexts = [\"red\"]\n\
         labels = [300]\nmax-depth = 1\n\
         [ingress.core]\ninterface = \"eth2\"\nrole = \"core\"\ncontexts = [\"red\"]\n\
         mode = \"monitor\"\n\
         [ingress.customer]\ninterface = \"eth3\"\nvlan = [7]\nrole = \"customer\"\n",
    )
    .ends(0);
    assert_eq!(wires[0].passes(&[100, 100, 300, 17]), [true, true, true, false]);
    assert_eq!(wires[1].passes(&[100, 17, 300]), [true; 3]);
    assert_eq!(wires[2].passes(&[100]), [false]);
    lab
}

fn promtool(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool is there: apt-get install prometheus");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Output::new(format!("{command:?}"), child.wait_with_output().unwrap())
}

#[test]
fn once_prints_what_promtool_finds_nothing_wrong_with() {
    let lab = busy();
    let text = lab.run(["metrics", "--once"]).ends(0).stdout;
    let verdict = promtool(&["check", "metrics"], &text).ends(0);
    assert_eq!((verdict.stdout.as_str(), verdict.stderr.as_str()), ("", ""), "{text}");
    let samples = samples(&text);
    let length = Frame::mpls([100]).build().len() as f64;
    let refused = |of: &str, reason: &str| format!("{of},reason=\"{reason}\"}}");
    let peer = r#"{ingress="peer",interface="eth1""#;
    let core = r#"{ingress="core",interface="eth2""#;
    let customer = r#"{ingress="customer",interface="eth3""#;
    let expected = [
        (format!("accepted_packets_total{peer},rule=\"red\"}}"), 2.0),
        (format!("accepted_bytes_total{peer},rule=\"red\"}}"), 2.0 * length),
        (format!("accepted_packets_total{peer},rule=\"labels\"}}"), 1.0),
        (format!("accepted_packets_total{peer},rule=\"special\"}}"), 0.0),
        (format!("dropped_packets_total{}", refused(peer, "label_out_of_range")), 1.0),
        (format!("dropped_bytes_total{}", refused(peer, "label_out_of_range")), length),
        (format!("dropped_packets_total{}", refused(peer, "ttl_zero")), 0.0),
        (format!("would_drop_packets_total{}", refused(core, "label_out_of_range")), 1.0),
        (format!("would_drop_packets_total{}", refused(core, "label_spoofed")), 1.0),
        (format!("would_drop_bytes_total{}", refused(core, "label_spoofed")), length),
        (format!("dropped_packets_total{}", refused(customer, "mpls_not_enabled")), 0.0),
        (r#"without_ingress_packets_total{interface="eth3",reason="ingress_unbound"}"#.into(), 1.0),
        (r#"without_ingress_packets_total{interface="eth3",reason="vlan_too_deep"}"#.into(), 0.0),
        (format!("ingress_mode{core},mode=\"monitor\"}}"), 1.0),
        (r#"interface_attached{interface="eth1",mode="native"}"#.into(), 1.0),
        ("policy_in_force".into(), 1.0),
        ("generation".into(), 1.0),
        ("ingresses".into(), 3.0),
        ("problems".into(), 0.0),
        ("confirmation_awaited".into(), 0.0),
        ("uncovered_interfaces".into(), 0.0),
    ];
    for (series, value) in &expected {
        let found = samples.get(format!("mpls_xdp_{series}").as_str());
        assert_eq!(found, Some(value), "{series} in {text}");
    }
    // What an ingress cannot count in its mode, or at all, is no series.
    for absent in [
        format!("would_drop_packets_total{}", refused(peer, "ttl_zero")),
        format!("dropped_packets_total{}", refused(core, "ttl_zero")),
        format!("dropped_packets_total{}", refused(customer, "ttl_zero")),
    ] {
        assert!(!samples.contains_key(format!("mpls_xdp_{absent}").as_str()), "{absent}");
    }
    lab.take_down();
}

#[test]
fn info_names_the_build_and_the_policy() {
    let lab = busy();
    let status = lab.healthy().0;
    let text = lab.run(["metrics", "--once"]).ends(0).stdout;
    let samples = samples(&text);
    let word = |field: &str| status[field].as_str().unwrap().to_owned();
    let policy = format!(
        "mpls_xdp_policy_info{{policy=\"{}\",digest=\"{}\",object=\"{}\"}}",
        word("policy"),
        word("digest"),
        word("object")
    );
    let version = lab.run(["--version"]).stdout.trim().replace("mpls-xdp ", "");
    let build =
        format!("mpls_xdp_build_info{{version=\"{version}\",object=\"{}\"}}", word("object"));
    for series in [policy, build] {
        assert_eq!(samples.get(series.as_str()), Some(&1.0), "{series} in {text}");
    }
    let applied = samples["mpls_xdp_policy_applied_timestamp_seconds"];
    assert_eq!(applied, status["applied_at"].as_f64().unwrap());
    lab.take_down();
}

#[test]
fn a_mode_that_changed_keeps_what_was_counted() {
    let lab = Lab::new();
    let wire = lab.wire("eth1");
    let monitor = core(&["eth1"], "100") + "mode = \"monitor\"\n";
    lab.apply(&monitor).ends(0);
    assert_eq!(wire.passes(&[200]), [true]);
    lab.apply(&core(&["eth1"], "100")).ends(0);
    assert_eq!(wire.passes(&[200, 200]), [false, false]);
    let text = lab.run(["metrics", "--once"]).ends(0).stdout;
    let labels = r#"{ingress="at-eth1",interface="eth1",reason="label_out_of_range"}"#;
    let value = |name: &str| samples(&text)[format!("mpls_xdp_{name}{labels}").as_str()];
    assert_eq!((value("would_drop_packets_total"), value("dropped_packets_total")), (1.0, 2.0));
    lab.take_down();
}

#[test]
fn what_is_not_filtered_shows() {
    let (lab, _wire) = Lab::filtering("eth1");
    lab.run(["detach", "--interface", "eth1"]).ends(0);
    let text = lab.run(["metrics", "--once"]).ends(0).stdout;
    let samples = samples(&text);
    assert_eq!(samples[r#"mpls_xdp_interface_attached{interface="eth1",mode="none"}"#], 0.0);
    assert_eq!(samples["mpls_xdp_problems"], 1.0);
    assert_eq!(samples["mpls_xdp_generation"], 2.0);
    lab.take_down();
}

#[test]
fn without_a_policy_it_says_so() {
    let lab = Lab::new();
    let text = lab.run(["metrics", "--once"]).ends(0).stdout;
    let verdict = promtool(&["check", "metrics"], &text).ends(0);
    assert_eq!((verdict.stdout.as_str(), verdict.stderr.as_str()), ("", ""), "{text}");
    assert_eq!(samples(&text)["mpls_xdp_policy_in_force"], 0.0);
    assert_eq!(samples(&text).len(), 3, "{text}");

    // The server answers before, while and after one is in force.
    let _wire = lab.wire("eth1");
    let server = Server::start(&lab);
    let in_force = || samples(&server.metrics("*/*"))["mpls_xdp_policy_in_force"];
    assert_eq!(in_force(), 0.0);
    lab.apply(&core(&["eth1"], "100")).ends(0);
    assert_eq!(in_force(), 1.0);
    lab.run(["detach", "--all"]).ends(0);
    assert_eq!(in_force(), 0.0);
    assert_eq!(server.end(Signal::TERM), (Some(0), String::new()));
}

#[test]
fn open_metrics_is_read_by_prometheus() {
    let lab = busy();
    let server = Server::start(&lab);
    let answer = server.get("/metrics", &format!("{OPEN_METRICS},text/plain;q=0.5,*/*;q=0.1"));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.headers.contains(&format!("content-type: {OPEN_METRICS}")), "{answer:?}");
    let text = answer.body;
    assert!(text.ends_with("\n# EOF\n"), "{text}");
    for line in [
        "# TYPE mpls_xdp_build info",
        "# TYPE mpls_xdp_dropped_packets counter",
        "# UNIT mpls_xdp_dropped_packets packets",
        "# UNIT mpls_xdp_dropped_bytes bytes",
        "# UNIT mpls_xdp_policy_applied_timestamp_seconds seconds",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    let named = |what: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(what));
        lines.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    assert_eq!(named("# HELP "), named("# TYPE "));

    // Prometheus' own parser, which wants a time with each sample here.
    let timed: String = text
        .lines()
        .map(|line| match line.starts_with('#') {
            true => format!("{line}\n"),
            false => format!("{line} 1700000000\n"),
        })
        .collect();
    let file = lab.file("metrics.om", &timed);
    let blocks = lab.store.directory().join("blocks");
    let arguments = ["tsdb", "create-blocks-from", "openmetrics"];
    let paths = [file.to_str().unwrap(), blocks.to_str().unwrap()];
    promtool(&[&arguments[..], &paths].concat(), "").ends(0);
    // It looks for a log of writes as well.
    fs::create_dir(blocks.join("wal")).unwrap();
    let dumped = promtool(&["tsdb", "dump", paths[1]], "").ends(0);
    let stored = dumped.stdout.lines().filter(|line| line.contains("mpls_xdp_")).count();
    assert_eq!(stored, samples(&text).len(), "{dumped}");

    // The same samples in the other format.
    let old = server.get("/metrics", "text/plain");
    assert!(old.headers.contains("content-type: text/plain; version=0.0.4"), "{old:?}");
    assert_eq!(samples(&old.body), samples(&text));
    assert_eq!(server.end(Signal::INT), (Some(0), String::new()));
    lab.take_down();
}

#[test]
fn only_the_metrics_are_served() {
    let lab = Lab::new();
    let server = Server::start(&lab);
    let start = server.get("/", "*/*");
    assert_eq!(start.status, 200);
    assert!(start.body.contains("<a href=\"/metrics\">"), "{start:?}");
    let missing = server.get("/metrics/", "*/*");
    assert_eq!(missing.status, 404);
    assert!(missing.body.contains("/metrics"), "{missing:?}");
    for method in ["POST", "HEAD", "DELETE"] {
        let answer = server.answer(&format!("{method} /metrics HTTP/1.1\r\nHost: r\r\n\r\n"));
        assert_eq!(answer.status, 405, "{answer:?}");
        assert!(answer.headers.contains("allow: get"), "{answer:?}");
    }
    let long = "x".repeat(100_000);
    assert_eq!(server.get("/", &long).status, 431);
    assert_eq!(server.answer("nonsense\r\n\r\n").status, 400);
    // A body is not waited for.
    let body = "GET /metrics HTTP/1.1\r\nHost: r\r\nContent-Length: 1000000\r\n\r\n";
    assert_eq!(server.answer(body).status, 200);
    assert_eq!(server.end(Signal::TERM), (Some(0), String::new()));
}

#[test]
fn clients_that_say_nothing_hold_up_nobody_for_long() {
    let lab = Lab::new();
    let server = Server::start(&lab);
    let silent: Vec<TcpStream> = (0..100).map(|_| server.connect()).collect();
    assert_eq!(server.get("/metrics", "*/*").status, 200);
    // All were let go, none was answered.
    for mut stream in silent {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), "");
    }
    let _silent = server.connect();
    assert_eq!(server.end(Signal::TERM), (Some(0), String::new()));
}

#[test]
fn an_apply_at_work_makes_no_scrape_fail_or_wait() {
    let (lab, wire) = Lab::filtering("eth1");
    let server = Server::start(&lab);
    let policies = ["100-199", "100-299"].map(|labels| {
        lab.file(&format!("{labels}.toml"), core(&["eth1"], &format!("\"{labels}\"")))
    });
    assert_eq!(wire.passes(&[100]), [true]);
    thread::scope(|scope| {
        let applying = scope.spawn(|| {
            for policy in policies.iter().cycle().take(12) {
                lab.run(["apply".as_ref(), policy.as_os_str()]).ends(0);
            }
        });
        let mut generation = 0.0;
        while !applying.is_finished() {
            let text = server.metrics(OPEN_METRICS);
            let samples = samples(&text);
            let labels = r#"{ingress="at-eth1",interface="eth1",rule="core"}"#;
            let accepted = format!("mpls_xdp_accepted_packets_total{labels}");
            assert_eq!(samples[accepted.as_str()], 1.0, "{text}");
            assert_eq!(samples["mpls_xdp_problems"], 0.0, "{text}");
            assert!(samples["mpls_xdp_generation"] >= generation, "{text}");
            generation = samples["mpls_xdp_generation"];
        }
        assert!(generation > 3.0, "only {generation} was seen");
    });

    // A command that holds the filter for as long as it likes.
    let state = lab.store.state().join(format!("netns-{}", lab.router.id().cookie));
    let held = File::open(state.join("lock")).unwrap();
    held.lock().unwrap();
    assert_eq!(samples(&server.metrics("*/*"))["mpls_xdp_problems"], 0.0);
    lab.run(["metrics", "--once"]).ends(0).prints(&["mpls_xdp_generation"]);
    drop(held);
    assert_eq!(server.end(Signal::TERM), (Some(0), String::new()));
    lab.take_down();
}

#[test]
fn a_scrape_that_fails_says_why() {
    let (lab, _wire) = Lab::filtering("eth1");
    let server = Server::start(&lab);
    // The policy in force: whatever else is pinned says nothing without it.
    let policy = lab.pin_names().into_iter().find(|name| name.starts_with("policy-")).unwrap();
    fs::remove_file(lab.pins().join(&policy)).unwrap();
    let text = server.metrics("*/*");
    assert_eq!(samples(&text)["mpls_xdp_policy_in_force"], 0.0);
    assert_eq!(samples(&text)["mpls_xdp_problems"], 1.0);
    fs::create_dir(lab.pins().join(&policy)).unwrap();
    for _ in 0..2 {
        let answer = server.get("/metrics", "*/*");
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.body.len() > 10, "{answer:?}");
    }
    lab.run(["metrics", "--once"]).ends(1).says(&["error: "]);
    fs::remove_dir(lab.pins().join(&policy)).unwrap();
    assert_eq!(server.get("/metrics", "*/*").status, 200);
    let (code, said) = server.end(Signal::TERM);
    assert_eq!(code, Some(0));
    // Once, not with each scrape.
    assert_eq!(said.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{said}");
    lab.take_down();
}

#[test]
fn the_file_is_replaced_in_one_step() {
    let (lab, _wire) = Lab::filtering("eth1");
    let folder = lab.store.directory().join("textfile");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("mpls-xdp.prom");
    let run = || {
        let arguments = ["metrics", "--once", "--output", path.to_str().unwrap()];
        assert_eq!(lab.run(arguments).ends(0).stdout, "");
    };
    run();
    // Whoever has the old file open reads it to its end.
    let mut old = File::open(&path).unwrap();
    lab.apply(&core(&["eth1"], "100")).ends(0);
    run();
    let mut text = String::new();
    old.read_to_string(&mut text).unwrap();
    assert_eq!(samples(&text)["mpls_xdp_generation"], 1.0);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(samples(&text)["mpls_xdp_generation"], 2.0);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "something else is left");
    let nowhere = folder.join("missing/mpls-xdp.prom");
    let arguments = ["metrics", "--once", "--output", nowhere.to_str().unwrap()];
    lab.run(arguments).ends(1).says(&["cannot write", "missing/mpls-xdp.prom"]);
    lab.take_down();
}

#[test]
fn wrong_addresses_and_options() {
    let lab = Lab::new();
    let server = Server::start(&lab);
    let taken = server.address.to_string();
    lab.run(["metrics", "--listen", &taken]).ends(1).says(&["cannot listen on", &taken]);
    for wrong in [
        &["metrics"][..],
        &["metrics", "--listen", "localhost"],
        &["metrics", "--once", "--listen", "127.0.0.1:0"],
        &["metrics", "--listen", "127.0.0.1:0", "--output", "x.prom"],
    ] {
        // Taken for right, it would listen for ever.
        let mut child = lab.command(wrong).stderr(Stdio::null()).spawn().unwrap();
        wait_for(&format!("{wrong:?} ends"), || child.try_wait().unwrap().is_some());
        assert_eq!(child.wait().unwrap().code(), Some(2), "{wrong:?}");
    }
    server.end(Signal::TERM);
}
