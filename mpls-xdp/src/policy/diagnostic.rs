//! What is wrong with a policy file, where, and what would be right.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, normalize_untrusted_str};
use serde::Serialize;

use super::source::{Site, Source};

/// Whether a policy can be used in spite of a diagnostic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The policy is invalid.
    Error,
    /// The policy is valid, but may not be what was meant.
    Warning,
}

/// One thing that is wrong or doubtful in a policy file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// What kind of thing it is, in words that stay the same from version to version.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// The file, as it was named to [`parse`](super::parse).
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The text at this place, its first line and no more than 200 characters.
    pub offending: String,
    /// What would be valid.
    pub help: String,
    /// The place in bytes; it stays in one line.
    #[serde(skip)]
    pub span: Range<usize>,
    /// Other places that the message speaks of.
    pub related: Vec<Related>,
}

/// Another place that a diagnostic speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Related {
    /// What is there.
    pub message: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The place in bytes; it stays in one line.
    #[serde(skip)]
    pub span: Range<usize>,
}

impl Diagnostic {
    pub(super) fn new(severity: Severity, site: Site, finding: Finding) -> Self {
        Self {
            severity,
            code: finding.code,
            message: finding.message,
            file: site.file,
            line: site.line,
            column: site.column,
            offending: site.offending,
            help: finding.help,
            span: site.span,
            related: Vec::new(),
        }
    }

    /// The diagnostic for a terminal, with the lines of `text` that it speaks of underlined.
    ///
    /// There is no newline at the end.
    ///
    /// # Panics
    ///
    /// May panic when `text` is not what was given to [`parse`](super::parse).
    pub fn render(&self, text: &str, color: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let primary = AnnotationKind::Primary.span(self.in_line(text, &self.span));
        let mut snippet = self.snippet(text, &self.span, self.line).annotation(primary);
        let mut elsewhere = Vec::new();
        for related in &self.related {
            let span = self.in_line(text, &related.span);
            let context = AnnotationKind::Context.span(span).label(&related.message);
            if related.line == self.line {
                snippet = snippet.annotation(context);
            } else {
                let other = self.snippet(text, &related.span, related.line);
                elsewhere.push(other.annotation(context));
            }
        }
        let group = Group::with_title(level.primary_title(&self.message).id(self.code))
            .element(snippet)
            .elements(elsewhere)
            .element(Level::HELP.message(normalize_untrusted_str(&self.help)));
        renderer.render(&[group])
    }

    /// Only the line is handed to the renderer, whose work grows with what it is given.
    fn snippet<'a, T: Clone>(
        &'a self,
        text: &'a str,
        span: &Range<usize>,
        line: usize,
    ) -> Snippet<'a, T> {
        Snippet::source(&text[line_around(text, span)]).path(&self.file).line_start(line)
    }

    fn in_line(&self, text: &str, span: &Range<usize>) -> Range<usize> {
        let start = line_around(text, span).start;
        span.start - start..span.end - start
    }
}

/// The line that `span` stands in, without its end and without a byte order mark.
fn line_around(text: &str, span: &Range<usize>) -> Range<usize> {
    let mark = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let start = text[..span.start].rfind('\n').map_or(mark, |at| at + 1);
    let line = text[start..].split('\n').next().unwrap_or_default();
    start..start + line.trim_end().len().max(span.end - start)
}

/// A diagnostic in the making.
pub(super) struct Finding {
    code: &'static str,
    span: Range<usize>,
    message: String,
    help: String,
    related: Option<(Range<usize>, String)>,
}

impl Finding {
    pub(super) fn new(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { code, span, message: message.into(), help: String::new(), related: None }
    }

    /// Says what would be valid.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// Points at another place too.
    pub(super) fn related(mut self, span: Range<usize>, message: impl Into<String>) -> Self {
        self.related = Some((span, message.into()));
        self
    }
}

/// The diagnostics of a file, as they are found.
pub(super) struct Findings<'t> {
    source: Source<'t>,
    pub(super) errors: Vec<Diagnostic>,
    pub(super) warnings: Vec<Diagnostic>,
}

impl<'t> Findings<'t> {
    pub(super) fn new(source: Source<'t>) -> Self {
        Self { source, errors: Vec::new(), warnings: Vec::new() }
    }

    pub(super) fn source(&self) -> &Source<'t> {
        &self.source
    }

    pub(super) fn error(&mut self, finding: Finding) {
        let diagnostic = self.diagnostic(Severity::Error, finding);
        self.errors.push(diagnostic);
    }

    pub(super) fn warn(&mut self, finding: Finding) {
        let diagnostic = self.diagnostic(Severity::Warning, finding);
        self.warnings.push(diagnostic);
    }

    /// Puts both lists in the order of the file.
    pub(super) fn sort(&mut self) {
        self.errors.sort_by_key(|diagnostic| diagnostic.span.start);
        self.warnings.sort_by_key(|diagnostic| diagnostic.span.start);
    }

    fn diagnostic(&self, severity: Severity, mut finding: Finding) -> Diagnostic {
        let related = finding.related.take().map(|(span, message)| {
            let site = self.source.site(span);
            Related { message, line: site.line, column: site.column, span: site.span }
        });
        let site = self.source.site(finding.span.clone());
        let mut diagnostic = Diagnostic::new(severity, site, finding);
        diagnostic.related.extend(related);
        diagnostic
    }
}
