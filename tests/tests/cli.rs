//! The command line as its users meet it: the real binary, in network namespaces of its own.
//!
//! Root only, and after `cargo build -p mpls-xdp`.

#[cfg(test)]
mod cli {
    mod apply;
    mod capture;
    mod change;
    mod check;
    mod detach;
    mod exit_codes;
    mod foreign;
    mod mounts;
    mod offload;
    mod privileges;
    mod readme;
    mod replay;
    mod stats;
    mod status;
    mod support;
    mod trouble;
    mod uncovered;
}
