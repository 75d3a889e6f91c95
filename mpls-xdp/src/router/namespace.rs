use std::ffi::CString;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use super::RouterError;

/// A number that no other network namespace has or had since this machine booted.
///
/// # Errors
///
/// Where the kernel is older than 5.14.
pub fn namespace_cookie() -> Result<u64, RouterError> {
    cookie().map_err(|source| RouterError::NamespaceCookie { source })
}

fn cookie() -> io::Result<u64> {
    let socket = UnixDatagram::unbound()?;
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open for the whole call, `cookie` and `length` are valid for
    // writes, and `length` is the size of `cookie`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// Whether a path lies in a BPF file system, where programs and maps can be pinned.
///
/// A path that does not exist does not.
#[must_use]
pub fn is_bpffs(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    let mut file_system = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: `path` ends with a NUL and `file_system` is valid for a write of its type.
    if unsafe { libc::statfs(path.as_ptr(), file_system.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: statfs succeeded, so it has filled the structure.
    unsafe { file_system.assume_init() }.f_type == libc::BPF_FS_MAGIC
}

#[cfg(test)]
mod tests {
    use super::super::fresh_namespace::in_fresh_namespace;
    use super::*;

    #[test]
    fn the_cookie_is_stable_and_differs_between_namespaces() {
        let here = namespace_cookie().unwrap();
        assert_ne!(here, 0);
        assert_eq!(here, namespace_cookie().unwrap());
        let there = in_fresh_namespace(|| namespace_cookie().unwrap());
        assert_ne!(here, there);
        assert_ne!(there, in_fresh_namespace(|| namespace_cookie().unwrap()));
    }

    #[test]
    fn only_a_bpf_file_system_is_one() {
        assert!(!is_bpffs(Path::new("/proc")));
        assert!(!is_bpffs(Path::new("/nowhere/at/all")));
        assert!(!is_bpffs(Path::new("/a\0b")));
        let directory = tempfile::tempdir().unwrap();
        let mount_point = directory.path().to_path_buf();
        assert!(!is_bpffs(&mount_point));
        let seen = in_fresh_namespace(move || {
            let target = CString::new(mount_point.as_os_str().as_bytes()).unwrap();
            // SAFETY: changes only this thread's mount namespace, and the strings end with a NUL.
            unsafe {
                assert_eq!(libc::unshare(libc::CLONE_NEWNS), 0);
                let private = libc::MS_REC | libc::MS_PRIVATE;
                let none = std::ptr::null();
                assert_eq!(libc::mount(none, c"/".as_ptr(), none, private, none.cast()), 0);
                let bpf = c"bpf".as_ptr();
                assert_eq!(libc::mount(bpf, target.as_ptr(), bpf, 0, none.cast()), 0);
            }
            is_bpffs(&mount_point)
        });
        assert!(seen);
    }
}
