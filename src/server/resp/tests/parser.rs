//! The parser against one that sees everything at once, and against anything at all.

use proptest::collection::vec;
use proptest::prelude::*;

use super::command;
use crate::server::resp::parse::{
    ARGUMENTS_MAX, BULK_BYTES_MAX, Broken, COMMAND_BYTES_MAX, INLINE_BYTES_MAX, Parser,
};

type Commands = (Vec<Vec<Vec<u8>>>, Result<usize, Broken>);

/// The commands in `bytes`, which come in pieces of these lengths, the last one what is left; and the
/// bytes that are left over, or why the rest is none.
fn commands(bytes: &[u8], pieces: &[usize]) -> Commands {
    let mut parser = Parser::default();
    let (mut here, mut all) = (Vec::new(), Vec::new());
    let mut coming = bytes;
    for length in pieces.iter().copied().chain([usize::MAX]) {
        let (piece, rest) = coming.split_at(length.min(coming.len()));
        coming = rest;
        here.extend_from_slice(piece);
        loop {
            match parser.next(&mut here) {
                Ok(Some(used)) => {
                    assert!(used > 0 && used <= here.len());
                    let words = parser.words().iter().cloned();
                    all.push(words.map(|place| here[place].to_vec()).collect());
                    here.drain(..used);
                }
                Ok(None) => break,
                Err(broken) => return (all, Err(broken)),
            }
        }
        assert!(
            here.len() <= COMMAND_BYTES_MAX + piece.len(),
            "more is kept"
        );
    }
    let left = here.len();
    (all, Ok(left))
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

#[test]
fn arrays_and_lines_are_commands() {
    let cases: [(&[u8], &[&[&str]]); 13] = [
        (b"*1\r\n$4\r\nPING\r\n", &[&["PING"]]),
        (b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", &[&["ECHO", ""]]),
        (b"*2\r\n$4\r\nECHO\r\n$2\r\n\r\n\r\n", &[&["ECHO", "\r\n"]]),
        (b"*0\r\n*-1\r\n\r\n \n", &[&[], &[], &[], &[]]),
        (b"PING\r\nPING\n", &[&["PING"], &["PING"]]),
        (b"  a\t b  \r\n", &[&["a", "b"]]),
        (b"a \"b c\" 'd e'\n", &[&["a", "b c", "d e"]]),
        (
            b"\"\\n\\r\\t\\b\\a\\\\\\\"\\q\"\n",
            &[&["\n\r\t\u{8}\u{7}\\\"q"]],
        ),
        (b"\"\\x41\\x4\\xg\"\n", &[&["Ax4xg"]]),
        (b"'\\n\\''\n", &[&["\\n'"]]),
        (b"a\"b\" \"\"\n", &[&["ab", ""]]),
        (b"a'b'\n", &[&["ab"]]),
        (b"x*1\r\n", &[&["x*1"]]),
    ];
    for (given, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|it| words(it)).collect();
        assert_eq!(
            commands(given, &[]),
            (expected, Ok(0)),
            "{}",
            given.escape_ascii()
        );
    }
}

#[test]
fn what_is_no_command_is_told_apart() {
    let long_bulk = format!("*1\r\n${}\r\n", BULK_BYTES_MAX + 1);
    let many = format!("*{}\r\n", ARGUMENTS_MAX + 1);
    let long_line = "x".repeat(INLINE_BYTES_MAX + 1);
    let long_line_with_end = format!("{long_line}\r\n");
    let words = "a ".repeat(ARGUMENTS_MAX + 1) + "\n";
    let long_word = "x".repeat(BULK_BYTES_MAX);
    let two_long = command(&[long_word.as_str(); 2]);
    let cases: [(&[u8], Broken); 19] = [
        (b"*x\r\n", Broken::Count),
        (b"*-2\r\n", Broken::Count),
        (b"*+1\r\n", Broken::Count),
        (b"*\r\n", Broken::Count),
        (b"*1\n", Broken::Count),
        (b"*99999999999999999999\r\n", Broken::Count),
        (b"*0000000000000000000000000000", Broken::Count),
        (many.as_bytes(), Broken::Count),
        (words.as_bytes(), Broken::Count),
        (b"*1\r\n:1\r\n", Broken::NoBulk),
        (b"*1\r\n$-1\r\n", Broken::Bulk),
        (b"*1\r\n$x\r\n", Broken::Bulk),
        (long_bulk.as_bytes(), Broken::Bulk),
        (b"*1\r\n$1\r\nab\r\n", Broken::NoEnd),
        (b"*1\r\n$1\r\na\rx", Broken::NoEnd),
        (&two_long, Broken::TooLong),
        (long_line.as_bytes(), Broken::InlineTooLong),
        (long_line_with_end.as_bytes(), Broken::InlineTooLong),
        (b"a \"b\n", Broken::Quotes),
    ];
    for (given, expected) in cases {
        let (before, end) = commands(given, &[]);
        let start = given.get(..40).unwrap_or(given);
        assert_eq!(
            (before.len(), end),
            (0, Err(expected)),
            "{}",
            start.escape_ascii()
        );
        // One byte at a time it is the same, and told before all is there.
        let bytes = vec![1; given.len().min(300)];
        assert_eq!(commands(given, &bytes).1, Err(expected));
    }
    assert_eq!(commands(b"\"a\"b\n", &[]).1, Err(Broken::Quotes));
}

#[test]
fn what_is_just_short_enough_is_read() {
    let longest = "x".repeat(BULK_BYTES_MAX);
    let long = command(&["ECHO", &longest]);
    assert_eq!(
        commands(&long, &[1000; 100]).0,
        [words(&["ECHO", &longest])]
    );
    let most = command(&["a"; ARGUMENTS_MAX]);
    assert_eq!(commands(&most, &[7]).0[0].len(), ARGUMENTS_MAX);
    let line = "x".repeat(INLINE_BYTES_MAX) + "\n";
    assert_eq!(commands(line.as_bytes(), &[INLINE_BYTES_MAX]).0[0].len(), 1);
}

/// Bytes that look like commands, some of them damaged.
fn talk() -> impl Strategy<Value = Vec<u8>> {
    let word = "[a-z\"'\\\\ \r\n]{0,6}";
    let piece = prop_oneof![
        vec(word, 0..4).prop_map(|words| {
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            command(&words)
        }),
        "[a-z\"'\\\\x4 ]{0,8}\r?\n".prop_map(String::into_bytes),
        "[*$:]-?[0-9]{0,3}\r?\n?".prop_map(String::into_bytes),
    ];
    vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_split_gives_the_same_commands(
        bytes in prop_oneof![talk(), vec(any::<u8>(), 0..64)],
        pieces in vec(0_usize..9, 0..60),
    ) {
        prop_assert_eq!(commands(&bytes, &pieces), commands(&bytes, &[]));
    }

    #[test]
    fn what_is_sent_is_what_is_read(sent in vec(vec("\\PC{0,9}", 1..5), 0..5)) {
        let mut bytes = Vec::new();
        for words in &sent {
            bytes.extend(command(&words.iter().map(String::as_str).collect::<Vec<_>>()));
        }
        let expected: Vec<Vec<Vec<u8>>> = sent
            .into_iter()
            .map(|words| words.into_iter().map(String::into_bytes).collect())
            .collect();
        prop_assert_eq!(commands(&bytes, &[3, 1, 4, 1, 5]), (expected, Ok(0)));
    }
}
