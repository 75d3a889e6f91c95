//! Who samples: one process of a network namespace at a time, since there is one ring.
//!
//! Somebody who asks for frames (`capture`) goes before somebody who shows them by the way (`top`).
//! Two files of the state folder say who does what; whoever does it has the file locked, and has
//! written the number of its process into it:
//!
//! | file | locked by |
//! |---|---|
//! | `sampling` | whoever samples |
//! | `sampling-first` | whoever goes first, from before it samples until it ends |
//!
//! In the background, a process samples only while nobody goes first: it looks for that at every
//! tick, and lets go. Whoever goes first locks its file and waits for `sampling`. Only the locks
//! decide, and the kernel takes them back from a process that dies at whatever moment, so nothing is
//! ever left to clean up.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
    process, thread,
    time::{Duration, Instant},
};

use super::Sampler;
use crate::filter::{
    FilterError, Session,
    hold::{Hold, hold, is_held},
};

const SAMPLING: &str = "sampling";
const FIRST: &str = "sampling-first";

/// How long one in the background may take to let go; more than this, and it is not running at all.
const PATIENCE: Duration = Sampler::INTERVAL.saturating_mul(20);
/// How often whoever waits looks whether it has.
const PAUSE: Duration = Duration::from_millis(5);

/// The right to sample.
#[derive(Debug)]
pub(super) enum Right {
    /// For as long as it likes.
    First { _sampling: File, _first: File },
    /// Until somebody goes first.
    Background { _sampling: File, first: File },
}

/// Another process has it, or is about to: its number, if it has told.
#[derive(Debug)]
pub(super) struct Taken(pub(super) Option<u32>);

impl Right {
    /// Goes first. Waits until a process in the background has let go.
    pub(super) fn first(session: &Session) -> Result<Result<Self, Taken>, FilterError> {
        within(&session.state, |state| {
            let mut first = open(state, FIRST)?;
            if !hold(&first, Hold::Exclusive)? {
                return Ok(Err(number(&mut first)));
            }
            sign(&mut first)?;
            let mut sampling = open(state, SAMPLING)?;
            let deadline = Instant::now() + PATIENCE;
            while !hold(&sampling, Hold::Exclusive)? {
                if Instant::now() > deadline {
                    return Ok(Err(number(&mut sampling)));
                }
                thread::sleep(PAUSE);
            }
            sign(&mut sampling)?;
            Ok(Ok(Self::First { _sampling: sampling, _first: first }))
        })
    }

    /// Samples while nobody else does.
    pub(super) fn background(session: &Session) -> Result<Result<Self, Taken>, FilterError> {
        within(&session.state, |state| {
            let (mut first, mut sampling) = (open(state, FIRST)?, open(state, SAMPLING)?);
            if is_held(&first)? {
                return Ok(Err(number(&mut first)));
            }
            if !hold(&sampling, Hold::Exclusive)? {
                return Ok(Err(number(&mut sampling)));
            }
            sign(&mut sampling)?;
            Ok(Ok(Self::Background { _sampling: sampling, first }))
        })
    }

    /// Who has it, or is about to. Takes no lock.
    pub(super) fn holder(state: &Path) -> Result<Option<Taken>, FilterError> {
        within(state, |state| {
            for name in [FIRST, SAMPLING] {
                match File::open(state.join(name)) {
                    Ok(mut file) if is_held(&file)? => return Ok(Some(number(&mut file))),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(None)
        })
    }

    /// Who is waiting for it to be let go.
    pub(super) fn wanted(&mut self) -> io::Result<Option<Taken>> {
        match self {
            Self::Background { first, .. } if is_held(&*first)? => Ok(Some(number(first))),
            Self::Background { .. } | Self::First { .. } => Ok(None),
        }
    }
}

fn within<T>(state: &Path, task: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, FilterError> {
    task(state).map_err(|source| FilterError::State { path: state.to_owned(), source })
}

fn open(state: &Path, name: &str) -> io::Result<File> {
    fs::create_dir_all(state)?;
    File::options().create(true).read(true).append(true).open(state.join(name))
}

/// Writes who has the file now.
fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    write!(file, "{}", process::id())
}

/// Who has signed. For people only: a process that has just locked the file may not have yet.
fn number(file: &mut File) -> Taken {
    let mut text = String::new();
    let read = file.read_to_string(&mut text);
    Taken(read.ok().and_then(|_| text.parse().ok()))
}
