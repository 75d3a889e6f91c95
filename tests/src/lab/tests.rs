//! The lab tried on itself. Every test fails where the user is not root.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::panic;
use std::process::{Command, Stdio};
use std::slice::from_ref;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use aya::maps::{Array, MapInfo};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tempfile::TempDir;

use super::*;
use crate::frame::{C_TAG, Frame, IPV4, OLD_OUTER_TAG, S_TAG, Tag};
use crate::leak::{self, Objects};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Two namespaces and a veth pair between them.
struct Pair {
    left: Link,
    right: Link,
}

impl Pair {
    fn new(mtu: u32) -> Self {
        let (here, there) = (Namespace::new("left").unwrap(), Namespace::new("right").unwrap());
        let (left, right) =
            Veth::between((&here, "eth0"), (&there, "eth0")).mtu(mtu).create().unwrap();
        Self { left, right }
    }

    fn ports(&self) -> (Port, Port) {
        (self.left.port().unwrap(), self.right.port().unwrap())
    }
}

#[test]
fn closures_and_commands_run_inside() {
    let namespace = Namespace::new("inside").unwrap();
    let expected = format!("net:[{}]", namespace.id().inode);

    let thread = namespace.run(|| Ok(fs::read_link("/proc/thread-self/ns/net")?)).unwrap();
    assert_eq!(thread.to_str(), Some(expected.as_str()));
    let command = namespace.command("readlink").arg("/proc/self/ns/net").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&command.stdout).trim(), expected);
    let outside = fs::read_link("/proc/thread-self/ns/net").unwrap();
    assert_ne!(outside.to_str(), Some(expected.as_str()));

    let other = Namespace::new("inside").unwrap();
    assert_ne!(namespace.id(), other.id());
}

#[test]
fn a_new_namespace_has_its_loopback_up() {
    let namespace = Namespace::new("empty").unwrap();
    let reachable = namespace.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        TcpStream::connect(listener.local_addr()?)?;
        Ok(())
    });
    reachable.unwrap();
}

#[test]
fn frames_arrive_with_their_tags() {
    let pair = Pair::new(1_500);
    let (sender, receiver) = pair.ports();
    let tagged = |tags: &[Tag]| {
        let frame = tags.iter().fold(Frame::mpls([16_007, 24_000]), |frame, tag| frame.tag(*tag));
        frame.build()
    };
    let frames = [
        tagged(&[]),
        tagged(&[Tag::customer(100)]),
        tagged(&[Tag { tpid: C_TAG, pcp: 7, dei: true, vid: 4_094 }]),
        tagged(&[Tag::customer(0).pcp(3)]),
        tagged(&[Tag::service(200)]),
        tagged(&[Tag::new(OLD_OUTER_TAG, 300)]),
        tagged(&[Tag::service(200), Tag::customer(100)]),
        tagged(&[Tag::customer(200), Tag::customer(100)]),
        tagged(&[Tag::new(OLD_OUTER_TAG, 1), Tag::new(S_TAG, 2), Tag::customer(3)]),
    ];
    for frame in &frames {
        sender.send(frame).unwrap();
    }
    assert_eq!(receiver.collect(frames.len(), TIMEOUT).unwrap(), frames);
    assert_eq!(probe(&sender, &receiver, &frames).unwrap(), [true; 9]);
}

#[test]
fn short_and_cut_frames_arrive_as_they_are() {
    let pair = Pair::new(1_500);
    let (sender, receiver) = pair.ports();
    let untagged = Frame::mpls([100, 200]);
    let tagged = untagged.clone().vlan(5);
    let frames = [
        untagged.clone().cut(14).build(),
        untagged.clone().cut(15).build(),
        untagged.cut(19).build(),
        tagged.clone().cut(20).build(),
        tagged.cut(25).build(),
    ];
    assert_eq!(probe(&sender, &receiver, &frames).unwrap(), [true; 5]);
}

#[test]
fn a_frame_of_9000_bytes_arrives() {
    let pair = Pair::new(9_000);
    let (sender, receiver) = pair.ports();
    let frames = [
        Frame::mpls([100]).length(14 + 9_000).build(),
        Frame::mpls([100]).vlan(7).length(18 + 9_000).build(),
    ];
    assert_eq!(probe(&sender, &receiver, &frames).unwrap(), [true, true]);
}

