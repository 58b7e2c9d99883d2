//! `replay`, and what all commands have in common.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use serde_json::json;
use tempfile::TempDir;

use super::ctl::{command, ctl, ctl_with, json_of, text};

/// Two keys out of order of time, one line that is no request.
const LOG: &str = "\
a - - [17/May/2015:10:00:02 +0000] \"GET /x?1 HTTP/1.1\" 200 1
a - - [17/May/2015:12:00:01 +0200] \"GET /x?2 HTTP/1.1\" 200 1
b - - [17/May/2015:10:00:01 +0000] \"GET /y HTTP/1.1\" 200 1
not a request
a - - [17/May/2015:10:00:00 +0000] \"GET /y HTTP/1.1\" 200 1
";

#[test]
fn replay_sums_up_as_json() {
    let output = ctl_with(
        &["replay", "-", "--limit", "2/min", "-o", "json"],
        LOG.as_bytes(),
    );
    assert_eq!(output.status.code(), Some(0));
    let expected = json!({
        "requests": 4, "keys": 2, "allowed": 3, "denied": 1, "skipped_lines": 1,
        "top": [{"key": "a", "requests": 3, "allowed": 2, "denied": 1}],
    });
    assert_eq!(json_of(&output), expected);
    let remarks = text(&output.stderr);
    assert!(remarks.contains("line 4: no time"), "{remarks}");
}

#[test]
fn replay_reads_plain_and_gzip_files_by_any_key() {
    let dir = TempDir::new().unwrap();
    let plain = dir.path().join("plain.gz");
    fs::write(&plain, LOG).unwrap();
    let zipped = dir.path().join("zipped.log");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(LOG.as_bytes()).unwrap();
    fs::write(&zipped, encoder.finish().unwrap()).unwrap();
    for (by, keys) in [
        ("ip", 2),
        ("path", 2),
        ("regex: ([0-9]+) 1$", 1),
        ("user", 0),
    ] {
        for log in [&plain, &zipped] {
            let log = log.to_str().unwrap();
            let output = ctl(&["replay", log, "--limit", "1/s", "--by", by, "-o", "json"]);
            assert_eq!(output.status.code(), Some(0), "{by}");
            assert_eq!(json_of(&output)["keys"], keys, "{by} in {log}");
        }
    }
}

#[test]
fn wrong_usage_ends_with_2_and_says_why_on_stderr() {
    for (arguments, said) in [
        (&["replay", "-", "--limit", "1/fortnight"][..], "fortnight"),
        (
            &["replay", "-", "--limit", "1/s", "--by", "color"],
            "regex:PATTERN",
        ),
        (
            &["replay", "-", "--limit", "1/s", "--by", "regex:("],
            "unclosed group",
        ),
        (
            &["replay", "/nonexistent/log", "--limit", "1/s"],
            "/nonexistent/log",
        ),
        (&["replay", "-"], "--limit"),
        (&["replai"], "replay"),
        (&[], "Usage"),
    ] {
        let output = ctl(arguments);
        let remarks = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {remarks}");
        assert!(remarks.contains(said), "{arguments:?}: {remarks}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command(&["replay", "-", "--limit", "1/s"])
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "");
}
