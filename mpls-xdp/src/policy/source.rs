//! The text of a policy file, and which line and column a byte of it has.

use std::ops::Range;

/// How many bytes a column count may have to walk.
const STRIDE: usize = 256;

/// How many characters of an offending text a diagnostic repeats.
const MAX_OFFENDING: usize = 200;

/// A policy file's text, indexed.
pub(super) struct Source<'t> {
    path: &'t str,
    text: &'t str,
    /// Where each line starts.
    lines: Vec<usize>,
    /// How many characters start before each multiple of [`STRIDE`].
    characters: Vec<usize>,
}

/// A place in a policy file.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) file: String,
    /// From 1.
    pub(super) line: usize,
    /// From 1, in characters.
    pub(super) column: usize,
    pub(super) offending: String,
    /// In bytes, never past the line's end.
    pub(super) span: Range<usize>,
}

impl<'t> Source<'t> {
    pub(super) fn new(path: &'t str, text: &'t str) -> Self {
        // A byte order mark has no width: columns count from behind it.
        let first = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let mut lines = vec![first];
        lines.extend(text.match_indices('\n').map(|(at, _)| at + 1));
        let mut characters = vec![0];
        for stride in text.as_bytes().chunks(STRIDE) {
            characters.push(characters[characters.len() - 1] + character_starts(stride));
        }
        Self { path, text, lines, characters }
    }

    /// The place of `span`, of which only the first line is looked at.
    pub(super) fn site(&self, span: Range<usize>) -> Site {
        let span = self.first_line_of(span);
        let line = self.line(span.start);
        let start = self.lines[line - 1].min(span.start);
        Site {
            file: self.path.to_owned(),
            line,
            column: self.characters_before(span.start) - self.characters_before(start) + 1,
            offending: shortened(&self.text[span.clone()]),
            span,
        }
    }

    /// The line of an offset in bytes, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset).max(1)
    }

    /// The first line of the text, where something is said about the whole file.
    pub(super) fn first_line(&self) -> Range<usize> {
        self.first_line_of(self.lines[0]..self.text.len())
    }

    fn first_line_of(&self, span: Range<usize>) -> Range<usize> {
        let text = &self.text[span.clone()];
        let first = text.split('\n').next().unwrap_or_default().trim_end();
        span.start..span.start + first.len()
    }

    fn characters_before(&self, offset: usize) -> usize {
        let stride = offset / STRIDE;
        let rest = &self.text.as_bytes()[stride * STRIDE..offset];
        self.characters[stride] + character_starts(rest)
    }
}

/// How many characters start in `bytes` of UTF-8.
fn character_starts(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_OFFENDING) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_OFFENDING, Source};

    fn position(text: &str, offset: usize) -> (usize, usize) {
        let site = Source::new("f", text).site(offset..offset);
        (site.line, site.column)
    }

    #[test]
    fn lines_and_columns_count_from_one() {
        assert_eq!(position("", 0), (1, 1));
        assert_eq!(position("ab\ncd", 1), (1, 2));
        assert_eq!(position("ab\ncd", 3), (2, 1));
        assert_eq!(position("ab\r\ncd\r\n", 5), (2, 2));
        assert_eq!(position("ab\n", 3), (2, 1));
    }

    #[test]
    fn columns_count_characters_and_no_byte_order_mark() {
        assert_eq!(position("é = 1", "é = ".len()), (1, 5));
        assert_eq!(position("\u{feff}ab", 4), (1, 2));
        assert_eq!(position("\u{feff}ab", 0), (1, 1));
    }

    #[test]
    fn a_long_line_counts_the_same() {
        let text = format!("a\n{}", "é,".repeat(10_000));
        assert_eq!(position(&text, 2 + 3 * 9_000), (2, 18_001));
        let exact = "é".repeat(128);
        assert_eq!(position(&exact, exact.len()), (1, 129));
    }

    #[test]
    fn only_the_first_line_offends_and_not_without_end() {
        let text = format!("[1,\r\n2]{}", "x".repeat(1_000));
        let site = Source::new("f", &text).site(0..7);
        assert_eq!((site.offending.as_str(), site.span), ("[1,", 0..3));
        let site = Source::new("f", &text).site(7..1_007);
        assert_eq!(site.offending.chars().count(), MAX_OFFENDING + 1);
    }
}
