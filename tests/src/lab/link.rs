//! Interfaces of a lab.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::{
    BondMode, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkMessage, LinkXdp,
    VlanProtocol,
};
use rtnetlink::{Error, Handle, LinkBond, LinkDummy, LinkMessageBuilder, LinkUnspec, LinkVlan};

use super::offload::Features;
use super::{HandWritten, Namespace, PATIENCE, Port, netlink};

/// How often to look: the kernel tells nobody when it has replaced the queue.
const INTERVAL: Duration = Duration::from_millis(1);

/// Tags in metadata instead of in the frame.
const TAG_INSERTION: [&str; 2] = ["tx-vlan-hw-insert", "tx-vlan-stag-hw-insert"];
/// What every TCP segmentation offload's name starts with.
const SEGMENTATION: &str = "tx-tcp";
const RECEIVE_OFFLOAD: &str = "rx-gro";

/// An interface that the lab made. It lives as long as its namespace.
#[derive(Clone, Debug)]
pub struct Link {
    namespace: Namespace,
    name: String,
}

impl Link {
    /// Makes a dummy interface, up: it swallows what is sent on it and receives nothing.
    ///
    /// # Errors
    ///
    /// When the kernel has no dummy interfaces or refuses this one.
    pub fn dummy(namespace: &Namespace, name: &str) -> Result<Self> {
        Self::add(namespace, name, async |_| Ok(LinkDummy::new(name)))
    }

    /// Moves an interface of the machine into a namespace, under this name and with this MTU, up,
    /// and open for frames to any address. For a guest, whose interfaces are all its own.
    ///
    /// # Errors
    ///
    /// When there is no such interface, or the kernel refuses.
    pub fn adopt(existing: &str, namespace: &Namespace, name: &str, mtu: u32) -> Result<Self> {
        netlink::request(&Namespace::own()?, async |handle| {
            let message = LinkUnspec::new_with_index(index(&handle, existing).await?)
                .name(name)
                .setns_by_fd(namespace.as_fd().as_raw_fd())
                .build();
            let moved = handle.link().change(message).execute().await;
            moved.with_context(|| format!("moving {existing} into {namespace}"))
        })?;
        let link = Self { namespace: namespace.clone(), name: name.to_owned() };
        link.change(|message| message.mtu(mtu).promiscuous(true).up())?;
        Ok(link)
    }

