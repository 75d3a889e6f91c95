//! What the process that watches has to tell, since nobody looks at it when it acts.

use std::fmt;

use super::Earlier;

/// What became of a policy that was not confirmed in time.
#[derive(Debug)]
pub enum Notice {
    /// What was in force before it is so again.
    WentBack {
        /// The name of the policy that was not confirmed.
        expired: String,
        /// What is in force now; `None` when the filter is off.
        in_force: Option<Earlier>,
        /// What went wrong after that.
        trouble: Option<String>,
    },
    /// It is still in force, since going back failed; that is tried again.
    CannotGoBack {
        /// The policy that was not confirmed.
        expired: Earlier,
        /// Why it failed.
        error: String,
    },
    /// What is in force, and for how long, cannot be read; that is tried again.
    CannotLook {
        /// Why not.
        error: String,
    },
    /// Nothing goes back by itself any more.
    GaveUp {
        /// Why not.
        error: String,
    },
}

impl Notice {
    /// Whether it needs somebody's hand.
    pub fn is_failure(&self) -> bool {
        !matches!(self, Self::WentBack { trouble: None, .. })
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WentBack { expired, in_force, trouble } => {
                write!(f, "{expired} was not confirmed in time: ")?;
                match in_force {
                    Some(Earlier { policy, generation, .. }) => {
                        write!(f, "{policy} is in force again, as generation {generation}")?;
                    }
                    None => f.write_str("the filter is off again, and nothing is filtered")?,
                }
                trouble.as_ref().map_or(Ok(()), |trouble| write!(f, "; but {trouble}"))
            }
            Self::CannotGoBack { expired: Earlier { policy, generation, .. }, error } => write!(
                f,
                "{policy} was not confirmed in time, but going back has failed: {error}; {policy} \
                 stays in force, as generation {generation}, and going back is tried again; see \
                 `mpls-xdp status`"
            ),
            Self::CannotLook { error } => write!(
                f,
                "cannot look whether a policy was confirmed in time: {error}; this is tried again"
            ),
            Self::GaveUp { error } => {
                write!(f, "nothing goes back by itself any more: {error}; see `mpls-xdp status`")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_force_now_is_always_told() {
        let earlier = |policy: &str, generation| Earlier {
            policy: policy.to_owned(),
            digest: String::new(),
            generation,
        };
        let went = |in_force, trouble: Option<&str>| Notice::WentBack {
            expired: "new.toml".to_owned(),
            in_force,
            trouble: trouble.map(str::to_owned),
        };
        let again = went(Some(earlier("old.toml", 9)), None);
        let off = went(None, Some("the history cannot be written"));
        let expired = earlier("new.toml", 8);
        let failed = Notice::CannotGoBack { expired, error: "eth2 has a program".to_owned() };
        for (notice, is_failure, words) in [
            (again, false, ["new.toml was not confirmed", "old.toml is in force", "generation 9"]),
            (off, true, ["new.toml was not confirmed", "nothing is filtered", "but the history"]),
            (failed, true, ["eth2 has a program", "new.toml stays in force", "generation 8"]),
        ] {
            assert_eq!(notice.is_failure(), is_failure, "{notice}");
            let text = notice.to_string();
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        }
    }
}
