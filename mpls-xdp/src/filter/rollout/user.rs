//! Who runs the command.

use std::{env, fs};

/// What the kernel says where nobody logged in.
const NOBODY_LOGGED_IN: u32 = u32::MAX;

/// Whoever called `sudo`, or logged in before becoming root, or runs the command; by name, or as a
/// number that has no name in `/etc/passwd`.
pub(super) fn name() -> String {
    let login = fs::read_to_string("/proc/self/loginuid").ok();
    let login = login.and_then(|text| text.trim().parse().ok());
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    choose(env::var("SUDO_USER").ok(), login, rustix::process::getuid().as_raw(), &accounts)
}

fn choose(sudo: Option<String>, login: Option<u32>, own: u32, accounts: &str) -> String {
    if let Some(name) = sudo.filter(|name| is_name(name)) {
        return name;
    }
    let id = login.filter(|id| *id != NOBODY_LOGGED_IN).unwrap_or(own);
    let account = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        (number == id && is_name(name)).then(|| name.to_owned())
    });
    account.unwrap_or_else(|| format!("uid {id}"))
}

/// Whether it can stand in a table.
fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|character| character.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNTS: &str = "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000::/home/alice:\n";

    #[test]
    fn sudo_login_and_own_number_in_this_order() {
        let sudo = |name: &str| Some(name.to_owned());
        assert_eq!(choose(sudo("bob"), Some(1000), 0, ACCOUNTS), "bob");
        assert_eq!(choose(sudo("b\x1b[2J"), Some(1000), 0, ACCOUNTS), "alice");
        assert_eq!(choose(None, Some(NOBODY_LOGGED_IN), 0, ACCOUNTS), "root");
        assert_eq!(choose(None, None, 1001, ACCOUNTS), "uid 1001");
    }
}
