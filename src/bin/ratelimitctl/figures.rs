//! Figures and texts as people read them.

use std::fmt::Write as _;

/// Width of the longest bar, in characters.
const BAR_WIDTH: u64 = 40;

/// A bar as long as `value` is of `full`, at least a sliver for what is not zero.
pub(crate) fn bar(value: u64, full: u64) -> String {
    bar_within(value, full, BAR_WIDTH)
}

/// The same, `width` characters long where it is full.
pub(crate) fn bar_within(value: u64, full: u64, width: u64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let widest = width * 8;
    let eighths = match full {
        0 => 0,
        _ => u128::from(value.min(full)) * u128::from(widest) / u128::from(full),
    };
    let eighths = usize::try_from(eighths)
        .unwrap_or(0)
        .max(usize::from(value > 0));
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// A number with its thousands apart: `1,234,567`.
pub(crate) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `part` of `whole` in percent with one decimal, or nothing if there is no whole.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return String::new();
    }
    let tenths = (u128::from(part) * 1000 + u128::from(whole) / 2) / u128::from(whole);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// A length of time in its two largest units: `250 ms`, `12.5 s`, `1 min 30 s`, `2 d 3 h`.
pub(crate) fn time(ms: u64) -> String {
    const UNITS: [(u64, &str, u64, &str); 3] = [
        (86_400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ];
    let seconds = ms / 1000;
    for (large, large_unit, small, small_unit) in UNITS {
        if seconds >= large {
            let rest = seconds % large / small;
            return if rest == 0 {
                format!("{} {large_unit}", seconds / large)
            } else {
                format!("{} {large_unit} {rest} {small_unit}", seconds / large)
            };
        }
    }
    match (seconds, ms % 1000) {
        (0, ms) => format!("{ms} ms"),
        (seconds, 0) => format!("{seconds} s"),
        (seconds, ms) => format!("{seconds}.{} s", format!("{ms:03}").trim_end_matches('0')),
    }
}

/// Bytes in the largest binary unit that makes them at least 1, with one decimal.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut tenths = u128::from(count) * 10;
    let mut unit = "B";
    for larger in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = larger;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// `text` fit for a terminal: control characters escaped, at most `width_max` characters.
pub(crate) fn printable(text: &str, width_max: usize) -> String {
    let mut shown = String::new();
    for (n, character) in text.chars().enumerate() {
        if n == width_max {
            shown.push('…');
            break;
        }
        if character.is_control() {
            write!(shown, "{}", character.escape_default()).ok();
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        for (value, expected) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (12_345_678, "12,345,678"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn percentages_round_to_a_tenth() {
        for (part, whole, expected) in [
            (0, 0, ""),
            (0, 5, "0.0 %"),
            (1, 3, "33.3 %"),
            (2, 3, "66.7 %"),
            (u64::MAX, u64::MAX, "100.0 %"),
        ] {
            assert_eq!(percent(part, whole), expected);
        }
    }

    #[test]
    fn times_show_their_two_largest_units() {
        for (ms, expected) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1000, "1 s"),
            (12_500, "12.5 s"),
            (1001, "1.001 s"),
            (60_000, "1 min"),
            (90_999, "1 min 30 s"),
            (3_600_000, "1 h"),
            (3_725_000, "1 h 2 min"),
            (2 * 86_400_000 + 3 * 3_600_000, "2 d 3 h"),
        ] {
            assert_eq!(time(ms), expected, "{ms}");
        }
    }

    #[test]
    fn bytes_show_their_largest_unit() {
        for (count, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(bytes(count), expected, "{count}");
        }
    }

    #[test]
    fn bars_grow_with_the_value_and_never_past_the_width() {
        let width = usize::try_from(BAR_WIDTH).unwrap();
        for (value, full, expected) in [
            (0, 100, String::new()),
            (1, 1_000_000, "▏".to_owned()),
            (50, 100, "█".repeat(width / 2)),
            (100, 100, "█".repeat(width)),
            (300, 100, "█".repeat(width)),
            (u64::MAX, u64::MAX, "█".repeat(width)),
        ] {
            assert_eq!(bar(value, full), expected, "{value} of {full}");
        }
    }

    #[test]
    fn keys_cannot_steer_the_terminal() {
        assert_eq!(printable("a\x1b[31mb\n", 80), "a\\u{1b}[31mb\\n");
        assert_eq!(printable("äöüß", 3), "äöü…");
    }
}
