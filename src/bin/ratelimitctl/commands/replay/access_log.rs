//! A line of a web server's access log, and the key that a limit would see in it.
//!
//! Read are the common and the combined format of Apache and nginx:
//! `HOST IDENT USER [17/May/2015:10:05:03 +0200] "GET /path?query HTTP/1.1" STATUS BYTES …`.
//! What stands behind the request does not matter. A key by regular expression needs nothing but
//! the time, so that it reads other formats too.

use std::fmt::Write as _;
use std::str::{self, FromStr};

use distributed_rate_limiter::KEY_BYTES_MAX;
use regex::bytes::Regex;
use time::{Date, Month, PrimitiveDateTime, Time, UtcOffset};

/// Bytes of a time without its brackets: `17/May/2015:10:05:03 +0000`.
const TIME_BYTES: usize = 26;

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// What of a request is its key.
#[derive(Debug, Clone)]
pub(super) enum KeyBy {
    /// The address that the request came from.
    Ip,
    /// The name that it was authenticated by.
    User,
    /// The path that it asked for, without the query.
    Path,
    /// The first group of the expression in the line, or all that it matches.
    Regex(Box<Regex>),
}

/// Why a line does not count as a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LineError {
    /// Not a time of the two formats, or one before 1970 or after 2106.
    #[error("no time such as [17/May/2015:10:05:03 +0000]")]
    NoTime,
    /// The line begins with a blank or with the time.
    #[error("no client address at its beginning")]
    NoAddress,
    /// The user is `-`, or there is none.
    #[error("no user")]
    NoUser,
    /// There is no request, or it is not of the form `METHOD PATH PROTOCOL`.
    #[error("no path in its request")]
    NoPath,
    /// The expression matches nothing, or nothing but the empty text.
    #[error("no match for the regular expression")]
    NoMatch,
    /// A node would refuse this key.
    #[error("its key has {bytes} bytes, at most {KEY_BYTES_MAX} are allowed")]
    KeyTooLong { bytes: usize },
}

/// A request: when, and whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// Seconds since 1970 in UTC.
    pub(super) second: u32,
    /// Its key; bytes that are no UTF-8 stand in it as `\xNN`.
    pub(super) key: String,
}

impl Request {
    /// Reads the request in `line`.
    pub(super) fn read(line: &[u8], by: &KeyBy) -> Result<Self, LineError> {
        let (before, second, after) = split_at_time(line).ok_or(LineError::NoTime)?;
        let key = match by {
            KeyBy::Ip => address(before)?,
            KeyBy::User => user(before)?,
            KeyBy::Path => path(after)?,
            KeyBy::Regex(regex) => first_match(regex, line)?,
        };
        Ok(Self {
            second,
            key: text(key)?,
        })
    }
}

impl FromStr for KeyBy {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "ip" => Ok(Self::Ip),
            "user" => Ok(Self::User),
            "path" => Ok(Self::Path),
            _ => match word.strip_prefix("regex:") {
                Some(pattern) => Regex::new(pattern)
                    .map(|regex| Self::Regex(Box::new(regex)))
                    .map_err(|error| error.to_string()),
                None => Err("known are ip, user, path and regex:PATTERN".to_owned()),
            },
        }
    }
}

impl std::fmt::Display for KeyBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip => f.write_str("ip"),
            Self::User => f.write_str("user"),
            Self::Path => f.write_str("path"),
            Self::Regex(regex) => write!(f, "regex:{regex}"),
        }
    }
}

/// The first time in `line`, with what stands before and behind its brackets.
fn split_at_time(line: &[u8]) -> Option<(&[u8], u32, &[u8])> {
    let brackets = line.iter().enumerate().filter(|(_, byte)| **byte == b'[');
    brackets.map(|(n, _)| n).find_map(|open| {
        let close = open + 1 + TIME_BYTES;
        let written = line.get(open + 1..close)?;
        if line.get(close) != Some(&b']') {
            return None;
        }
        Some((&line[..open], unix_second(written)?, &line[close + 1..]))
    })
}

/// Seconds since 1970 of `17/May/2015:10:05:03 +0000`.
fn unix_second(written: &[u8]) -> Option<u32> {
    let separators = [
        (2, b'/'),
        (6, b'/'),
        (11, b':'),
        (14, b':'),
        (17, b':'),
        (20, b' '),
    ];
    if separators.iter().any(|&(at, byte)| written[at] != byte) {
        return None;
    }
    let month = MONTHS.iter().position(|name| name[..] == written[3..6])?;
    let month = Month::try_from(u8::try_from(month + 1).ok()?).ok()?;
    let small = |at: usize| u8::try_from(digits(&written[at..at + 2])?).ok();
    let year = i32::try_from(digits(&written[7..11])?).ok()?;
    let date = Date::from_calendar_date(year, month, small(0)?).ok()?;
    // A leap second counts as the one before it.
    let time = Time::from_hms(small(12)?, small(15)?, small(18).map(leapless)?).ok()?;
    let offset = offset_seconds(written[21], small(22)?, small(24)?)?;
    let offset = UtcOffset::from_whole_seconds(offset).ok()?;
    let moment = PrimitiveDateTime::new(date, time).assume_offset(offset);
    u32::try_from(moment.unix_timestamp()).ok()
}