#[test]
fn a_dropped_frame_is_told_from_one_that_arrived() {
    let pair = Pair::new(1_500);
    let (sender, receiver) = pair.ports();
    // Linux itself discards a tagged frame with less than two bytes after the inner type.
    let (whole, cut) = (Frame::mpls([100]).vlan(5), Frame::mpls([100]).vlan(5).cut(19));
    let frames = [&whole, &cut, &whole, &whole, &cut].map(Frame::build);
    assert_eq!(probe(&sender, &receiver, &frames).unwrap(), [true, false, true, true, false]);
    assert_eq!(probe(&sender, &receiver, &[cut.build()]).unwrap(), [false]);
}

#[test]
fn a_probe_ignores_what_came_before() {
    let pair = Pair::new(1_500);
    let (sender, receiver) = pair.ports();
    for number in 0..100 {
        sender.send(&Frame::mpls([number]).build()).unwrap();
    }
    assert_eq!(probe(&sender, &receiver, &[Frame::mpls([7]).build()]).unwrap(), [true]);
}

#[test]
fn many_frames_keep_their_order_wherever_the_sender_runs() {
    let pair = Pair::new(1_500);
    let (sender, receiver) = pair.ports();
    let frames: Vec<_> =
        (0..2_000).map(|number| Frame::mpls([number + 16]).vlan(9).build()).collect();
    let allowed = sched_getaffinity(None).unwrap();
    let processors: Vec<_> = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect();
    // A veth end holds 256 frames that nobody has taken yet.
    for frames in frames.chunks(128) {
        for (frame, &processor) in frames.iter().zip(processors.iter().cycle()) {
            let mut only = CpuSet::new();
            only.set(processor);
            sched_setaffinity(None, &only).unwrap();
            sender.send(frame).unwrap();
        }
        assert_eq!(receiver.collect(frames.len(), TIMEOUT).unwrap(), frames);
    }
    assert_eq!(probe(&sender, &receiver, &frames).unwrap(), vec![true; frames.len()]);
    assert_eq!(receiver.lost().unwrap(), 0);
}

#[test]
fn nothing_but_what_is_sent_arrives() {
    let pair = Pair::new(1_500);
    let (sender, receiver) = pair.ports();
    let frame = Frame::mpls([100]).build();
    sender.send(&frame).unwrap();
    receiver.send(&frame).unwrap();
    // Each port got the other's frame, and not its own or any other.
    assert_eq!(sender.collect(1, TIMEOUT).unwrap(), from_ref(&frame));
    assert_eq!(receiver.collect(1, TIMEOUT).unwrap(), from_ref(&frame));
    assert_eq!(sender.receive(Duration::ZERO).unwrap(), None);
    assert_eq!(receiver.receive(Duration::ZERO).unwrap(), None);
}

#[test]
fn waiting_in_vain_is_an_error_that_names_the_port() {
    let pair = Pair::new(1_500);
    let (_, receiver) = pair.ports();
    let error = receiver.collect(3, Duration::from_millis(1)).unwrap_err();
    assert!(error.to_string().contains("eth0 in right received 0 frames"), "{error:#}");
    pair.left.set_down().unwrap();
    let error = pair.left.port().unwrap().send(&Frame::new(IPV4).build()).unwrap_err();
    assert!(format!("{error:#}").contains("down"), "{error:#}");
}

#[test]
fn links_start_as_the_lab_needs_them() {
    let pair = Pair::new(1_500);
    for end in [&pair.left, &pair.right] {
        assert!(!end.feature("tx-vlan-hw-insert").unwrap());
        assert!(!end.feature("tx-vlan-stag-hw-insert").unwrap());
        assert!(!end.feature("tx-tcp-segmentation").unwrap());
        assert!(end.feature("rx-gro").unwrap());
    }
    pair.left.set_feature("rx-vlan-hw-parse", false).unwrap();
    assert!(!pair.left.feature("rx-vlan-hw-parse").unwrap());
    pair.left.set_feature("rx-vlan-hw-parse", true).unwrap();
    assert!(pair.left.feature("rx-vlan-hw-parse").unwrap());
    assert!(pair.left.feature("no-such-feature").is_err());
    assert_ne!(pair.left.mac_address().unwrap(), pair.right.mac_address().unwrap());
    assert!(pair.left.index().unwrap() > 1);
}

