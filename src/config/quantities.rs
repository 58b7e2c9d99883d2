//! Reads numbers, durations and sizes, each within its bounds.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::reader::{Found, Reader, Table};
use super::units::{UnitError, format_bytes, format_duration, parse_bytes, parse_duration};

impl Reader<'_> {
    /// The whole number at `key`.
    pub(super) fn whole(
        &mut self,
        table: &Table<'_>,
        key: &'static str,
        bounds: RangeInclusive<u64>,
    ) -> Option<u64> {
        let found = table.get(key)?;
        let DeValue::Integer(integer) = found.value else {
            let quoted =
                matches!(found.value, DeValue::String(text) if text.parse::<u64>().is_ok());
            let hint = quoted.then_some("write it without quotes");
            self.wrong_type(&found, "a whole number", hint);
            return None;
        };
        let number = u64::from_str_radix(integer.as_str().trim_start_matches('+'), integer.radix());
        match number {
            Ok(number) if bounds.contains(&number) => Some(number),
            Ok(_) | Err(_) => {
                let given = self.source.slice(&found.span).to_owned();
                let (least, most) = (bounds.start(), bounds.end());
                let message = format!("`{key}` is {given}; it must be from {least} to {most}");
                self.error(&found.span, message, None);
                None
            }
        }
    }

    /// The duration at `key`.
    pub(super) fn duration(
        &mut self,
        table: &Table<'_>,
        key: &'static str,
        bounds: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let quantity = Quantity {
            what: "a duration such as \"30s\"",
            parse: parse_duration,
            format: |duration| format_duration(*duration),
        };
        self.quantity(table, key, &bounds, &quantity)
    }

    /// The number of bytes at `key`.
    pub(super) fn size(
        &mut self,
        table: &Table<'_>,
        key: &'static str,
        bounds: RangeInclusive<u64>,
    ) -> Option<u64> {
        let quantity = Quantity {
            what: "a size such as \"64MiB\"",
            parse: parse_bytes,
            format: |bytes| format_bytes(*bytes),
        };
        self.quantity(table, key, &bounds, &quantity)
    }

    fn quantity<T: PartialOrd>(
        &mut self,
        table: &Table<'_>,
        key: &'static str,
        bounds: &RangeInclusive<T>,
        quantity: &Quantity<T>,
    ) -> Option<T> {
        let found = table.get(key)?;
        let text = self.as_text(&found, quantity.what)?;
        let error = match (quantity.parse)(text.value) {
            Ok(value) if bounds.contains(&value) => return Some(value),
            Ok(_) => None,
            Err(error) => Some(error),
        };
        let least = (quantity.format)(bounds.start());
        let most = (quantity.format)(bounds.end());
        let bounds = format!("`{key}` must be from {least} to {most}");
        match error {
            None | Some(UnitError::TooLarge { .. }) => {
                self.error(
                    &text.span,
                    format!("\"{}\" is out of bounds; {bounds}", text.value),
                    None,
                );
            }
            Some(error @ UnitError::Form { .. }) => {
                self.error(
                    &text.span,
                    format!("{error}; `{key}` must be {}", quantity.what),
                    None,
                );
            }
            Some(error @ UnitError::Unit { .. }) => self.bad_unit(&text, &error, quantity.what),
        }
        None
    }

    fn bad_unit(&mut self, text: &Found<'_, &str>, error: &UnitError, what: &str) {
        let UnitError::Unit { unit, nearest } = error else {
            return;
        };
        let span = self.part(&text.span, unit);
        let hint = nearest.map(|word| format!("did you mean `{word}`?"));
        let message = format!("{error}; `{}` must be {what}", text.key);
        self.error(&span, message, hint.as_deref());
    }
}

/// How a quantity with a unit is read and shown.
struct Quantity<T> {
    what: &'static str,
    parse: fn(&str) -> Result<T, UnitError>,
    format: fn(&T) -> String,
}
