//! `load`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::ctl::{json_of, text};
use super::online::Served;

/// The lines of a history.
fn history(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_load_and_its_history_tell_the_same_and_no_key_passes_its_limit() {
    let served = Served::start(&[("few", &["5/hour"])]);
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("history.jsonl");
    for shape in [
        &["--concurrency", "8", "--connections", "3", "--threads", "2"][..],
        &["--concurrency", "2", "--batch", "100", "--dist", "zipf"],
        &["--concurrency", "4", "--rate", "400"],
    ] {
        let common = [
            "load",
            "--policy",
            "few",
            "--keys",
            "3",
            "--duration",
            "300ms",
            "-o",
            "json",
        ];
        let file = ["--history", path.to_str().unwrap()];
        let output = served.ctl(&[&common[..], shape, &file].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let report = json_of(&output);
        let lines = history(&path);
        assert!(!lines.is_empty());
        assert_eq!(report["checks"], lines.len(), "{shape:?}: {report}");
        assert_eq!(report["errors"], 0, "{report}");
        let mut granted: BTreeMap<String, u64> = BTreeMap::new();
        for line in &lines {
            assert!(line["sent_ns"].as_u64() <= line["received_ns"].as_u64());
            assert!(
                line["error"].is_null() && line["source"] == "owner",
                "{line}"
            );
            if line["allowed"] == true {
                *granted
                    .entry(line["key"].as_str().unwrap().to_owned())
                    .or_default() += 1;
            }
        }
        assert_eq!(report["allowed"], granted.values().sum::<u64>());
        // Each key is used up by the first load; what comes later finds nothing.
        let expected = if shape.contains(&"--threads") { 15 } else { 0 };
        assert_eq!(report["allowed"], expected, "{granted:?}");
        assert!(granted.values().all(|permits| *permits == 5), "{granted:?}");
    }
}

#[test]
fn a_signal_ends_a_load_in_order() {
    let served = Served::start(&[("few", &["5/hour"])]);
    let dir = TempDir::new().unwrap();
    for signal in ["INT", "TERM"] {
        let path = dir.path().join(signal);
        let file = path.to_str().unwrap();
        let child = served
            .command(&[
                "load",
                "--policy",
                "few",
                "--duration",
                "1h",
                "-o",
                "json",
                "--history",
                file,
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        while fs::metadata(&path).is_ok_and(|file| file.len() == 0) || !path.exists() {
            std::thread::yield_now();
        }
        let kill = format!("kill -{signal} {}", child.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let report = json_of(&output);
        assert_eq!(report["checks"], history(&path).len(), "{report}");
    }
}

#[test]
fn a_history_that_cannot_be_written_ends_the_load() {
    let served = Served::start(&[("few", &["5/hour"])]);
    let output = served.ctl(&[
        "load",
        "--policy",
        "few",
        "--duration",
        "1h",
        "--history",
        "/dev/full",
    ]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("/dev/full"));
}