#[test]
fn both_ends_may_be_in_one_namespace() {
    let namespace = Namespace::new("both").unwrap();
    let (left, right) =
        Veth::between((&namespace, "left"), (&namespace, "right")).create().unwrap();
    let frames = [Frame::mpls([100]).build()];
    let (left, right) = (left.port().unwrap(), right.port().unwrap());
    assert_eq!(probe(&left, &right, &frames).unwrap(), [true]);
    assert_eq!(probe(&right, &left, &frames).unwrap(), [true]);
}

#[test]
fn a_name_that_is_taken_is_an_error() {
    let namespace = Namespace::new("taken").unwrap();
    let veth = || Veth::between((&namespace, "one"), (&namespace, "two")).create();
    let (one, _) = veth().unwrap();
    let error = format!("{:#}", veth().unwrap_err());
    assert!(error.contains("one in taken") && error.contains("File exists"), "{error}");
    one.remove().unwrap();
    veth().unwrap();
}

#[test]
fn every_kind_of_link_is_made_or_said_to_be_missing() {
    let pair = Pair::new(1_500);
    let namespace = pair.left.namespace();
    let made = |kind, link: Result<Link>| match (kernel_has(kind).unwrap(), link) {
        (true, link) => drop(link.unwrap().port().unwrap()),
        (false, link) => {
            let error = format!("{:#}", link.unwrap_err());
            assert!(error.contains("this kernel does not have that kind of link"), "{error}");
        }
    };
    made(InfoKind::Dummy, Link::dummy(namespace, "dummy0"));
    made(InfoKind::Vlan, pair.left.vlan("eth0.100", C_TAG, 100));
    made(InfoKind::Vlan, pair.left.vlan("eth0.s200", S_TAG, 200));
    let (member, _) =
        Veth::between((namespace, "member"), (pair.right.namespace(), "other")).create().unwrap();
    made(InfoKind::Bond, Link::bond(namespace, "bond0", &[&member]));
    assert!(kernel_has(InfoKind::Veth).unwrap());
    assert!(!kernel_has(InfoKind::Other("no-such-kind".into())).unwrap());
}

#[test]
fn a_vlan_device_sends_and_receives_its_tag() {
    if !kernel_has(InfoKind::Vlan).unwrap() {
        // `every_kind_of_link_is_made_or_said_to_be_missing` judges that.
        return;
    }
    let pair = Pair::new(1_500);
    let device = pair.left.vlan("eth0.100", S_TAG, 100).unwrap();
    let (inside, outside) = (device.port().unwrap(), pair.right.port().unwrap());
    inside.send(&Frame::mpls([100]).build()).unwrap();
    let tagged = Frame::mpls([100]).tag(Tag::service(100)).build();
    assert_eq!(outside.collect(1, TIMEOUT).unwrap(), from_ref(&tagged));
    outside.send(&tagged).unwrap();
    assert_eq!(inside.collect(1, TIMEOUT).unwrap(), [Frame::mpls([100]).build()]);
}

#[test]
fn teardown_leaves_no_namespace() {
    let Pair { left, right } = Pair::new(1_500);
    let (here, there) = (left.namespace().id(), right.namespace().id());
    assert!(!leak::holders(here).unwrap().is_empty());
    drop(left);
    leak::wait_until_released(here).unwrap();
    // A veth end goes when the kernel has freed the namespace of the other end.
    let deadline = Instant::now() + TIMEOUT;
    while right.index().is_ok() {
        assert!(Instant::now() < deadline, "the other end is still there");
        thread::sleep(Duration::from_millis(1));
    }
    drop(right);
    leak::wait_until_released(there).unwrap();
}

