//! `config validate`.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use super::ctl::{ctl, json_of, text};

#[test]
fn a_file_is_valid_or_every_mistake_is_told_in_its_place() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("f.toml");
    let file = file.to_str().unwrap();
    for (written, exit, kind, places) in [
        (
            "[policy.api]\nlimit = \"10/min\"\n",
            0,
            json!("limits"),
            json!([]),
        ),
        ("listen = \"127.0.0.1:7400\"\n", 0, json!("node"), json!([])),
        (
            "[policy.api]\nlimit = \"10/fortnight\"\n[policy.b]\nlimit = \"1/s\"\nshadw = true\n",
            1,
            json!(null),
            json!([2, 5]),
        ),
        ("[policy.api\n", 1, json!(null), json!([1])),
    ] {
        fs::write(file, written).unwrap();
        let output = ctl(&["config", "validate", file, "-o", "json"]);
        let shown = json_of(&output);
        assert_eq!(output.status.code(), Some(exit), "{shown}");
        assert_eq!(shown["kind"], kind, "{shown}");
        assert_eq!(shown["valid"], exit == 0);
        let diagnostics = shown["diagnostics"].as_array().unwrap();
        let errors = diagnostics
            .iter()
            .filter(|found| found["severity"] == "error");
        let mut lines: Vec<_> = errors.map(|found| found["line"].clone()).collect();
        lines.dedup();
        assert_eq!(json!(lines), places, "{shown}");
        let page = ctl(&["config", "validate", file]);
        let verdict = if exit == 0 {
            ": valid as "
        } else {
            ": not valid"
        };
        assert!(
            text(&page.stdout).contains(verdict),
            "{}",
            text(&page.stdout)
        );
    }
    let missing = ctl(&["config", "validate", "/nonexistent/limits.toml"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).contains("/nonexistent/limits.toml"));
}
