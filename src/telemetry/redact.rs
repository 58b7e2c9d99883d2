//! Keys in log lines: they may be names or addresses of people, so no line above debug holds one.

use std::fmt;

/// Most characters of a key that a log line shows.
const SHOWN_CHARS_MAX: usize = 3;

/// A key as a log line may show it: at most its first three characters, never more than a quarter
/// of it, and its length.
///
/// # Example
/// ```
/// use distributed_rate_limiter::telemetry::redacted;
///
/// assert_eq!(redacted("user:1234567").to_string(), "use…(12 bytes)");
/// ```
pub fn redacted(key: &str) -> Redacted<'_> {
    Redacted(key)
}

/// A key that prints only its beginning and its length, by `Display` and `Debug` alike.
#[derive(Clone, Copy)]
pub struct Redacted<'a>(&'a str);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = SHOWN_CHARS_MAX.min(self.0.chars().count() / 4);
        for c in self.0.chars().take(shown) {
            c.escape_debug()
                .try_for_each(|c| fmt::Write::write_char(f, c))?;
        }
        write!(f, "…({} bytes)", self.0.len())
    }
}

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_a_quarter_of_a_key_is_shown() {
        let cases = [
            ("user:1234567", "use…(12 bytes)"),
            ("ip:1", "i…(4 bytes)"),
            ("abc", "…(3 bytes)"),
            ("", "…(0 bytes)"),
            ("äöüßäöüß", "äö…(16 bytes)"),
            ("\n\u{1b}[31m red", "\\n\\u{1b}…(10 bytes)"),
        ];
        for (key, expected) in cases {
            assert_eq!(redacted(key).to_string(), expected);
            assert_eq!(format!("{:?}", redacted(key)), expected);
        }
    }
}
