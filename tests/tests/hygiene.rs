//! Nothing of ours stays on the machine: not after a test that panics, and not after all of them.
//!
//! The suite's own check has two steps, which `cargo xtask test` runs before and after everything
//! else: [`before_the_suite`] and [`nothing_of_ours_is_left_after_the_suite`].

use std::env;
use std::fs;
use std::panic;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mpls_xdp_tests::demo::Router;
use mpls_xdp_tests::frame::Frame;
use mpls_xdp_tests::inventory::{Inventory, MAPS, PROGRAMS};
use mpls_xdp_tests::lab::{Generator, Namespace, Veth, require_root};
use mpls_xdp_tests::leak::{Objects, wait_until_released};

const POLICY: &str = r#"
version = 1
contexts.red = { kind = "vrf", labels = [100] }
ingress.core = { interface = "eth3", role = "core", contexts = ["red"] }
"#;
/// Where the first step writes what it found.
const FILE: &str = "MPLS_XDP_INVENTORY";
/// How long the kernel may take to free what nobody holds any more: it does so in the background.
const PATIENCE: Duration = Duration::from_secs(20);
const INTERVAL: Duration = Duration::from_millis(20);

/// A lab with everything that a test can make in it.
struct Lab {
    router: Router,
    _neighbour: Namespace,
    _generator: Generator,
}

impl Lab {
    fn new() -> Result<Self> {
        let router = Router::new(&[])?;
        let neighbour = Namespace::new("neighbour")?;
        let (_, uplink) =
            Veth::between((router.namespace(), "eth3"), (&neighbour, "uplink")).create()?;
        router.apply(POLICY, &[])?;
        let generator = Generator::new(&uplink, &[Frame::mpls([100]).length(64).build()])?;
        generator.send(1_000)?;
        Ok(Self { router, _neighbour: neighbour, _generator: generator })
    }
}

fn inventory_file() -> Result<PathBuf> {
    let path = env::var_os(FILE).map(PathBuf::from);
    path.with_context(|| format!("{FILE} names no file: run `cargo xtask test`"))
}

#[test]
#[ignore = "the first step of `cargo xtask test`"]
fn before_the_suite() -> Result<()> {
    require_root()?;
    Inventory::take()?.write(&inventory_file()?)
}

#[test]
#[ignore = "the last step of `cargo xtask test`"]
fn nothing_of_ours_is_left_after_the_suite() -> Result<()> {
    let before = Inventory::read(&inventory_file()?)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = Inventory::take()?.since(&before);
        if left.is_empty() {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "the tests left on this machine, unless somebody else made it meanwhile:\n{}",
            left.join("\n")
        );
        thread::sleep(INTERVAL);
    }
}

#[test]
fn what_a_lab_is_made_of_is_found_and_known_as_ours() -> Result<()> {
    let before = Inventory::take()?;
    let lab = Lab::new()?;
    let found = Inventory::take()?.since(&before);

    let pinned = Objects::pinned_under(lab.router.store().bpffs())?;
    let programs = pinned.programs.iter().map(|(id, name)| format!("program {id}, {name}"));
    let maps = pinned.maps.iter().map(|(id, name)| format!("map {id}, {name}"));
    let links = pinned.links.iter().map(|(id, program)| format!("link {id} of program {program}"));
    let namespace = format!("network namespace net:[{}]", lab.router.namespace().id().inode);
    let directory = lab.router.store().directory().display().to_string();
    let expected: Vec<String> =
        programs.chain(maps).chain(links).chain([namespace, directory]).collect();
    for line in &expected {
        assert!(found.contains(line), "{line} is not among {found:#?}");
    }
    let generator = found.iter().any(|line| line.ends_with(", mpls_generator"));
    assert!(generator, "{found:#?}");

    let names = pinned.programs.values().chain(pinned.maps.values());
    for name in names {
        assert!(PROGRAMS.contains(&name.as_str()) || MAPS.contains(&name.as_str()), "{name}");
    }

    drop(lab);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = Inventory::take()?.since(&before);
        let left: Vec<_> = expected.iter().filter(|line| found.contains(line)).collect();
        if left.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{left:#?}");
        thread::sleep(INTERVAL);
    }
}

#[test]
fn a_test_that_panics_in_the_middle_of_a_lab_leaves_nothing() -> Result<()> {
    let (tell, told) = mpsc::channel();
    let panicked = thread::spawn(move || {
        let lab = Lab::new().expect("a lab");
        let pinned = Objects::pinned_under(lab.router.store().bpffs()).expect("its objects");
        let directory = lab.router.store().directory().to_owned();
        let mut child =
            lab.router.namespace().command("sleep").arg("600").spawn().expect("a child");
        tell.send((lab.router.namespace().id(), pinned, directory, child.id()))
            .expect("a listener");
        // Does not print a message about the panic.
        panic::resume_unwind(Box::new(child.try_wait().is_ok()));
    });
    ensure!(panicked.join().is_err(), "the thread did not panic");
    let (namespace, pinned, directory, child) = told.recv()?;
    assert!(!pinned.programs.is_empty() && !pinned.maps.is_empty() && !pinned.links.is_empty());
    wait_until_released(namespace)?;
    pinned.wait_until_gone()?;
    assert!(!directory.exists(), "{}", directory.display());
    // Nobody waits for the child any more, but it is dead.
    let state = fs::read_to_string(format!("/proc/{child}/stat"))?;
    assert!(state.contains(") Z "), "{state}");
    Ok(())
}

#[test]
fn everything_that_is_new_is_told_and_nothing_else() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let inventory = |lines: &[&str]| -> Result<Inventory> {
        let path = folder.path().join("inventory.json");
        fs::write(&path, serde_json::to_vec(lines)?)?;
        Inventory::read(&path)
    };
    let before = inventory(&["interface eth0", "map 1, POLICY", "mount at /"])?;
    let after = inventory(&["interface eth0 with program 7", "map 1, POLICY", "mount at /"])?;
    assert_eq!(after.since(&before), ["interface eth0 with program 7"]);
    assert_eq!(before.since(&before), [""; 0]);

    let path = folder.path().join("again.json");
    after.write(&path)?;
    assert_eq!(Inventory::read(&path)?, after);
    Ok(())
}
