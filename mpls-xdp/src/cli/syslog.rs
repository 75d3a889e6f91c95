//! Lines in the system's log, for what nobody sees on a terminal: in the journal where there is one.

use std::ffi::{CStr, CString};

/// What the lines begin with.
const NAME: &CStr = c"mpls-xdp";

/// How bad it is (RFC 5424 §6.2.1).
#[derive(Debug, Clone, Copy)]
pub(super) enum Severity {
    /// It works, but somebody should hear of it.
    Warning,
    /// It does not.
    Error,
}

/// Writes a line; where no log takes it, it is lost.
pub(super) fn write(severity: Severity, text: &str) {
    let severity = match severity {
        Severity::Warning => libc::LOG_WARNING,
        Severity::Error => libc::LOG_ERR,
    };
    // A name of a file may have anything in it.
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = CString::new(line).expect("NUL is a control character");
    // SAFETY: the name lives as long as the process, and so for all that is logged under it; the
    // format takes one string, which lives until the call ends.
    unsafe {
        libc::openlog(NAME.as_ptr(), libc::LOG_PID, libc::LOG_DAEMON);
        libc::syslog(severity, c"%s".as_ptr(), line.as_ptr());
        libc::closelog();
    }
}
