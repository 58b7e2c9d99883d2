//! Durations and sizes as people write them: `"30s"`, `"64MiB"`.

use std::time::Duration;

use crate::limiter::policy::UNITS;

/// Words for units of size and their bytes; those before `B` are used in output.
const SIZE_UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("KB", 1000),
];

/// Why a text is not a duration or a size: the unit, if there is one, is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// Not a whole number with a unit behind it.
    #[error("`{text}` is not a whole number and a unit")]
    Form {
        /// The text as given.
        text: String,
    },
    /// The unit is not known.
    #[error("`{unit}` is not a known unit")]
    Unit {
        /// The unit as given.
        unit: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// Larger than 2^64-1 bytes or milliseconds.
    #[error("`{text}` is too large")]
    TooLarge {
        /// The text as given.
        text: String,
    },
}

/// Reads a whole number and a unit of time (`ms`, `s`, `min`, `hour`, `day`), such as `"500ms"`.
///
/// # Errors
/// [`UnitError`], saying which part is wrong.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    parse(text, UNITS).map(Duration::from_millis)
}

/// Reads a whole number of bytes with a unit (`B`, `KiB`, `MiB`, `GiB`, `TiB`, and the decimal
/// `kB`, `MB`, `GB`, `TB`), such as `"64MiB"`.
///
/// # Errors
/// [`UnitError`], saying which part is wrong.
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    parse(text, SIZE_UNITS)
}

/// A duration in its largest whole unit, as [`parse_duration`] reads it; parts of a millisecond
/// are left out.
pub fn format_duration(duration: Duration) -> String {
    format(
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        UNITS,
        "s",
    )
}

/// A number of bytes in its largest whole binary unit, as [`parse_bytes`] reads it.
pub fn format_bytes(bytes: u64) -> String {
    format(bytes, SIZE_UNITS, "B")
}

fn parse(text: &str, units: &'static [(&str, u64)]) -> Result<u64, UnitError> {
    let trimmed = text.trim();
    let digits = trimmed
        .bytes()
        .take_while(|b| b.is_ascii_digit() || *b == b'_')
        .count();
    let (number, unit) = trimmed.split_at(digits);
    let (number, unit) = (number.replace('_', ""), unit.trim());
    if number.is_empty() || unit.is_empty() || unit.starts_with(['.', ',', '-', '+']) {
        return Err(UnitError::Form {
            text: text.to_owned(),
        });
    }
    let too_large = || UnitError::TooLarge {
        text: text.to_owned(),
    };
    let Some((_, factor)) = units.iter().find(|(word, _)| *word == unit) else {
        let same = |word: &&str| word.eq_ignore_ascii_case(unit);
        let words = || units.iter().map(|(word, _)| *word);
        return Err(UnitError::Unit {
            unit: unit.to_owned(),
            nearest: words()
                .find(same)
                .or_else(|| super::suggest::nearest(unit, words())),
        });
    };
    let number: u64 = number.parse().map_err(|_| too_large())?;
    number.checked_mul(*factor).ok_or_else(too_large)
}

fn format(amount: u64, units: &[(&str, u64)], zero_unit: &str) -> String {
    let whole = units
        .iter()
        .find(|(_, factor)| amount > 0 && amount.is_multiple_of(*factor));
    match whole {
        Some((unit, factor)) => format!("{}{unit}", amount / factor),
        None => format!("{amount}{zero_unit}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_and_sizes_read_as_people_write_them() {
        for (text, ms) in [
            ("1s", 1000),
            ("500 ms", 500),
            ("2min", 120_000),
            ("1_000ms", 1000),
            ("0s", 0),
            ("3 hours", 10_800_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(ms)),
                "{text}"
            );
        }
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("2GiB", 2 << 30),
            ("5 kB", 5000),
            ("7B", 7),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_neither_says_why() {
        let unit = |unit: &str, nearest| UnitError::Unit {
            unit: unit.into(),
            nearest,
        };
        let form = |text: &str| UnitError::Form { text: text.into() };
        let cases = [
            ("64", form("64")),
            ("MiB", form("MiB")),
            ("", form("")),
            ("1.5GiB", form("1.5GiB")),
            ("-1GiB", form("-1GiB")),
            ("64mib", unit("mib", Some("MiB"))),
            ("64MibB", unit("MibB", None)),
            (
                "99999999TiB",
                UnitError::TooLarge {
                    text: "99999999TiB".into(),
                },
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_bytes(text), Err(expected), "{text}");
        }
        assert_eq!(parse_duration("5secs"), Err(unit("secs", Some("sec"))));
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_the_same(amount: u64) {
            prop_assert_eq!(parse_bytes(&format_bytes(amount)), Ok(amount));
            let duration = Duration::from_millis(amount);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn any_text_is_answered(text in ".*") {
            prop_assert_eq!(parse_bytes(&text).is_ok() && parse_duration(&text).is_ok(), false);
        }
    }
}
