//! How long the caller waits: the `grpc-timeout` header, within a bound.

use std::time::Duration;

use tonic::metadata::MetadataMap;

/// Longest time that a call may take, and what a caller who says nothing is given.
pub(super) const LONGEST: Duration = Duration::from_secs(10);

/// Most digits of a timeout.
const DIGITS_MAX: usize = 8;

/// Time left for a call with this metadata. What cannot be read is as if it was not there.
pub(super) fn left(metadata: &MetadataMap) -> Duration {
    let given = metadata.get("grpc-timeout");
    given
        .and_then(|value| value.to_str().ok())
        .and_then(timeout)
        .map_or(LONGEST, |left| left.min(LONGEST))
}

/// At most 8 digits, and a letter for the unit.
fn timeout(text: &str) -> Option<Duration> {
    let unit = text.bytes().last()?;
    let digits = text.get(..text.len().checked_sub(1)?)?;
    let all_digits = digits.bytes().all(|b| b.is_ascii_digit());
    if !all_digits || !(1..=DIGITS_MAX).contains(&digits.len()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        b'H' => Some(Duration::from_secs(count.saturating_mul(3600))),
        b'M' => Some(Duration::from_secs(count.saturating_mul(60))),
        b'S' => Some(Duration::from_secs(count)),
        b'm' => Some(Duration::from_millis(count)),
        b'u' => Some(Duration::from_micros(count)),
        b'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_read_and_bounded() {
        let cases = [
            ("20m", Duration::from_millis(20)),
            ("1S", Duration::from_secs(1)),
            ("99999999u", LONGEST),
            ("5u", Duration::from_micros(5)),
            ("7n", Duration::from_nanos(7)),
            ("1M", LONGEST),
            ("99999999H", LONGEST),
            ("0m", Duration::ZERO),
            ("", LONGEST),
            ("m", LONGEST),
            ("20", LONGEST),
            ("+2m", LONGEST),
            ("999999999n", LONGEST),
            ("2é", LONGEST),
        ];
        for (text, expected) in cases {
            let mut metadata = MetadataMap::new();
            if let Ok(value) = text.parse() {
                metadata.insert("grpc-timeout", value);
            }
            assert_eq!(left(&metadata), expected, "{text}");
        }
        assert_eq!(left(&MetadataMap::new()), LONGEST);
    }
}
