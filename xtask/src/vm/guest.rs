//! What runs in a guest.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{initramfs::Initramfs, kernel::Kernel, modules};
use crate::cargo;

/// A program that a guest is booted for, and what it finds there.
#[derive(Clone, Copy, Debug)]
pub struct Guest {
    /// The program: a binary of the package of the tests. Its exit code decides.
    pub program: &'static str,
    /// Modules of the kernel that are loaded before; those that they need come along.
    pub modules: &'static [&'static str],
    /// Commands of this machine that the program calls.
    pub commands: &'static [&'static str],
    /// Drivers. Of each the guest has two NICs, joined by a wire.
    pub nics: &'static [Nic],
}

/// A kind of NIC.
#[derive(Clone, Copy, Debug)]
pub struct Nic {
    /// The module of its driver.
    pub driver: &'static str,
    /// What QEMU calls the device.
    pub device: &'static str,
}

/// The filter on real drivers, and everything that needs modules which a container lacks.
pub const CHECKS: Guest = Guest {
    program: INIT,
    modules: &["veth", "8021q", "bonding", "mpls_router"],
    commands: &[],
    nics: &[
        Nic { driver: "virtio_net", device: "virtio-net-pci,mq=off,vectors=3" },
        Nic { driver: "igb", device: "igb" },
        Nic { driver: "vmxnet3", device: "vmxnet3" },
    ],
};

/// The demonstration with the forwarding of the kernel.
pub const PE_DEMO: Guest = Guest {
    program: "pe_demo",
    modules: &["veth", "8021q", "vrf", "mpls_router", "mpls_iptunnel"],
    commands: &["ip"],
    nics: &[],
};

/// The part of the benchmark for which kernels without tc flower need another.
pub const BENCH: Guest = Guest {
    program: "bench",
    modules: &["veth", "sch_ingress", "cls_flower", "act_gact"],
    commands: &["tc"],
    nics: &[],
};
/// Where a program that measures leaves its results in the guest.
pub const RESULTS: &str = "/run/results.json";

/// The first process of every guest; where it is the program too, it starts itself again.
const INIT: &str = "guest";
const PRODUCT: &str = "mpls-xdp";
/// What the port for the verdict needs.
const VERDICT: [&str; 2] = ["virtio_pci", "virtio_console"];

impl Guest {
    /// Builds the programs.
    pub fn build(&self) -> Result<()> {
        // As it is installed: emulated, the other profile takes twice the time.
        cargo::build(&["--release", "--package", PRODUCT])?;
        let binaries = ["--package", "mpls-xdp-tests", "--bin", INIT, "--bin", self.program];
        cargo::build(&binaries)
    }

    /// Its file system for a kernel; the program gets these arguments.
    pub fn initramfs(&self, kernel: &Kernel, arguments: &[String]) -> Result<Initramfs> {
        let mut initramfs = Initramfs::default();
        let debug = cargo::target().join("debug");
        initramfs.program("/init", &debug.join(INIT))?;
        initramfs.program(format!("/bin/{}", self.program), &debug.join(self.program))?;
        let product = cargo::target().join("release").join(PRODUCT);
        initramfs.program(format!("/bin/{PRODUCT}"), &product)?;
        for name in self.commands {
            initramfs.program(format!("/bin/{name}"), &command(name)?)?;
        }
        let drivers = self.nics.iter().map(|nic| nic.driver);
        let wanted: Vec<_> =
            VERDICT.into_iter().chain(drivers).chain(self.modules.iter().copied()).collect();
        let mut paths = Vec::new();
        for module in modules::with_needs(&kernel.modules, &wanted)? {
            let path = format!("/modules/{}.ko", module.name);
            initramfs.file(&path, module.object);
            paths.push(path);
        }
        let task = json!({
            "program": format!("/bin/{}", self.program),
            "arguments": arguments,
            "modules": paths,
            "results": RESULTS,
        });
        initramfs.file("/task.json", serde_json::to_vec(&task)?);
        Ok(initramfs)
    }

    /// The options of QEMU for its NICs: two of each kind, joined by a hub.
    pub fn devices(&self) -> Vec<String> {
        let mut options = Vec::new();
        for (hub, nic) in self.nics.iter().enumerate() {
            for end in 0..2 {
                let id = format!("nic{hub}{end}");
                let mac = format!("02:00:5e:20:{hub:02x}:{end:02x}");
                // Each in a slot of its own: the virtual functions of two would get into each other's.
                let slot = format!("pcie-root-port,id=slot-{id},chassis={}", 1 + 2 * hub + end);
                let port = format!("hubport,id={id},hubid={hub}");
                let kind = nic.device;
                let device = format!("{kind},bus=slot-{id},netdev={id},mac={mac},romfile=");
                let added = ["-device", &slot, "-netdev", &port, "-device", &device];
                options.extend(added.map(str::to_owned));
            }
        }
        options
    }
}

/// Where a command of this machine is.
fn command(name: &str) -> Result<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&folders).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("the guest needs the command {name}: install it here"))
}