#[test]
fn a_panic_leaves_no_namespace() {
    let (tell, told) = mpsc::channel();
    let panicked = thread::spawn(move || {
        let pair = Pair::new(1_500);
        tell.send(pair.left.namespace().id()).unwrap();
        let _port = pair.left.port().unwrap();
        // Does not print a message about the panic.
        panic::resume_unwind(Box::new("on purpose"));
    });
    assert!(panicked.join().is_err());
    leak::wait_until_released(told.recv().unwrap()).unwrap();
}

#[test]
fn a_store_is_a_bpffs_of_its_own_and_goes_with_its_pins() {
    let (store, other) = (Store::new().unwrap(), Store::new().unwrap());
    let map = pin_a_map(&store);
    assert!(leak::entries_of_bpffs(other.bpffs()).unwrap().is_empty());

    let pinned = Objects::pinned_under(store.bpffs()).unwrap();
    assert_eq!(pinned.maps.keys().collect::<Vec<_>>(), [&map]);
    assert!(pinned.programs.is_empty() && pinned.links.is_empty());
    assert_eq!(pinned.remaining().unwrap(), pinned);
    assert_eq!(Objects::all().unwrap().since(&Objects::default()).maps[&map], pinned.maps[&map]);

    let directory = store.directory().to_owned();
    assert!(leak::mounts_under(&directory).unwrap().is_empty());
    drop(store);
    pinned.wait_until_gone().unwrap();
    assert!(!directory.exists());
}

#[test]
fn another_process_uses_the_store_by_its_path() {
    let (store, namespace) = (Store::new().unwrap(), Namespace::new("user").unwrap());
    let kind =
        namespace.command("stat").args(["-f", "-c", "%t"]).arg(store.bpffs()).output().unwrap();
    // BPF_FS_MAGIC
    assert_eq!(String::from_utf8_lossy(&kind.stdout).trim(), "cafe4a11");
    let made = store.bpffs().join("made");
    assert!(namespace.command("mkdir").arg(&made).status().unwrap().success());
    assert_eq!(leak::entries_of_bpffs(store.bpffs()).unwrap(), [made]);
}

/// Pins an array in the store, so that nothing but the pin keeps it.
fn pin_a_map(store: &Store) -> u32 {
    let directory = store.bpffs().join("below");
    fs::create_dir(&directory).unwrap();
    let path = directory.join("array");
    Array::<_, u32>::create(1, 0).unwrap().pin(&path).unwrap();
    MapInfo::from_pin(&path).unwrap().id()
}

#[test]
fn sigkill_leaves_nothing() {
    let temporary = TempDir::new().unwrap();
    let mut holder = Command::new(env::current_exe().unwrap())
        .args(["--exact", "lab::tests::hold_a_lab", "--ignored", "--nocapture"])
        .env("TMPDIR", temporary.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let held = lines.find_map(|line| line.unwrap().split_once(HELD).map(|(_, ids)| ids.to_owned()));
    let numbers: Vec<u64> = held.unwrap().split(' ').map(|id| id.parse().unwrap()).collect();
    let [inode, cookie, map] = numbers[..] else { panic!("{numbers:?}") };
    let namespace = NamespaceId { inode, cookie };
    let map = u32::try_from(map).unwrap();
    let everything = Objects::all().unwrap();
    let objects =
        Objects { maps: [(map, everything.maps[&map].clone())].into(), ..Objects::default() };
    assert!(leak::holders(namespace).unwrap().len() > 1);

    holder.kill().unwrap();
    holder.wait().unwrap();
    leak::wait_until_released(namespace).unwrap();
    objects.wait_until_gone().unwrap();
    assert!(leak::mounts_under(temporary.path()).unwrap().is_empty());
}

const HELD: &str = "held: ";

#[test]
#[ignore = "a part of sigkill_leaves_nothing"]
fn hold_a_lab() {
    let pair = Pair::new(1_500);
    let store = Store::new().unwrap();
    let map = pin_a_map(&store);
    // A child in the namespace must not outlive the lab either.
    let mut child = pair.left.namespace().command("sleep").arg("600").spawn().unwrap();
    let NamespaceId { inode, cookie } = pair.left.namespace().id();
    println!("{HELD}{inode} {cookie} {map}");
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
}
