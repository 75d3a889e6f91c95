//! The guest's own NICs: two of each driver, joined by a wire.

use std::fs;
use std::ops::Deref;

use anyhow::{Context, Result, bail};
use rustix::system::uname;

use crate::demo::{Router, Wire};
use crate::frame::{EXPERIMENTAL, Frame};
use crate::lab::{Link, Namespace, PATIENCE, Veth};

/// What an Ethernet carries unless told otherwise.
pub const MTU: u32 = 1_500;
/// Where the kernel lists the interfaces of the machine.
const INTERFACES: &str = "/sys/class/net";

/// A release of the kernel: its first two numbers.
pub type Release = (u32, u32);

/// A driver, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Driver {
    /// The name of its module.
    pub name: &'static str,
    /// The first release in which it has native XDP.
    pub native_since: Release,
    /// The first release in which it takes a program with an MTU of 9000, if there is one.
    pub jumbo_since: Option<Release>,
    /// Whether it takes tags out of received frames unless told otherwise.
    pub strips_tags: bool,
    /// Whether frames longer than an MTU of 1500 come through for sure. Where the driver has had an
    /// XDP program before, QEMU's vmxnet3 carries none.
    pub carries_jumbo: bool,
    /// How often the filter comes and goes on it; 50 times on all together.
    pub cycles: usize,
}

/// The drivers that the guest has NICs of.
pub const DRIVERS: [Driver; 3] = [
    Driver {
        name: "virtio_net",
        native_since: (4, 10),
        jumbo_since: Some((6, 3)),
        strips_tags: false,
        carries_jumbo: true,
        cycles: 30,
    },
    Driver {
        name: "igb",
        native_since: (5, 10),
        jumbo_since: None,
        strips_tags: true,
        carries_jumbo: true,
        cycles: 10,
    },
    Driver {
        name: "vmxnet3",
        native_since: (6, 6),
        jumbo_since: None,
        strips_tags: true,
        carries_jumbo: false,
        cycles: 10,
    },
];

/// A router with a wire of NICs, which the guest gets back afterwards.
pub struct Wired {
    router: Router,
    /// Given back when this is dropped.
    _nics: Vec<Borrowed>,
}

/// A NIC in a namespace of the lab, and what the guest calls it.
struct Borrowed {
    link: Link,
    name: String,
}

impl Deref for Wired {
    type Target = Router;

    fn deref(&self) -> &Router {
        &self.router
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Err(error) = self.link.give_back(&self.name) {
            // The next check says that it lacks the NIC.
            println!("{} cannot be given back: {error:#}", self.link);
        }
    }
}

/// A router whose interfaces are the first NICs of these drivers, or veths where none is named.
pub fn router(interfaces: &[(&str, Option<&Driver>)]) -> Result<Wired> {
    let namespace = Namespace::new("pe1")?;
    let (mut wires, mut nics) = (Vec::new(), Vec::new());
    for (interface, driver) in interfaces {
        match driver {
            Some(driver) => {
                let (wire, borrowed) = driver.wire(&namespace, interface, MTU)?;
                wires.push(wire);
                nics.extend(borrowed);
            }
            None => wires.push(veth(&namespace, interface)?),
        }
    }
    Ok(Wired { router: Router::of(namespace, wires)?, _nics: nics })
}

fn veth(router: &Namespace, interface: &str) -> Result<Wire> {
    let neighbour = Namespace::new("neighbour")?;
    let (interface, uplink) =
        Veth::between((router, interface), (&neighbour, "uplink")).create()?;
    Wire::of(interface, uplink)
}

impl Driver {
    /// Whether it has native XDP in the running kernel.
    pub fn is_native(&self) -> Result<bool> {
        Ok(release()? >= self.native_since)
    }

    /// Whether it takes a program with an MTU of 9000 in the running kernel.
    pub fn is_native_with_jumbo(&self) -> Result<bool> {
        let release = release()?;
        Ok(self.jumbo_since.is_some_and(|since| release >= since))
    }

    /// A router with one NIC of this driver, called `eth3`, and the other in the neighbour's hands.
    pub fn router(&self, mtu: u32) -> Result<Wired> {
        let namespace = Namespace::new("pe1")?;
        let (wire, nics) = self.wire(&namespace, "eth3", mtu)?;
        Ok(Wired { router: Router::of(namespace, vec![wire])?, _nics: nics.into() })
    }

    /// A wire of its two NICs into a namespace, the end there under this name.
    fn wire(&self, router: &Namespace, name: &str, mtu: u32) -> Result<(Wire, [Borrowed; 2])> {
        let neighbour = Namespace::new("neighbour")?;
        let [inside, outside] = self.nics()?;
        let adopt = |nic: String, namespace, name| -> Result<Borrowed> {
            Ok(Borrowed { link: Link::adopt(&nic, namespace, name, mtu)?, name: nic })
        };
        let nics = [adopt(inside, router, name)?, adopt(outside, &neighbour, "uplink")?];
        for nic in &nics {
            nic.link.wait_until_running()?;
        }
        let [interface, uplink] = nics.each_ref().map(|nic| nic.link.clone());
        Ok((Wire::of(interface, uplink)?, nics))
    }

    /// Its two NICs, by their addresses.
    fn nics(&self) -> Result<[String; 2]> {
        let mut found = Vec::new();
        for entry in fs::read_dir(INTERFACES)? {
            let path = entry?.path();
            let driver = fs::read_link(path.join("device/driver"));
            if driver.is_ok_and(|driver| driver.ends_with(self.name)) {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                found.push((fs::read_to_string(path.join("address"))?, name));
            }
        }
        found.sort();
        match &found[..] {
            [(_, inside), (_, outside)] => Ok([inside.clone(), outside.clone()]),
            _ => bail!("the guest should have two NICs of {}: {found:?}", self.name),
        }
    }
}

/// The shortest frame that comes through a wire: NICs may fill up shorter ones with zeroes.
pub fn shortest(wire: &Wire) -> Result<usize> {
    let frame = Frame::new(EXPERIMENTAL).cut(14).build();
    wire.outside.send(&frame)?;
    let start = frame.clone();
    let got = wire
        .inside
        .collect_until(PATIENCE, |frames| frames.iter().any(|frame| frame.starts_with(&start)))?;
    got.iter()
        .find(|frame| frame.starts_with(&start))
        .map(Vec::len)
        .context("the frame that was waited for is gone")
}

/// The frame as it is on such a wire.
pub fn filled_up(mut frame: Vec<u8>, shortest: usize) -> Vec<u8> {
    let length = frame.len().max(shortest);
    frame.resize(length, 0);
    frame
}

/// The running kernel.
pub fn release() -> Result<Release> {
    let name = uname().release().to_string_lossy().into_owned();
    let mut numbers = name.split(['.', '-', '+']).map_while(|number| number.parse().ok());
    let release = numbers.next().zip(numbers.next());
    release.with_context(|| format!("the kernel calls itself {name}"))
}
