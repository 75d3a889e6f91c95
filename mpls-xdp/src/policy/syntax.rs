//! What the TOML parser complains about, as diagnostics.

use std::ops::Range;

use super::diagnostic::{Diagnostic, Finding, Findings};

const SYNTAX_CODE: &str = "toml-syntax";
const DUPLICATE_CODE: &str = "duplicate-key";

/// A table or key that is written again; the parser goes on with the first value.
const DUPLICATE: &str = "duplicate key";

/// A word without quotes; the parser goes on with the word.
const UNQUOTED: &str = "string values must be quoted";

/// What a label range without quotes looks like to TOML.
const BAD_DATE: &str = "invalid date";

/// Complaints about one value that leave no doubt where it ends, by the parser's words.
///
/// A complaint that is not listed may be the first of many about the same slip, and what the
/// parser makes of the rest of the file may not be what the file says.
const ABOUT_ONE_VALUE: [&str; 7] = [
    UNQUOTED,
    "invalid boolean",
    BAD_DATE,
    "unexpected leading zero",
    "integers with a radix cannot be signed",
    "radix must be lowercase",
    "`_` may only go between digits",
];

/// What the syntax errors leave of a file.
pub(super) enum Reading {
    /// The document says what the file says, but for the values at these places.
    Whole(UnreadValues),
    /// From the last of the reported errors on, it is open what the file says.
    Broken,
}

/// Where values stand that could not be read.
pub(super) struct UnreadValues(Vec<Range<usize>>);

/// Reports `errors`, up to the first that the parser could not safely go on from.
pub(super) fn report(findings: &mut Findings<'_>, mut errors: Vec<toml::de::Error>) -> Reading {
    errors.sort_by_key(|error| span(error).start);
    errors.dedup_by_key(|error| span(error));
    let mut unread = Vec::new();
    for error in &errors {
        let mut starts = ABOUT_ONE_VALUE.iter();
        if error.message() == DUPLICATE {
            findings.error(duplicate(error));
        } else if starts.any(|words| error.message().starts_with(words)) {
            let written = findings.source().site(span(error)).offending;
            findings.error(value(error, &written));
            unread.push(span(error));
        } else {
            findings.error(structure(error));
            return Reading::Broken;
        }
    }
    Reading::Whole(UnreadValues(unread))
}

impl UnreadValues {
    /// Takes out of `errors` those about what the parser put in such a value's place.
    pub(super) fn discount(&self, errors: &mut Vec<Diagnostic>) {
        errors.retain(|error| {
            matches!(error.code, SYNTAX_CODE | DUPLICATE_CODE) || !self.touch(&error.span)
        });
    }

    fn touch(&self, span: &Range<usize>) -> bool {
        let next = self.0.partition_point(|value| value.end < span.start);
        self.0.get(next).is_some_and(|value| value.start <= span.end)
    }
}

fn duplicate(error: &toml::de::Error) -> Finding {
    Finding::new(DUPLICATE_CODE, span(error), "this key or table is there already")
        .help("write each key and each table once")
}

fn value(error: &toml::de::Error, written: &str) -> Finding {
    let (message, expected) = parts(error);
    let help = match message {
        UNQUOTED | BAD_DATE => format!("with quotes: \"{written}\""),
        _ => expected,
    };
    Finding::new(SYNTAX_CODE, span(error), message).help(help)
}

fn structure(error: &toml::de::Error) -> Finding {
    let (message, expected) = parts(error);
    let help = format!("{expected}; the rest of the file is checked when this is right");
    Finding::new(SYNTAX_CODE, span(error), message).help(help)
}

/// What is wrong, and what would be valid.
fn parts(error: &toml::de::Error) -> (&str, String) {
    match error.message().split_once(", expected ") {
        Some((message, "nothing")) => (message, "leave this out".to_owned()),
        Some((message, expected)) => (message, format!("expected {expected}")),
        None => (error.message(), "what TOML allows, see https://toml.io".to_owned()),
    }
}

fn span(error: &toml::de::Error) -> Range<usize> {
    error.span().unwrap_or_default()
}
