//! Locks that can be seen without being taken.
//!
//! Whether somebody has a `flock` shows only to those who try to take it, and who tries may get it
//! for a moment, which keeps others from it. These are locks of open file descriptions (`F_OFD_SETLK`
//! in fcntl(2)): the kernel tells who asks whether there is one. It takes them back when the process
//! dies.

use std::{io, os::fd::AsFd};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    libc,
};

/// What a lock keeps others from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// From an exclusive one. Any file that can be read will do, a folder too.
    Shared,
    /// From every other one. The file must be open for writing.
    Exclusive,
}

/// Takes a lock of a whole file until it is closed; says whether nobody else was in the way.
pub(crate) fn hold(file: impl AsFd, how: Hold) -> io::Result<bool> {
    let kind = match how {
        Hold::Shared => libc::F_RDLCK,
        Hold::Exclusive => libc::F_WRLCK,
    };
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(kind))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether somebody has a lock of a file other than through `file` itself. Takes none.
pub(crate) fn is_held(file: impl AsFd) -> io::Result<bool> {
    let mut found = whole_file(libc::F_WRLCK);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut found))?;
    Ok(i32::from(found.l_type) != libc::F_UNLCK)
}

#[expect(clippy::cast_possible_truncation, reason = "the constants are smaller than their type")]
fn whole_file(kind: libc::c_int) -> libc::flock {
    let whence = libc::SEEK_SET as libc::c_short;
    libc::flock { l_type: kind as libc::c_short, l_whence: whence, l_start: 0, l_len: 0, l_pid: 0 }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn who_looks_sees_a_lock_and_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("held");
        let open = || File::options().create(true).read(true).append(true).open(&path).unwrap();
        let [first, second] = [open(), open()];
        let looker = File::open(&path).unwrap();
        assert!(!is_held(&looker).unwrap());
        assert!(hold(&first, Hold::Exclusive).unwrap());
        assert!(is_held(&looker).unwrap() && !is_held(&first).unwrap());
        assert!(!hold(&second, Hold::Exclusive).unwrap());
        drop(first);
        assert!(!is_held(&looker).unwrap());
        assert!(hold(&second, Hold::Exclusive).unwrap());
    }

    #[test]
    fn a_folder_can_be_held() {
        let folder = tempfile::tempdir().unwrap();
        let [holder, looker] = [(); 2].map(|()| File::open(folder.path()).unwrap());
        assert!(hold(&holder, Hold::Shared).unwrap());
        assert!(is_held(&looker).unwrap());
        drop(holder);
        assert!(!is_held(&looker).unwrap());
    }
}
