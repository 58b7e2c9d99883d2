//! Cuts bytes into commands: arrays of bulk strings, as clients send them, and inline commands, as
//! people type them. Pure.
//!
//! | bytes | command |
//! |---|---|
//! | `*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n` | `ECHO`, `hi` |
//! | `ECHO "h\x69" \r\n` | the same; quotes and escapes as redis-cli has them |
//! | `*0\r\n`, `*-1\r\n`, `\r\n` | none |
//!
//! It reads from left to right and nothing twice over, so commands and mistakes are the same however
//! the bytes are split, and every length is checked before anything is waited for.

use std::ops::Range;

/// Most words of a command, its name included.
pub(super) const ARGUMENTS_MAX: usize = 64;

/// Longest word of a command.
pub(super) const BULK_BYTES_MAX: usize = 64 * 1024;

/// Longest inline command.
pub(super) const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Longest command in all.
pub(super) const COMMAND_BYTES_MAX: usize = 128 * 1024;

/// Longest line that says a number: a sign, 20 digits, and its end.
const NUMBER_LINE_MAX: usize = 24;

/// Why the bytes are no command. Where the next one would begin cannot be known then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    /// The number of words.
    #[error("invalid multibulk length; a command has at most {ARGUMENTS_MAX} words")]
    Count,
    /// Something else than a bulk string in the array.
    #[error("expected '$'; a command is an array of bulk strings")]
    NoBulk,
    /// The length of a word.
    #[error("invalid bulk length; a word has at most {BULK_BYTES_MAX} bytes")]
    Bulk,
    /// No end of line where it must be.
    #[error("expected an end of line")]
    NoEnd,
    /// The words together.
    #[error("too big request; a command has at most {COMMAND_BYTES_MAX} bytes")]
    TooLong,
    /// An inline command without its end.
    #[error("too big inline request; it has at most {INLINE_BYTES_MAX} bytes")]
    InlineTooLong,
    /// A quote that is opened and not closed, or closed within a word.
    #[error("unbalanced quotes in request")]
    Quotes,
    /// An HTTP request, which a browser may have been lured into sending.
    #[error("this is not HTTP")]
    Http,
}

/// Reads commands one after the other.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// Places of the last command's words.
    words: Vec<Range<usize>>,
    /// Bytes of an unfinished inline command that are known to hold no end.
    scanned: usize,
}

impl Parser {
    /// Reads the command that `bytes` begin with, whose words are then at [`Parser::words`]; returns
    /// its length, or `None` if its end is not there. An inline command is unquoted where it stands.
    pub(super) fn next(&mut self, bytes: &mut [u8]) -> Result<Option<usize>, Broken> {
        self.words.clear();
        match bytes.first() {
            None => Ok(None),
            Some(b'*') => self.array(bytes),
            Some(_) => self.inline(bytes),
        }
    }

    /// Places of the words of the command that was read last.
    pub(super) fn words(&self) -> &[Range<usize>] {
        &self.words
    }

    fn array(&mut self, bytes: &[u8]) -> Result<Option<usize>, Broken> {
        let Some((count, mut at)) = number(bytes, 1, Broken::Count)? else {
            return Ok(None);
        };
        // Redis takes an array of -1 words for none at all.
        if count == -1 {
            return Ok(Some(at));
        }
        let count = bounded(count, ARGUMENTS_MAX, Broken::Count)?;
        for _ in 0..count {
            match bytes.get(at) {
                None => return Ok(None),
                Some(b'$') => {}
                Some(_) => return Err(Broken::NoBulk),
            }
            let Some((length, start)) = number(bytes, at.saturating_add(1), Broken::Bulk)? else {
                return Ok(None);
            };
            let end = start.saturating_add(bounded(length, BULK_BYTES_MAX, Broken::Bulk)?);
            at = end.saturating_add(2);
            if at > COMMAND_BYTES_MAX {
                return Err(Broken::TooLong);
            }
            match (bytes.get(end), bytes.get(end.saturating_add(1))) {
                (Some(b'\r') | None, None) => return Ok(None),
                (Some(b'\r'), Some(b'\n')) => {}
                (Some(_), _) | (None, Some(_)) => return Err(Broken::NoEnd),
            }
            self.words.push(start..end);
        }
        Ok(Some(at))
    }

