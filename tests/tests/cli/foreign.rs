//! Exit code 5: somebody else's XDP program is on the interface.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use mpls_xdp_tests::lab::Store;

use super::support::{Lab, Output, core, ip, is_bare};

/// `union bpf_attr` in 32-bit words.
type Attributes = [u32; 32];

fn words(address: usize) -> [u32; 2] {
    let bytes = (address as u64).to_ne_bytes();
    [0, 4].map(|at| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap()))
}

fn bpf(command: libc::c_int, attributes: &mut Attributes) -> i32 {
    // SAFETY: the attributes have the length given, and what they point at outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), 128) };
    assert!(result >= 0, "bpf command {command}: {}", io::Error::last_os_error());
    i32::try_from(result).unwrap()
}

/// Pins the XDP program `return XDP_PASS`.
fn pin_a_program(path: &Path) {
    const PROG_LOAD: libc::c_int = 5;
    const OBJ_PIN: libc::c_int = 6;
    const TYPE_XDP: u32 = 6;
    let instructions = [[0xb7_u8, 0, 0, 0, 2, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
    let mut attributes = [0; 32];
    attributes[..2].copy_from_slice(&[TYPE_XDP, 2]);
    attributes[2..4].copy_from_slice(&words(instructions.as_ptr() as usize));
    attributes[4..6].copy_from_slice(&words(c"GPL".as_ptr() as usize));
    // SAFETY: the kernel has just made this descriptor for us alone.
    let program = unsafe { OwnedFd::from_raw_fd(bpf(PROG_LOAD, &mut attributes)) };
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut attributes = [0; 32];
    attributes[..2].copy_from_slice(&words(path.as_ptr() as usize));
    attributes[2] = u32::try_from(program.as_raw_fd()).unwrap();
    bpf(OBJ_PIN, &mut attributes);
}

/// Attaches a program over RTNETLINK, as `ip link` does.
fn attach_over_netlink(lab: &Lab, interface: &str, mode: &str) {
    let pin = lab.store.bpffs().join("stranger");
    pin_a_program(&pin);
    ip(&lab.router, &format!("link set dev {interface} {mode} pinned {}", pin.display()));
    std::fs::remove_file(pin).unwrap();
}

fn xdp_of(lab: &Lab, interface: &str) -> String {
    let mut command = lab.router.command("ip");
    Output::of(command.args(["-d", "link", "show", "dev", interface])).ends(0).stdout
}

#[test]
fn a_program_attached_over_netlink_is_replaced_only_on_request() {
    for mode in ["xdpdrv", "xdpgeneric"] {
        let lab = Lab::new();
        let wire = lab.wire("eth1");
        attach_over_netlink(&lab, "eth1", mode);
        let before = xdp_of(&lab, "eth1");
        let policy = core(&["eth1"], "100");
        for options in [&[][..], &["--dry-run"], &["--mode", "generic"]] {
            lab.apply_with(&policy, options).ends(5).says(&["eth1", "another XDP", "--replace"]);
        }
        assert_eq!(xdp_of(&lab, "eth1"), before);
        assert!(is_bare(lab.store.bpffs()));
        assert!(wire.port.feature("rx-vlan-hw-parse").unwrap());

        lab.apply_with(&policy, &["--dry-run", "--replace"]).ends(0).prints(&["replace", "eth1"]);
        assert_eq!(xdp_of(&lab, "eth1"), before);
        lab.apply_with(&policy, &["--replace"]).ends(0);
        assert_eq!(lab.healthy().attached(), [("eth1", "native")].into());
        assert_eq!(wire.passes(&[100, 200]), [true, false]);
        lab.take_down();
    }
}

#[test]
fn a_program_held_by_a_link_is_its_owners_to_take_off() {
    let (lab, wire) = Lab::filtering("eth1");
    let before = lab.healthy();
    let other = Store::new().unwrap();
    let policy = lab.file("other.toml", core(&["eth1"], "500"));
    let apply = |option: Option<&str>| {
        let mut command = lab.command_with(&other, ["apply", policy.to_str().unwrap()]);
        Output::of(command.args(option))
    };
    apply(None).ends(5).says(&["eth1", "another XDP program"]);
    apply(Some("--replace")).ends(5).says(&["eth1", "held by a BPF link", "bpftool link"]);
    assert!(is_bare(other.bpffs()), "a failed apply left pins");
    assert_eq!(lab.healthy(), before);
    assert_eq!(wire.passes(&[100, 500]), [true, false]);
    assert!(!wire.port.feature("rx-vlan-hw-parse").unwrap(), "the other owner's setting");
    lab.take_down();
    // The first owner has restored what it had found.
    assert!(wire.port.feature("rx-vlan-hw-parse").unwrap());
    apply(None).ends(0);
    assert_eq!(wire.passes(&[100, 500]), [false, true]);
}

#[test]
fn a_program_that_took_our_place_is_named_by_status() {
    let (lab, wire) = Lab::filtering("eth1");
    lab.run(["detach", "--interface", "eth1"]).ends(0);
    attach_over_netlink(&lab, "eth1", "xdpdrv");
    lab.unhealthy();
    lab.apply(&core(&["eth1"], "100")).ends(5).says(&["eth1"]);
    assert_eq!(wire.passes(&[200]), [true]);
    lab.apply_with(&core(&["eth1"], "100"), &["--replace"]).ends(0);
    lab.healthy();
    lab.take_down();
}