    /// Moves an adopted interface back to the machine, under this name.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn give_back(&self, name: &str) -> Result<()> {
        let machine = Namespace::own()?;
        self.change(|message| message.promiscuous(false).down())?;
        self.change(|message| message.name(name).setns_by_fd(machine.as_fd().as_raw_fd()))
    }

    /// Makes a VLAN device on this interface, up, with tags of this TPID (0x8100 or 0x88a8).
    ///
    /// # Errors
    ///
    /// When the kernel has no VLAN devices or refuses this one.
    pub fn vlan(&self, name: &str, tpid: u16, vid: u16) -> Result<Self> {
        let protocol = match tpid {
            0x8100 => VlanProtocol::Ieee8021Q,
            0x88a8 => VlanProtocol::Ieee8021Ad,
            _ => return Err(anyhow!("Linux has no VLAN devices with TPID {tpid:#06x}")),
        };
        Self::add(&self.namespace, name, async |handle| {
            let parent = index(&handle, &self.name).await?;
            Ok(LinkVlan::new(name, parent, vid).protocol(protocol))
        })
    }

    /// Makes a bond (active-backup) of these interfaces of the namespace, all up.
    ///
    /// # Errors
    ///
    /// When the kernel has no bonds or refuses this one.
    pub fn bond(namespace: &Namespace, name: &str, members: &[&Self]) -> Result<Self> {
        let bond = Self::add(namespace, name, async |_| {
            Ok(LinkBond::new(name).mode(BondMode::ActiveBackup).miimon(10))
        })?;
        for member in members {
            bond.enslave(member)?;
        }
        bond.wait_until_running()?;
        Ok(bond)
    }

    /// Makes an interface a member of this bond.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn enslave(&self, member: &Self) -> Result<()> {
        let controller = self.index()?;
        // A member must be down to join; joining sets it up.
        member.set_down()?;
        member
            .change(move |message| message.controller(controller))
            .with_context(|| format!("making {member} a member of {self}"))
    }

    /// The namespace that the interface is in.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The interface's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The interface's index; other namespaces may use the same.
    ///
    /// # Errors
    ///
    /// When the interface is not there any more.
    pub fn index(&self) -> Result<u32> {
        Ok(self.state()?.header.index)
    }

    /// The interface's MAC address.
    ///
    /// # Errors
    ///
    /// When the interface is not there any more or has no such address.
    pub fn mac_address(&self) -> Result<[u8; 6]> {
        let state = self.state()?;
        let address = state.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Address(address) => <[u8; 6]>::try_from(address.as_slice()).ok(),
            _ => None,
        });
        address.with_context(|| format!("{self} has no MAC address"))
    }

    /// The XDP program on the interface, by the kernel's number.
    ///
    /// # Errors
    ///
    /// When the interface is not there any more.
    pub fn xdp_program(&self) -> Result<Option<u32>> {
        let state = self.state()?;
        let nested = state.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Xdp(nested) => Some(nested),
            _ => None,
        });
        let id = |attribute: &LinkXdp| match attribute {
            LinkXdp::ProgId(id) => Some(*id),
            _ => None,
        };
        Ok(nested.and_then(|nested| nested.iter().find_map(id)))
    }

    /// Attaches a program natively over RTNETLINK, as `ip link` does: it stays until it is taken
    /// off or the interface goes.
    ///
    /// # Errors
    ///
    /// When another program is there.
    pub fn attach_over_netlink(&self, program: &HandWritten) -> Result<()> {
        const NATIVE: u32 = 1 << 2;
        let program = program.as_fd().as_raw_fd();
        let attribute = LinkAttribute::Xdp(vec![LinkXdp::Fd(program), LinkXdp::Flags(NATIVE)]);
        self.change(|message| message.append_extra_attribute(attribute))
    }

    /// Opens a port on the interface.
    ///
    /// # Errors
    ///
    /// See [`Port::open`].
    pub fn port(&self) -> Result<Port> {
        Port::open(&self.namespace, &self.name)
    }

    /// Sets the interface up, without waiting for it to carry frames.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn set_up(&self) -> Result<()> {
        self.change(LinkMessageBuilder::up)
    }

    /// Sets the interface down.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn set_down(&self) -> Result<()> {
        self.change(LinkMessageBuilder::down)
    }

    /// Sets the MTU.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn set_mtu(&self, mtu: u32) -> Result<()> {
        self.change(|message| message.mtu(mtu))
    }

    /// Waits until frames that are sent on the interface leave it.
    ///
    /// # Errors
    ///
    /// When that does not happen in time.
    pub fn wait_until_running(&self) -> Result<()> {
        netlink::request(&self.namespace, async |handle| {
            let deadline = Instant::now() + PATIENCE;
            while !carries_frames(&state(&handle, &self.name).await?) {
                ensure!(Instant::now() < deadline, "{self} carries nothing after {PATIENCE:?}");
                thread::sleep(INTERVAL);
            }
            Ok(())
        })
    }

    /// Removes the interface, and with it the other end of a veth.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn remove(self) -> Result<()> {
        netlink::request(&self.namespace, async |handle| {
            let index = index(&handle, &self.name).await?;
            handle.link().del(index).execute().await.with_context(|| format!("removing {self}"))
        })
    }

    /// Whether an offload feature is on, `rx-vlan-hw-parse` for example.
    ///
    /// # Errors
    ///
    /// When the kernel has no such feature or the interface is gone.
    pub fn feature(&self, name: &str) -> Result<bool> {
        self.namespace.run(|| Features::of(&self.name)?.is_on(name))
    }

    /// Turns an offload feature on or off.
    ///
    /// # Errors
    ///
    /// When the kernel has no such feature, or the driver leaves it as it was.
    pub fn set_feature(&self, name: &str, on: bool) -> Result<()> {
        self.namespace.run(|| Features::of(&self.name)?.set(&[name], on))
    }

    /// Makes an interface from the message that the closure begins, up.
    fn add<T>(
        namespace: &Namespace,
        name: &str,
        begin: impl AsyncFnOnce(Handle) -> Result<LinkMessageBuilder<T>> + Send,
    ) -> Result<Self> {
        netlink::request(namespace, async |handle| {
            let message = begin(handle.clone()).await?.up().multicast(false).build();
            create(&handle, message).await.with_context(|| format!("making {name}"))
        })?;
        Ok(Self { namespace: namespace.clone(), name: name.to_owned() })
    }

    fn change(
        &self,
        change: impl FnOnce(LinkMessageBuilder<LinkUnspec>) -> LinkMessageBuilder<LinkUnspec> + Send,
    ) -> Result<()> {
        netlink::request(&self.namespace, async |handle| {
            let index = index(&handle, &self.name).await?;
            let message = change(LinkUnspec::new_with_index(index)).build();
            let changed = handle.link().change(message).execute().await;
            changed.with_context(|| format!("changing {self}"))
        })
    }

    fn state(&self) -> Result<LinkMessage> {
        netlink::request(&self.namespace, async |handle| state(&handle, &self.name).await)
    }

    /// Makes a veth end carry frames in order and with their tags, whatever is attached to it.
    ///
    /// With receive offload on at this end and segmentation off at the other, every frame goes
    /// through this end's one ring, as with an XDP program; else through the queue of whichever CPU
    /// the sender happens to be on. Redirection to this end by XDP needs the ring as well.
    fn keep_order_and_tags(&self) -> Result<()> {
        self.namespace.run(|| {
            let features = Features::of(&self.name)?;
            features.set(&TAG_INSERTION, false)?;
            features.set(&features.starting_with(SEGMENTATION), false)?;
            features.set(&[RECEIVE_OFFLOAD], true)
        })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.name, self.namespace)
    }
}