    fn inline(&mut self, bytes: &mut [u8]) -> Result<Option<usize>, Broken> {
        let fresh = bytes.get(self.scanned..).unwrap_or_default();
        let end = fresh.iter().position(|byte| *byte == b'\n');
        let Some(end) = end.and_then(|end| end.checked_add(self.scanned)) else {
            self.scanned = bytes.len();
            return if bytes.len() > INLINE_BYTES_MAX {
                Err(Broken::InlineTooLong)
            } else {
                Ok(None)
            };
        };
        self.scanned = 0;
        if end > INLINE_BYTES_MAX {
            return Err(Broken::InlineTooLong);
        }
        let line = bytes.get_mut(..end).unwrap_or_default();
        unquote(line, &mut self.words)?;
        Ok(Some(end.saturating_add(1)))
    }
}

/// The number on the line at `at`, and where the next line begins; `None` if its end is not there.
fn number(bytes: &[u8], at: usize, broken: Broken) -> Result<Option<(i64, usize)>, Broken> {
    let rest = bytes.get(at..).unwrap_or_default();
    let rest = rest.get(..NUMBER_LINE_MAX).unwrap_or(rest);
    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
        let is_short = rest.len() < NUMBER_LINE_MAX;
        return if is_short { Ok(None) } else { Err(broken) };
    };
    let line = rest.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let text = line.and_then(|line| std::str::from_utf8(line).ok());
    let is_plain = text.is_some_and(|text| !text.starts_with('+'));
    let value = text.filter(|_| is_plain).and_then(|text| text.parse().ok());
    let next = at.saturating_add(end).saturating_add(1);
    Ok(Some((value.ok_or(broken)?, next)))
}

fn bounded(number: i64, max: usize, broken: Broken) -> Result<usize, Broken> {
    let number = usize::try_from(number).map_err(|_| broken)?;
    if number > max {
        Err(broken)
    } else {
        Ok(number)
    }
}

/// Cuts a line into words. Each is unquoted in its place, where it only gets shorter.
fn unquote(line: &mut [u8], words: &mut Vec<Range<usize>>) -> Result<(), Broken> {
    let mut at = 0_usize;
    loop {
        while line.get(at).copied().is_some_and(is_space) {
            at = at.saturating_add(1);
        }
        if at >= line.len() {
            return Ok(());
        }
        if words.len() >= ARGUMENTS_MAX {
            return Err(Broken::Count);
        }
        let start = at;
        let mut to = at;
        while let Some(byte) = line.get(at).copied().filter(|byte| !is_space(*byte)) {
            if matches!(byte, b'"' | b'\'') {
                at = quoted(line, (at.saturating_add(1), byte), &mut to)?;
                // What follows a quote's end must be apart from it.
                if line.get(at).is_some_and(|byte| !is_space(*byte)) {
                    return Err(Broken::Quotes);
                }
            } else {
                put(line, &mut to, byte);
                at = at.saturating_add(1);
            }
        }
        words.push(start..to);
    }
}

/// Copies the rest of a quoted word that began with `quote` down to `to`; returns where it ended.
fn quoted(line: &mut [u8], (from, quote): (usize, u8), to: &mut usize) -> Result<usize, Broken> {
    let mut at = from;
    loop {
        let byte = *line.get(at).ok_or(Broken::Quotes)?;
        at = at.saturating_add(1);
        if byte == quote {
            return Ok(at);
        }
        let next = line.get(at).copied();
        let plain = match (byte, quote, next) {
            (b'\\', b'"', Some(b'x')) => {
                let digit = |n| line.get(at.saturating_add(n)).copied().and_then(hex);
                if let (Some(high), Some(low)) = (digit(1), digit(2)) {
                    at = at.saturating_add(3);
                    high << 4 | low
                } else {
                    at = at.saturating_add(1);
                    b'x'
                }
            }
            (b'\\', b'"', Some(escaped)) => {
                at = at.saturating_add(1);
                meaning(escaped)
            }
            (b'\\', b'\'', Some(b'\'')) => {
                at = at.saturating_add(1);
                b'\''
            }
            (byte, _, _) => byte,
        };
        put(line, to, plain);
    }
}

fn put(line: &mut [u8], to: &mut usize, byte: u8) {
    if let Some(place) = line.get_mut(*to) {
        *place = byte;
        *to = to.saturating_add(1);
    }
}

/// The byte that a letter after a backslash stands for.
const fn meaning(escaped: u8) -> u8 {
    match escaped {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

const fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0
}
