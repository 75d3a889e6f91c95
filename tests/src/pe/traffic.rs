//! What the customers' hosts say to each other while all this happens, and what they receive.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::network::Host;
use crate::lab::{Namespace, PATIENCE};

/// How long a conversation pauses after each answer, so that four of them leave the CPU to the rest.
const PACE: Duration = Duration::from_millis(10);
/// How often a thread that hears nothing looks whether it is to end.
const ATTENTION: Duration = Duration::from_millis(100);

/// Where hosts answer (RFC 862).
const ECHO: u16 = 7;
/// Where hosts only listen (RFC 863).
const DISCARD: u16 = 9;

/// A host that answers each datagram with its name and what it was sent.
#[derive(Debug)]
pub(super) struct Answering(Worker);

impl Answering {
    pub(super) fn start(host: &Host) -> Result<Self> {
        let socket = socket_in(&host.namespace, ECHO)?;
        socket.set_read_timeout(Some(ATTENTION))?;
        let name = host.to_string();
        Ok(Self(Worker::start(move |stop| {
            let mut buffer = [0; 1_500];
            while !stop.load(Ordering::Relaxed) {
                // An answer that cannot be sent is missed where it was to arrive.
                if let Some((length, from)) = heard(socket.recv_from(&mut buffer))? {
                    let said = String::from_utf8_lossy(&buffer[..length]);
                    let _missed = socket.send_to(answer(&name, &said).as_bytes(), from);
                }
            }
            Ok(())
        })))
    }

    pub(super) fn stop(self) -> Result<()> {
        self.0.stop()
    }
}

/// A host that asks another one again and again. Each question has a number and waits for its own
/// answer, which says who gave it.
#[derive(Debug)]
pub(super) struct Conversation {
    /// The two hosts and what lies between them.
    pub(super) title: String,
    tally: Arc<Shared>,
    worker: Worker,
}

/// What became of the questions so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// How many were answered.
    pub(super) answered: u64,
    /// The numbers of those that were not.
    pub(super) lost: BTreeSet<u64>,
    /// Something else than the answer.
    pub(super) strange: Option<String>,
}

impl Tally {
    /// Whether every question got its answer.
    pub(super) fn is_spotless(&self) -> bool {
        self.answered > 0 && self.lost.is_empty()
    }
}

#[derive(Debug, Default)]
struct Shared {
    tally: Mutex<Tally>,
    grown: Condvar,
}

impl Conversation {
    pub(super) fn start(from: &Host, to: &Host, path: &str) -> Result<Self> {
        let tally = Arc::<Shared>::default();
        let counted = Arc::clone(&tally);
        let mut dialogue = Dialogue::new(from, to)?;
        let worker = Worker::start(move |stop| {
            while !stop.load(Ordering::Relaxed) {
                let outcome = dialogue.ask().unwrap_or_else(|error| Outcome::failed(&error));
                counted.record(dialogue.number, outcome);
                thread::sleep(PACE);
            }
            Ok(())
        });
        Ok(Self { title: format!("{from} → {to}, {path}"), tally, worker })
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally.lock().clone()
    }

    /// Waits until so many more questions than at an earlier time are answered, or one is lost,
    /// which each is that waits too long.
    pub(super) fn wait_for(&self, more: u64, since: &Tally) {
        let wanted = since.answered + more;
        let going_on = |tally: &mut Tally| tally.lost.is_empty() && tally.answered < wanted;
        let waited = self.tally.grown.wait_while(self.tally.lock(), going_on);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Ends the conversation after the answer to its last question.
    pub(super) fn stop(self) -> Result<Tally> {
        self.worker.stop().with_context(|| format!("while {} went on", self.title))?;
        Ok(self.tally.lock().clone())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, number: u64, outcome: Outcome) {
        let mut tally = self.lock();
        match outcome {
            Outcome::Answered => tally.answered += 1,
            Outcome::Lost => {
                tally.lost.insert(number);
            }
            Outcome::Strange(said) => {
                tally.lost.insert(number);
                tally.strange.get_or_insert(said);
            }
        }
        self.grown.notify_all();
    }
}

/// One host's questions to another, in lockstep.
#[derive(Debug)]
pub(super) struct Dialogue {
    socket: UdpSocket,
    names: [String; 2],
    to: SocketAddrV4,
    /// The number of the last question.
    number: u64,
}

enum Outcome {
    Answered,
    Lost,
    Strange(String),
}

impl Outcome {
    /// A question that could not even be sent.
    fn failed(error: &anyhow::Error) -> Self {
        Self::Strange(format!("{error:#}"))
    }
}

impl Dialogue {
    pub(super) fn new(from: &Host, to: &Host) -> Result<Self> {
        let names = [from, to].map(Host::to_string);
        let socket = socket_in(&from.namespace, 0)?;
        Ok(Self { socket, names, to: SocketAddrV4::new(to.address, ECHO), number: 0 })
    }

