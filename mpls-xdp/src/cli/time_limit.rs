//! How long a policy may wait for its confirmation.

use std::time::Duration;

const LONGEST: u64 = 24 * 60 * 60;

/// Reads a number with its unit: `60s`, `5m` or `2h`, up to a day.
pub(super) fn parse_time_limit(text: &str) -> Result<Duration, String> {
    let units = [('s', 1), ('m', 60), ('h', 3600)];
    let split = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, seconds)));
    let digits = split.filter(|(digits, _)| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let Some((number, unit)) = digits.and_then(|(digits, unit)| Some((digits.parse().ok()?, unit)))
    else {
        return Err("write a number and its unit: 60s, 5m or 2h".to_owned());
    };
    match u64::checked_mul(number, *unit) {
        Some(seconds @ 1..=LONGEST) => Ok(Duration::from_secs(seconds)),
        _ => Err("a confirmation can be awaited from 1s to 24h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_unit() {
        for (text, seconds) in [("1s", 1), ("60s", 60), ("5m", 300), ("24h", 86_400)] {
            assert_eq!(parse_time_limit(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "s", "60", "5 m", "-5s", "+5s", "1.5h", "1d", "5min"] {
            let error = parse_time_limit(text).expect_err(text);
            assert!(error.contains("unit"), "{text}: {error}");
        }
        for text in ["0s", "25h", "86401s", "18446744073709551615h"] {
            let error = parse_time_limit(text).expect_err(text);
            assert!(error.contains("24h"), "{text}: {error}");
        }
    }
}
