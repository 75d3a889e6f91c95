//! Policy files that are written here, with their comments.

use std::fmt;

use super::{LabelSet, range_text};

/// Columns of a line.
const WIDTH: usize = 100;

/// A name that the policy takes (`[a-z0-9][a-z0-9_.-]{0,62}`), as near to `word` as can be, and
/// none of `taken`.
pub(crate) fn free_name(word: &str, taken: &[&str]) -> String {
    /// The longest name.
    const MAX: usize = 63;
    let mut name: String = word
        .to_lowercase()
        .chars()
        .map(|character| match character {
            'a'..='z' | '0'..='9' | '_' | '-' => character,
            _ => '-',
        })
        .collect();
    if !name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        name.insert(0, 'x');
    }
    name.truncate(MAX);
    let mut free = name.clone();
    let mut number = 2;
    while taken.contains(&free.as_str()) {
        let suffix = format!("-{number}");
        free = format!("{}{suffix}", &name[..name.len().min(MAX - suffix.len())]);
        number += 1;
    }
    free
}

/// A string as TOML writes it.
pub(crate) fn quoted(word: &str) -> String {
    toml::Value::from(word).to_string()
}

/// A number and what it counts.
pub(crate) fn count<N>(number: N, one: &str, more: &str) -> String
where
    N: Copy + fmt::Display + PartialEq + From<u8>,
{
    format!("{number} {}", if number == N::from(1) { one } else { more })
}

/// The lines of a file.
#[derive(Default)]
pub(crate) struct Text(String);

impl Text {
    pub(crate) fn into_string(self) -> String {
        self.0
    }

    pub(crate) fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    pub(crate) fn title(&mut self, title: &str) {
        self.line("");
        self.line(&format!("# ===== {title} ====="));
        self.line("");
    }

    pub(crate) fn comment(&mut self, words: &str) {
        self.flow("# ", words.split(' '), "# ");
    }

    /// One of several things in a comment.
    pub(crate) fn item(&mut self, words: &str) {
        self.flow("#   - ", words.split(' '), "#     ");
    }

    pub(crate) fn list(&mut self, key: &str, values: impl Iterator<Item = String>) {
        let values: Vec<_> = values.collect();
        self.wrapped(&format!("{key} = ["), &values, "]", "    ");
    }

    pub(crate) fn labels(&mut self, labels: &LabelSet) {
        let ranges = labels.ranges().iter().map(|range| {
            let text = range_text(*range.start(), *range.end());
            if range.start() == range.end() { text } else { quoted(&text) }
        });
        self.list("labels", ranges);
    }

    /// A list of values, in one line if it has room there.
    pub(crate) fn wrapped(&mut self, start: &str, values: &[String], end: &str, indent: &str) {
        let line = format!("{start}{}{end}", values.join(", "));
        if line.chars().count() <= WIDTH {
            return self.line(&line);
        }
        self.line(start);
        let values = values.iter().map(|value| format!("{value},"));
        let values: Vec<_> = values.collect();
        self.flow(indent, values.iter().map(String::as_str), indent);
        let margin = &start[..start.find(|c: char| c != '#' && c != ' ').unwrap_or(0)];
        self.line(&format!("{margin}{end}"));
    }

    /// Words in lines that start with `first`, then with `next`.
    fn flow<'a>(&mut self, first: &str, words: impl Iterator<Item = &'a str>, next: &str) {
        let mut line = first.to_owned();
        let mut is_empty = true;
        for word in words {
            if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.line(&line);
                next.clone_into(&mut line);
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
            is_empty = false;
        }
        self.line(&line);
    }
}
