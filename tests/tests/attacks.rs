//! Every attack of the suite on real interfaces, in both modes: what `enforce` drops, `monitor` passes
//! and counts under the same reasons.
//!
//! Every test fails where the user is not root.

use anyhow::{Context, Result};
use mpls_xdp_tests::attacks::{ATTACKS, Attack, Mode};
use mpls_xdp_tests::for_each_attack;

fn run(mode: Mode, family: &str, name: &str) -> Result<()> {
    let attack = Attack::find(family, name).context("there is no such attack")?;
    attack.run_on_veth(mode)
}

macro_rules! tests {
    ($($family:ident: $($attack:ident),+;)+) => {
        mod enforce {
            $(mod $family {
                $(#[test]
                fn $attack() -> anyhow::Result<()> {
                    crate::run(crate::Mode::Enforce, stringify!($family), stringify!($attack))
                })+
            })+
        }

        mod monitor {
            $(mod $family {
                $(#[test]
                fn $attack() -> anyhow::Result<()> {
                    crate::run(crate::Mode::Monitor, stringify!($family), stringify!($attack))
                })+
            })+
        }

        const TESTED: &[(&str, &str)] = &[$($((stringify!($family), stringify!($attack)),)+)+];
    };
}

for_each_attack!(tests);

#[test]
fn no_attack_is_left_out() {
    let all: Vec<_> = ATTACKS.iter().map(|attack| (attack.family, attack.name)).collect();
    assert_eq!(TESTED, all);
}
