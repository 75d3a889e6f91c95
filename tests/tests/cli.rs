//! The command line as its users meet it: the real binary, in network namespaces of its own.
//!
//! Root only, and after `cargo build -p mpls-xdp`.

#[cfg(test)]
mod cli {
    mod apply;
    mod capture;
    mod change;
    mod check;
    mod colour;
    mod completion;
    mod detach;
    mod diff;
    mod exit_codes;
    mod explain;
    mod foreign;
    mod fragments;
    mod help;
    mod init;
    mod manual;
    mod metrics;
    mod monitoring;
    mod mounts;
    mod offload;
    mod privileges;
    mod progress;
    mod readme;
    mod reattach;
    mod replay;
    mod rollout;
    mod stats;
    mod status;
    mod suggest;
    mod support;
    mod terminal;
    mod top;
    mod trouble;
    mod uncovered;
}
