//! The filter as a part of a system: units under a systemd of their own, the udev rule, the package.
//!
//! Root only, after `cargo build -p mpls-xdp`, and on a machine that has systemd and udev. That
//! machine's own systemd, if it runs one, is not asked.

#[cfg(test)]
mod journal;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod package;
#[cfg(test)]
mod units;
