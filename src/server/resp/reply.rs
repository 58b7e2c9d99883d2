//! Writes answers, in version 2 or 3 of the protocol.

use std::fmt::Arguments;

use crate::protocol::client::WireDecision;
use crate::types::Source;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Version {
    /// The one that a connection begins with.
    #[default]
    Two,
    /// Has maps, booleans and nulls.
    Three,
}

impl Version {
    /// Its number.
    pub(super) const fn number(self) -> u64 {
        match self {
            Self::Two => 2,
            Self::Three => 3,
        }
    }
}

/// Appends a short text that holds no end of line.
pub(super) fn simple(out: &mut Vec<u8>, text: &str) {
    out.push(b'+');
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends an error. What would end its line early is replaced.
pub(super) fn error(out: &mut Vec<u8>, text: Arguments<'_>) {
    let line = text.to_string();
    out.push(b'-');
    let plain = |byte: u8| if byte.is_ascii_control() { b'?' } else { byte };
    out.extend(line.bytes().map(plain));
    out.extend_from_slice(b"\r\n");
}

/// Appends a whole number.
pub(super) fn number(out: &mut Vec<u8>, value: u64) {
    out.push(b':');
    digits(out, value);
}

/// Appends text of any bytes.
pub(super) fn bulk(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'$');
    digits(out, u64::try_from(text.len()).unwrap_or(u64::MAX));
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

/// Begins a list of so many.
pub(super) fn array(out: &mut Vec<u8>, items: usize) {
    out.push(b'*');
    digits(out, u64::try_from(items).unwrap_or(u64::MAX));
}

/// Begins so many pairs of a name and a value.
pub(super) fn map(out: &mut Vec<u8>, version: Version, pairs: usize) {
    match version {
        Version::Two => array(out, pairs.saturating_mul(2)),
        Version::Three => {
            out.push(b'%');
            digits(out, u64::try_from(pairs).unwrap_or(u64::MAX));
        }
    }
}

/// Appends that there is nothing.
pub(super) fn null(out: &mut Vec<u8>, version: Version) {
    out.extend_from_slice(match version {
        Version::Two => b"$-1\r\n",
        Version::Three => b"_\r\n",
    });
}

/// Appends redis-cell's five numbers: 0 if allowed or 1, the limit, what remains of it, and the
/// seconds until it may pass (-1 if it does) and until all is there again. Seconds are rounded up: who
/// waits as long does not come too early.
pub(super) fn five_numbers(out: &mut Vec<u8>, decision: &WireDecision) {
    out.extend_from_slice(b"*5\r\n");
    out.extend_from_slice(if decision.allowed {
        b":0\r\n"
    } else {
        b":1\r\n"
    });
    number(out, decision.limit);
    number(out, decision.remaining);
    if decision.allowed {
        out.extend_from_slice(b":-1\r\n");
    } else {
        number(out, decision.retry_after_ms.div_ceil(1000).max(1));
    }
    number(out, decision.reset_after_ms.div_ceil(1000));
}

/// Appends the answer to a request that can never pass: it asks for more than the limit.
pub(super) fn never(out: &mut Vec<u8>, looked: &WireDecision) {
    out.extend_from_slice(b"*5\r\n:1\r\n");
    number(out, looked.limit);
    number(out, looked.remaining);
    out.extend_from_slice(b":-1\r\n");
    number(out, looked.reset_after_ms.div_ceil(1000));
}

/// Appends a decision by its names, as version 3 can.
pub(super) fn decision(out: &mut Vec<u8>, decision: &WireDecision) {
    let truth = |out: &mut Vec<u8>, is: bool| {
        out.extend_from_slice(if is { b"#t\r\n" } else { b"#f\r\n" });
    };
    map(out, Version::Three, 7);
    simple(out, "allowed");
    truth(out, decision.allowed);
    simple(out, "limit");
    number(out, decision.limit);
    simple(out, "remaining");
    number(out, decision.remaining);
    simple(out, "retry_after_ms");
    number(out, decision.retry_after_ms);
    simple(out, "reset_after_ms");
    number(out, decision.reset_after_ms);
    simple(out, "source");
    simple(out, Source::from(decision.source).as_str());
    simple(out, "shadow_denied");
    truth(out, decision.shadow_denied);
}

/// Appends the digits of a number and the end of the line.
fn digits(out: &mut Vec<u8>, value: u64) {
    let mut text = [0; 22];
    let mut at = text.len();
    let mut left = value;
    for byte in b"\n\r" {
        at = at.saturating_sub(1);
        text[at] = *byte;
    }
    loop {
        at = at.saturating_sub(1);
        text[at] = b'0'.saturating_add(u8::try_from(left % 10).unwrap_or(0));
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
}
