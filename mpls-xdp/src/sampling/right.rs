//! Who samples: one process of a network namespace at a time, since there is one ring.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    process,
};

use crate::filter::{FilterError, Session, session::try_lock};

/// The file of the state folder whose lock the process holds; it has its number.
const LOCK: &str = "sampling";

/// The right to sample. The kernel takes it back when the process dies.
#[derive(Debug)]
pub(super) struct Right {
    _lock: File,
}

/// Another process has it: its number, if it has told.
pub(super) struct Taken(pub(super) Option<u32>);

impl Right {
    pub(super) fn take(session: &Session) -> Result<Result<Self, Taken>, FilterError> {
        let (mut lock, held) = try_lock(&session.state, LOCK)?;
        let result = if held {
            lock.set_len(0).and_then(|()| write!(lock, "{}", process::id())).map(|()| Ok(lock))
        } else {
            let mut text = String::new();
            lock.read_to_string(&mut text).map(|_| Err(Taken(text.parse().ok())))
        };
        let result = result
            .map_err(|source| FilterError::State { path: session.state.join(LOCK), source })?;
        Ok(result.map(|_lock| Self { _lock }))
    }
}
