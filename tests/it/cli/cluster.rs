//! The commands about a cluster, as far as they need none.

use std::process::Command;

use tempfile::TempDir;

use super::ctl::{ctl, text};

#[test]
fn what_cannot_be_meant_is_refused_before_any_node_is_asked() {
    let dir = TempDir::new().unwrap();
    let bad = dir.path().join("limits.toml");
    std::fs::write(&bad, "[policy.a]\nlimt = \"1/s\"\n").unwrap();
    let bad = bad.to_str().unwrap();
    for (arguments, said) in [
        (&["top"][..], "there is none"),
        (&["ring", "--slots", "--diff"], "cannot be used with"),
        (&["ring", "--watch", "0"], "1..=3600"),
        (&["node", "weight", "17"], "1..=16"),
        (&["slot"], "<SLOT>"),
        (&["slot", "4096"], "0..4096"),
        (&["slot", "1", "--key", "a"], "cannot be used with"),
        (&["cluster", "set", "replicas", "2"], "a slot has 1 or 3"),
        (
            &["policy", "diff", "no-such-file"],
            "cannot read no-such-file",
        ),
        (&["policy", "apply", bad], "2:1: error: `limt` is not a key"),
    ] {
        let output = ctl(arguments);
        let remarks = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {remarks}");
        assert!(remarks.contains(said), "{arguments:?}: {remarks}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_node_that_cannot_join_as_it_is_told_does_not_start() {
    let dir = TempDir::new().unwrap();
    for (arguments, said) in [
        (
            &["--create", "--join", "127.0.0.1:7401"][..],
            "the first node is started with --create, all others with --join",
        ),
        (&["--join", "127.0.0.1:7400"], "names only this node itself"),
        (&["--join", "127.0.0.1"], "write \"127.0.0.1:7400\""),
        (&["--join", "127.0.0.1:7401"], "certs node NAME --host HOST"),
        (&["--create", "--weight", "0"], "it must be from 1 to 16"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_ratelimitd"))
            .args(["serve", "--data-dir"])
            .arg(dir.path().join("data"))
            .args([
                "--policies",
                concat!(env!("CARGO_MANIFEST_DIR"), "/config/limits.toml"),
            ])
            .args(arguments)
            .output()
            .unwrap();
        let remarks = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {remarks}");
        assert!(remarks.contains(said), "{arguments:?}: {remarks}");
    }
    assert!(!dir.path().join("data").exists());
}