fn leapless(second: u8) -> u8 {
    if second == 60 { 59 } else { second }
}

fn offset_seconds(sign: u8, hours: u8, minutes: u8) -> Option<i32> {
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = i32::from(hours) * 3600 + i32::from(minutes) * 60;
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

fn digits(written: &[u8]) -> Option<u32> {
    if !written.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(written).ok()?.parse().ok()
}

/// The first word before the time.
fn address(before: &[u8]) -> Result<&[u8], LineError> {
    match before.split(|byte| *byte == b' ').next() {
        None | Some([]) => Err(LineError::NoAddress),
        Some(address) => Ok(address),
    }
}

/// All behind the second blank before the time: a user's name may hold blanks.
fn user(before: &[u8]) -> Result<&[u8], LineError> {
    match before.splitn(3, |byte| *byte == b' ').nth(2) {
        None => Err(LineError::NoUser),
        Some(name) => match name.trim_ascii() {
            b"" | b"-" | b"\"\"" => Err(LineError::NoUser),
            name => Ok(name),
        },
    }
}

/// The path in the quoted request behind the time.
fn path(after: &[u8]) -> Result<&[u8], LineError> {
    let request = after.trim_ascii_start().strip_prefix(b"\"");
    let request = request.map(until_quote).ok_or(LineError::NoPath)?;
    let blank = |byte: &u8| *byte == b' ';
    let method = request.iter().position(blank).ok_or(LineError::NoPath)?;
    let rest = request[method + 1..].trim_ascii();
    // A path may hold blanks, so that only a protocol at the end is cut off.
    let target = match rest.iter().rposition(blank) {
        Some(at) if rest[at + 1..].starts_with(b"HTTP/") => rest[..at].trim_ascii(),
        _ => rest,
    };
    let path = target.split(|byte| *byte == b'?' || *byte == b'#').next();
    path.filter(|path| !path.is_empty())
        .ok_or(LineError::NoPath)
}

/// What stands before the first quote that no backslash protects.
fn until_quote(quoted: &[u8]) -> &[u8] {
    let mut protected = false;
    let end = quoted.iter().position(|&byte| {
        let ends = byte == b'"' && !protected;
        protected = byte == b'\\' && !protected;
        ends
    });
    &quoted[..end.unwrap_or(quoted.len())]
}

fn first_match<'a>(regex: &Regex, line: &'a [u8]) -> Result<&'a [u8], LineError> {
    let found = regex.captures(line).ok_or(LineError::NoMatch)?;
    let part = if found.len() > 1 {
        found.get(1)
    } else {
        found.get(0)
    };
    match part.map(|part| part.as_bytes()) {
        None | Some([]) => Err(LineError::NoMatch),
        Some(key) => Ok(key),
    }
}

