//! What the journal has of a policy that was not confirmed.

use super::units::booted;

/// A script that prints what `mpls-xdp` logged with this priority, a line each.
fn logged(priority: &str) -> String {
    format!("journalctl --no-pager -o cat --identifier mpls-xdp --priority {priority}..{priority}")
}

/// A script that applies the policy with other labels, to be confirmed within a second.
fn apply(labels: u32) -> String {
    format!(
        "sed 's/100/{labels}/' /etc/mpls-xdp/policy.toml > /run/new.toml
         mpls-xdp apply /run/new.toml --confirm-within 1s 2> /dev/null"
    )
}

#[test]
fn a_policy_that_comes_back_by_itself_is_told_with_what_is_in_force() {
    let mut machine = booted();
    machine.run(&apply(200));
    machine.wait_until(&format!("{} | grep --quiet .", logged("warning")));
    assert_eq!(
        machine.run(&logged("warning")),
        "/run/new.toml was not confirmed in time: /etc/mpls-xdp/policy.toml is in force again, as \
         generation 3\n"
    );
    machine.run("mpls-xdp detach --all");
    machine.run(&apply(200));
    machine.wait_until(&format!("{} | grep --quiet 'the filter is off again'", logged("warning")));
    assert_eq!(machine.run(&logged("err")), "");
}

#[test]
fn a_lost_history_is_told_since_nothing_goes_back_then() {
    let mut machine = booted();
    machine.run(&apply(200).replace("1s", "10m"));
    machine.run("rm /run/mpls-xdp/netns-*/history.json");
    machine.wait_until(&format!("{} | grep --quiet .", logged("err")));
    let told = machine.run(&logged("err"));
    let beginning =
        "nothing goes back by itself any more: the policy in force is not in the history";
    assert!(told.starts_with(beginning) && told.lines().count() == 1, "{told}");
}

#[test]
fn a_return_that_fails_is_told_once() {
    let mut machine = booted();
    let kept = "/run/mpls-xdp/netns-*/policies";
    machine.run(&format!("cp -a {kept} /run/aside"));
    machine.run(&format!("{}; rm {kept}/$(ls /run/aside)", apply(200)));
    machine.wait_until(&format!("{} | grep --quiet .", logged("err")));
    let told = machine.run(&logged("err"));
    let beginning = "/run/new.toml was not confirmed in time, but going back has failed: the text \
                     of /etc/mpls-xdp/policy.toml is not kept any more";
    assert!(told.starts_with(beginning), "{told}");
    assert!(told.contains("; /run/new.toml stays in force, as generation 2, "), "{told}");
    machine.wait_until("mpls-xdp status --json | grep --quiet '\"failure\":\"the text'");
    // Each attempt reads the history; the first of these two is over when the second begins.
    for _ in 0..2 {
        machine.run(&format!("touch --time=atime --date=@0 {kept}/../history.json"));
        machine.wait_until(&format!("test $(stat --format %X {kept}/../history.json) != 0"));
    }
    machine.run(&format!("cp -a /run/aside/* {kept}"));
    machine.wait_until(&format!("{} | grep --quiet 'in force again'", logged("warning")));
    assert_eq!(machine.run(&logged("err")), told);
}
