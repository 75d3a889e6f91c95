//! Words for messages: names of the file, and what a misspelt one was probably meant to be.

/// The candidate nearest to `word`, when it is near enough to have been meant.
pub(super) fn closest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_lowercase();
    // A third of the letters may be wrong; more than that is another word.
    let tolerance = |candidate: &str| (candidate.len().max(word.len()) / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= tolerance(candidate))
        .map(|candidate| (strsim::osa_distance(&word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= tolerance(candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How the file writes a value of a key that has these `choices`.
pub(super) fn word<T: PartialEq>(choices: &[(&'static str, T)], value: &T) -> &'static str {
    choices.iter().find(|(_, choice)| choice == value).map_or("", |(word, _)| *word)
}

/// A name of the file, in which a control character must not reach a terminal.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.escape_debug())
}

/// What `word` was probably meant to be, and what is `valid`.
pub(super) fn help<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    valid: &str,
) -> String {
    match closest(word, candidates) {
        Some(meant) => format!("did you mean {}? valid: {valid}", quoted(meant)),
        None => format!("valid: {valid}"),
    }
}

/// Words for a message: `a`, `b` or `c`.
pub(super) fn alternatives<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut quoted: Vec<_> = words.into_iter().map(quoted).collect();
    match quoted.pop() {
        Some(last) if quoted.is_empty() => last,
        Some(last) => format!("{} or {last}", quoted.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{alternatives, closest, help, quoted};

    #[test]
    fn a_control_character_is_spelt_out() {
        assert_eq!(quoted("a\u{1b}"), "`a\\u{1b}`");
    }

    #[test]
    fn finds_swapped_missing_and_capital_letters() {
        let roles = ["customer", "peer", "core"];
        assert_eq!(closest("pere", roles), Some("peer"));
        assert_eq!(closest("Core", roles), Some("core"));
        assert_eq!(closest("custmer", roles), Some("customer"));
        assert_eq!(closest("opaq", ["opaque", "validate"]), Some("opaque"));
    }

    #[test]
    fn another_word_is_no_misspelling() {
        assert_eq!(closest("upstream", ["customer", "peer", "core"]), None);
        assert_eq!(closest("", ["core"]), None);
        assert_eq!(closest("p", ["peer"]), None);
    }

    #[test]
    fn says_what_is_valid_either_way() {
        assert_eq!(help("xyz", ["peer"], "`peer`"), "valid: `peer`");
        assert_eq!(help("peeer", ["peer"], "one"), "did you mean `peer`? valid: one");
    }

    #[test]
    fn joins_words_as_a_sentence_does() {
        assert_eq!(alternatives([]), "");
        assert_eq!(alternatives(["a"]), "`a`");
        assert_eq!(alternatives(["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