fn text(key: &[u8]) -> Result<String, LineError> {
    if key.len() > KEY_BYTES_MAX {
        return Err(LineError::KeyTooLong { bytes: key.len() });
    }
    let mut text = String::with_capacity(key.len());
    for chunk in key.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").ok();
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMBINED: &str = concat!(
        r#"83.149.9.216 - Anna Lee [17/May/2015:10:05:03 +0000] "GET /a%20b?q=1 HTTP/1.1" 200 9 "#,
        r#""http://example.org/[01/Jan/2020:00:00:00 +0000]" "Mozilla/5.0""#
    );

    fn key(line: &[u8], by: &str) -> Result<String, LineError> {
        Request::read(line, &by.parse().unwrap()).map(|request| request.key)
    }

    #[test]
    fn a_combined_line_gives_its_address_user_and_path() {
        for (by, expected) in [
            ("ip", "83.149.9.216"),
            ("user", "Anna Lee"),
            ("path", "/a%20b"),
            ("regex:\"(Mozilla)/", "Mozilla"),
            ("regex:Mozilla/[0-9]", "Mozilla/5"),
        ] {
            assert_eq!(key(COMBINED.as_bytes(), by).unwrap(), expected, "{by}");
        }
    }

    #[test]
    fn times_count_in_utc_whatever_their_zone() {
        for (written, expected) in [
            ("17/May/2015:10:05:03 +0000", Some(1_431_857_103)),
            ("17/May/2015:12:05:03 +0200", Some(1_431_857_103)),
            ("17/May/2015:04:35:03 -0530", Some(1_431_857_103)),
            ("29/Feb/2016:00:00:00 +0000", Some(1_456_704_000)),
            ("31/Dec/2016:23:59:60 +0000", Some(1_483_228_799)),
            ("01/Jan/1970:00:00:00 +0000", Some(0)),
            ("01/Jan/1970:00:00:00 +0001", None),
            ("07/Feb/2106:06:28:15 +0000", Some(u32::MAX)),
            ("07/Feb/2106:06:28:16 +0000", None),
            ("29/Feb/2015:00:00:00 +0000", None),
            ("17/Mai/2015:10:05:03 +0000", None),
            ("17/May/2015:24:05:03 +0000", None),
            ("17/May/2015:10:05:03 +9900", None),
            ("17/May/2015:10:05:03 00000", None),
            ("17/May/2015 10:05:03 +0000", None),
            ("1x/May/2015:10:05:03 +0000", None),
            ("+7/May/2015:10:05:03 +0000", None),
        ] {
            assert_eq!(unix_second(written.as_bytes()), expected, "{written}");
        }
    }

    #[test]
    fn odd_requests_still_have_a_time_and_an_address() {
        let time = "[17/May/2015:10:05:03 +0000]";
        let cases = [
            ("h - - {} \"GET / HTTP/1.1\" 200 1", Ok("/")),
            ("h - - {} \"GET /\" 200 1", Ok("/")),
            ("h - - {} \"GET /a b HTTP/1.1\" 200 1", Ok("/a b")),
            ("h - - {} \"GET /\\\"x HTTP/1.1\" 200 1", Ok("/\\\"x")),
            ("h - - {} \"GET  /two HTTP/1.0\" 200 1", Ok("/two")),
            ("h - - {} \"GET /cut", Ok("/cut")),
            ("h - - {} \"-\" 408 0", Err(LineError::NoPath)),
            ("h - - {} \"\\x16\\x03\" 400 0", Err(LineError::NoPath)),
            ("h - - {} \"GET ?x HTTP/1.1\" 400 0", Err(LineError::NoPath)),
            ("h - - {}", Err(LineError::NoPath)),
        ];
        for (form, path) in cases {
            let line = form.replace("{}", time);
            assert_eq!(key(line.as_bytes(), "ip").unwrap(), "h");
            assert_eq!(
                key(line.as_bytes(), "path"),
                path.map(str::to_owned),
                "{line}"
            );
            assert_eq!(key(line.as_bytes(), "user"), Err(LineError::NoUser));
        }
    }

    #[test]
    fn what_is_no_request_says_why() {
        let long = format!("{} - - [17/May/2015:10:05:03 +0000]", "h".repeat(257));
        let cases: [(&[u8], &str, LineError); 7] = [
            (b"", "ip", LineError::NoTime),
            (b"h - - [yesterday]", "ip", LineError::NoTime),
            (b"[17/May/2015:10:05:03 +0000]", "ip", LineError::NoAddress),
            (b"h [17/May/2015:10:05:03 +0000]", "user", LineError::NoUser),
            (
                b"h [17/May/2015:10:05:03 +0000]",
                "regex:^x",
                LineError::NoMatch,
            ),
            (
                b"h [17/May/2015:10:05:03 +0000]",
                "regex:x*",
                LineError::NoMatch,
            ),
            (long.as_bytes(), "ip", LineError::KeyTooLong { bytes: 257 }),
        ];
        for (line, by, expected) in cases {
            assert_eq!(key(line, by), Err(expected), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn bytes_that_are_no_text_keep_keys_apart() {
        let line = |byte: u8| [b"h", &[byte][..], b" - - [17/May/2015:10:05:03 +0000]"].concat();
        assert_eq!(key(&line(0xff), "ip").unwrap(), "h\\xff");
        assert_eq!(key(&line(0xfe), "ip").unwrap(), "h\\xfe");
    }

    proptest! {
        #[test]
        fn no_line_can_do_harm(mut line: Vec<u8>, at: usize) {
            for by in ["ip", "user", "path", "regex:(.)"] {
                Request::read(&line, &by.parse().unwrap()).ok();
            }
            let at = at % (line.len() + 1);
            line.splice(at..at, *b"[17/May/2015:10:05:03 +0000]");
            for by in ["ip", "user", "path", "regex:(.)"] {
                prop_assert_ne!(Request::read(&line, &by.parse().unwrap()), Err(LineError::NoTime));
            }
        }
    }
}