/// A veth pair in the making.
#[derive(Clone, Debug)]
pub struct Veth {
    ends: [Link; 2],
    mtu: Option<u32>,
    queues: u32,
}

impl Veth {
    /// A pair with one end in each of these namespaces, which may be the same.
    #[must_use]
    pub fn between(left: (&Namespace, &str), right: (&Namespace, &str)) -> Self {
        let end = |(namespace, name): (&Namespace, &str)| Link {
            namespace: namespace.clone(),
            name: name.to_owned(),
        };
        Self { ends: [end(left), end(right)], mtu: None, queues: 1 }
    }

    /// With this MTU at both ends, instead of 1500.
    #[must_use]
    pub const fn mtu(mut self, mtu: u32) -> Self {
        self.mtu = Some(mtu);
        self
    }

    /// With so many queues in each direction, so that as many CPUs can send at a time: the order is
    /// kept for the frames of one CPU only.
    #[must_use]
    pub const fn queues(mut self, queues: u32) -> Self {
        self.queues = queues;
        self
    }

    /// Makes the pair, sets it up and waits until it carries frames.
    ///
    /// It carries only what is sent on purpose, since IPv6 and multicast are off; it keeps the
    /// frames' order with its one queue in each direction; and tags stay in the frames' bytes.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, for example a name that is taken.
    pub fn create(self) -> Result<(Link, Link)> {
        let [left, right] = self.ends;
        let peer = message(self.mtu, self.queues, LinkUnspec::new_with_name(&right.name))
            .setns_by_fd(right.namespace.as_fd().as_raw_fd())
            .build();
        let pair = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Veth)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .name(&left.name);
        let pair = message(self.mtu, self.queues, pair).build();
        netlink::request(&left.namespace, async |handle| create(&handle, pair).await)
            .with_context(|| format!("making a veth pair of {left} and {right}"))?;
        for end in [&left, &right] {
            end.keep_order_and_tags().with_context(|| format!("preparing {end}"))?;
            end.set_up()?;
        }
        for end in [&left, &right] {
            end.wait_until_running()?;
        }
        Ok((left, right))
    }
}

/// Whether the kernel can make links of this kind over RTNETLINK, perhaps by loading a module.
///
/// # Errors
///
/// When not root, or when there is no namespace to try it in.
pub fn kernel_has(kind: InfoKind) -> Result<bool> {
    let namespace = Namespace::new("trial")?;
    netlink::request(&namespace, async |handle| {
        let message =
            LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(kind).name("trial").build();
        // A kind that it has may still ask for more than a name.
        Ok(!matches!(handle.link().add(message).execute().await, Err(error) if is_unknown(&error)))
    })
}

/// What both ends of a veth pair have in common.
fn message(
    mtu: Option<u32>,
    queues: u32,
    message: LinkMessageBuilder<LinkUnspec>,
) -> LinkMessageBuilder<LinkUnspec> {
    let message = message
        .multicast(false)
        .append_extra_attribute(LinkAttribute::NumTxQueues(queues))
        .append_extra_attribute(LinkAttribute::NumRxQueues(queues));
    match mtu {
        Some(mtu) => message.mtu(mtu),
        None => message,
    }
}

async fn create(handle: &Handle, message: LinkMessage) -> Result<()> {
    handle.link().add(message).execute().await.map_err(|error| {
        if is_unknown(&error) {
            anyhow!(error).context("this kernel does not have that kind of link")
        } else {
            error.into()
        }
    })
}

fn is_unknown(error: &Error) -> bool {
    matches!(error, Error::NetlinkError(message) if message.raw_code() == -libc::EOPNOTSUPP)
}

async fn state(handle: &Handle, name: &str) -> Result<LinkMessage> {
    let mut answers = std::pin::pin!(handle.link().get().match_name(name).execute());
    let answer = answers.try_next().await.with_context(|| format!("looking {name} up"))?;
    answer.with_context(|| format!("there is no interface {name}"))
}

async fn index(handle: &Handle, name: &str) -> Result<u32> {
    Ok(state(handle, name).await?.header.index)
}

/// Up, with carrier, and with a queue that sends: a new link first has one that discards.
fn carries_frames(link: &LinkMessage) -> bool {
    let discards = |attribute: &LinkAttribute| matches!(attribute, LinkAttribute::Qdisc(name) if name == "noop");
    link.header.flags.contains(LinkFlags::Running) && !link.attributes.iter().any(discards)
}
