//! A network namespace for one unit test.

use std::process::Command;
use std::thread;

/// Runs a test in a thread that has an empty network namespace of its own.
///
/// Fails loudly without root: a test that did not run must not look like one that passed.
pub(super) fn in_fresh_namespace<T: Send + 'static>(
    test: impl FnOnce() -> T + Send + 'static,
) -> T {
    let thread = thread::spawn(move || {
        // SAFETY: affects only this thread, which ends with the test.
        let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        let error = std::io::Error::last_os_error();
        assert_eq!(result, 0, "this test needs root for a network namespace: {error}");
        test()
    });
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Runs `ip` in the namespace of the calling thread.
pub(super) fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {errors}");
}
