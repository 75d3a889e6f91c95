//! Values of the TOML document, read as what a key wants.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::diagnostic::{Finding, Findings};
use super::labels::{ASSIGNABLE, LabelList, WrittenRange};
use super::wording::{self, quoted};

/// A value and where it stands.
pub(super) type Value<'i> = Spanned<DeValue<'i>>;

const LABEL_HELP: &str = "a label is 100 or \"100\", a range is \"1000-1099\"";
const ASSIGNABLE_HELP: &str = "16..1048575; for the labels 0 to 15 there is `special`";

/// Readers of one value each; `None` means that an error was reported.
///
/// `what` is how a message calls the value, `help` says what would be valid.
impl Findings<'_> {
    pub(super) fn table<'v, 'i>(
        &mut self,
        what: &str,
        value: &'v Value<'i>,
        help: &str,
    ) -> Option<&'v DeTable<'i>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong_type(what, value, "a table", help);
        }
        table
    }

    pub(super) fn array<'v, 'i>(
        &mut self,
        what: &str,
        value: &'v Value<'i>,
        help: &str,
    ) -> Option<&'v DeArray<'i>> {
        let array = value.get_ref().as_array();
        if array.is_none() {
            self.wrong_type(what, value, "a list", help);
        }
        array
    }

    pub(super) fn string<'v>(
        &mut self,
        what: &str,
        value: &'v Value<'_>,
        help: &str,
    ) -> Option<&'v str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(what, value, "a string", help);
        }
        text
    }

    pub(super) fn boolean(&mut self, what: &str, value: &Value<'_>) -> Option<Spanned<bool>> {
        let boolean = value.get_ref().as_bool();
        if boolean.is_none() {
            self.wrong_type(what, value, "a boolean", "`true` or `false`");
        }
        boolean.map(|boolean| Spanned::new(value.span(), boolean))
    }

    /// One of the words of `choices`, for what it stands for.
    pub(super) fn keyword<T: Copy>(
        &mut self,
        key: &str,
        value: &Value<'_>,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let words = choices.iter().map(|(word, _)| *word);
        let valid = wording::alternatives(words.clone());
        let written = self.string(&format!("`{key}`"), value, &valid)?;
        let choice = choices.iter().find(|(word, _)| *word == written);
        if choice.is_none() {
            let message = format!("there is no {key} {}", quoted(written));
            let help = wording::help(written, words, &valid);
            self.error(Finding::new("unknown-value", value.span(), message).help(help));
        }
        choice.map(|(_, meaning)| *meaning)
    }

    /// A list of labels; those in it that are none are reported and left out.
    pub(super) fn labels(&mut self, value: &Value<'_>) -> Option<LabelList> {
        let help = "a list of labels and ranges: `labels = [100, \"1000-1099\"]`";
        let items = self.array("`labels`", value, help)?;
        let written = items.iter().filter_map(|item| self.label_range(item));
        let (list, overlaps) = LabelList::new(written.collect());
        for overlap in overlaps {
            let (earlier, later) = (overlap.earlier, overlap.later);
            let message = format!("{later} overlaps {earlier} in the same list");
            let finding = Finding::new("overlapping-ranges", later.span, message)
                .related(earlier.span, "this one")
                .help("write every label once");
            self.warn(finding);
        }
        Some(list)
    }

    fn label_range(&mut self, item: &Value<'_>) -> Option<WrittenRange> {
        let bounds = match item.get_ref() {
            DeValue::Integer(_) => {
                let label = integer(item).unwrap_or(i64::MAX);
                Some((label, label))
            }
            DeValue::String(text) => bounds(text),
            _ => {
                self.wrong_type("a label", item, "an integer or a string", LABEL_HELP);
                return None;
            }
        };
        let Some((first, last)) = bounds else {
            let message = format!("{} is neither a label nor a range", quoted(&written(item)));
            self.error(Finding::new("malformed-label", item.span(), message).help(LABEL_HELP));
            return None;
        };
        let in_order = first <= last;
        if !in_order {
            let message = format!("the range {} is reversed", written(item));
            let help = "the lower label comes first: \"1000-1099\"";
            self.error(Finding::new("reversed-range", item.span(), message).help(help));
        }
        let (Some(first), Some(last)) = (assignable(first), assignable(last)) else {
            let message = format!("{} is not within 16..1048575", written(item));
            let finding = Finding::new("label-out-of-range", item.span(), message);
            self.error(finding.help(ASSIGNABLE_HELP));
            return None;
        };
        let span = item.span();
        in_order.then_some(WrittenRange { first, last, span })
    }

    pub(super) fn wrong_type(&mut self, what: &str, value: &Value<'_>, wanted: &str, help: &str) {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let message = format!("{what} must be {wanted}, not {found}");
        self.error(Finding::new("wrong-type", value.span(), message).help(help));
    }
}

/// The number of an integer value, unless it is too large for this type or `value` is none.
pub(super) fn integer(value: &Value<'_>) -> Option<i64> {
    let integer = value.get_ref().as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// A label or range for a message, without quotes.
fn written(item: &Value<'_>) -> String {
    match item.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        _ => String::new(),
    }
}

/// Both ends of "first-last", or "N" twice.
fn bounds(text: &str) -> Option<(i64, i64)> {
    match text.split_once('-') {
        Some((first, last)) => Some((decimal(first)?, decimal(last)?)),
        None => decimal(text).map(|label| (label, label)),
    }
}

/// A number the one way it is written, which has no sign, space, prefix or leading zero.
fn decimal(text: &str) -> Option<i64> {
    let is_canonical = text.bytes().all(|byte| byte.is_ascii_digit())
        && !text.is_empty()
        && (text == "0" || !text.starts_with('0'));
    // What is too long for the type is out of any range, too.
    is_canonical.then(|| text.parse().unwrap_or(i64::MAX))
}

fn assignable(label: i64) -> Option<u32> {
    let label = u32::try_from(label).ok()?;
    ASSIGNABLE.contains(&label).then_some(label)
}

#[cfg(test)]
mod tests {
    use super::bounds;

    #[test]
    fn a_label_or_a_range() {
        assert_eq!(bounds("16"), Some((16, 16)));
        assert_eq!(bounds("1000-1099"), Some((1000, 1099)));
        assert_eq!(bounds("20-16"), Some((20, 16)));
        assert_eq!(bounds("0"), Some((0, 0)));
        assert_eq!(bounds("99999999999999999999"), Some((i64::MAX, i64::MAX)));
    }

    #[test]
    fn only_plain_decimal_digits() {
        for text in [
            "", "-", "16-", "-16", " 16", "16 ", "+16", "0x10", "16 - 20", "016", "00", "16-020",
            "16-20-30", "16--20", "1_000", "16.0", "16–20", "１６", "a",
        ] {
            assert_eq!(bounds(text), None, "{text:?}");
        }
    }
}