    /// Asks once more and insists on the answer: then everything sent before on the same way has
    /// gone it.
    pub(super) fn round_trip(&mut self) -> Result<()> {
        let outcome = self.ask()?;
        let [from, to] = &self.names;
        ensure!(matches!(outcome, Outcome::Answered), "{to} does not answer {from}");
        Ok(())
    }

    fn ask(&mut self) -> Result<Outcome> {
        self.number += 1;
        let [from, to] = &self.names;
        let question = format!("{from} asks {to}: {}", self.number);
        let wanted = answer(to, &question);
        self.socket.send_to(question.as_bytes(), self.to).with_context(|| question.clone())?;
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 1_500];
        loop {
            let Some(length) = receive_before(&self.socket, deadline, &mut buffer)? else {
                return Ok(Outcome::Lost);
            };
            let said = String::from_utf8_lossy(&buffer[..length.0]);
            if said == wanted {
                return Ok(Outcome::Answered);
            }
            // An answer to an earlier question is late, which is another matter.
            if !said.starts_with(&format!("{to} answers {from} asks {to}: ")) {
                return Ok(Outcome::Strange(said.into_owned()));
            }
        }
    }
}

/// A datagram and whose address it bears.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Datagram {
    pub(super) from: Ipv4Addr,
    pub(super) text: String,
}

/// A socket of a host that takes what comes.
#[derive(Debug)]
pub(super) struct Mailbox {
    owner: String,
    address: SocketAddrV4,
    socket: UdpSocket,
}

impl Mailbox {
    pub(super) fn of(host: &Host) -> Result<Self> {
        let address = SocketAddrV4::new(host.address, DISCARD);
        let socket = socket_in(&host.namespace, DISCARD)?;
        Ok(Self { owner: host.to_string(), address, socket })
    }

    /// Where to write to.
    pub(super) fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Takes what came before this text, and goes on until so many datagrams are there.
    ///
    /// Whoever expects none must know by the text that none is on its way.
    pub(super) fn take_up_to(&self, last: &str, expected: usize) -> Result<Vec<Datagram>> {
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 1_500];
        let (mut taken, mut ended) = (Vec::new(), false);
        while !ended || taken.len() < expected {
            let Some((length, from)) = receive_before(&self.socket, deadline, &mut buffer)? else {
                ensure!(ended, "{} misses “{last}”", self.owner);
                break;
            };
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text == last {
                ended = true;
            } else {
                taken.push(Datagram { from, text });
            }
        }
        Ok(taken)
    }
}

/// A UDP socket of a namespace.
pub(super) fn socket_in(namespace: &Namespace, port: u16) -> Result<UdpSocket> {
    let bind = || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port));
    namespace.run(|| bind().with_context(|| format!("making a socket with port {port}")))
}

fn answer(name: &str, question: &str) -> String {
    format!("{name} answers {question}")
}

fn receive_before(
    socket: &UdpSocket,
    deadline: Instant,
    buffer: &mut [u8],
) -> Result<Option<(usize, Ipv4Addr)>> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left))?;
        if let Some((length, SocketAddr::V4(from))) = heard(socket.recv_from(buffer))? {
            return Ok(Some((length, *from.ip())));
        }
    }
}

/// Nothing, if nothing came in time.
fn heard<T>(received: io::Result<T>) -> io::Result<Option<T>> {
    match received {
        Ok(received) => Ok(Some(received)),
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Ok(None),
            _ => Err(error),
        },
    }
}

/// A thread that is told when to end.
#[derive(Debug)]
struct Worker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Worker {
    fn start(work: impl FnOnce(&AtomicBool) -> Result<()> + Send + 'static) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let told = Arc::clone(&stop);
        Self { stop, thread: Some(thread::spawn(move || work(&told))) }
    }

    fn stop(mut self) -> Result<()> {
        self.join()
    }

    fn join(&mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Whoever leaves early has an error of its own to tell.
            let _result = thread.join();
        }
    }
}
