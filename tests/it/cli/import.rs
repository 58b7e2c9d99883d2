//! `import`: what it prints is a `limits.toml`, and what is lost is told on stderr.

use std::fs;

use tempfile::TempDir;

use super::ctl::{ctl, json_of, text};

const ENVOY: &str = "\
domain: edge
descriptors:
  - key: remote_address
    detailed_metric: true
    rate_limit: { unit: minute, requests_per_unit: 5 }
";

const LIMITADOR: &str = "\
- namespace: edge
  max_value: 5
  seconds: 60
  conditions: [\"descriptors[0].method != 'GET'\"]
- namespace: edge
  max_value: 5
  seconds: 60
  variables: [remote_address]
";

#[test]
fn what_is_imported_is_valid_and_what_is_lost_is_told() {
    let dir = TempDir::new().unwrap();
    let (yaml, limits) = (dir.path().join("f.yaml"), dir.path().join("limits.toml"));
    let (yaml, limits) = (yaml.to_str().unwrap(), limits.to_str().unwrap());
    for (from, written, told) in [
        (
            "envoy",
            ENVOY,
            &["f.yaml:4: `detailed_metric` is not carried over"][..],
        ),
        (
            "limitador",
            LIMITADOR,
            &[
                "f.yaml:1: not carried over: without that condition",
                "f.yaml:4: cannot be said in a rule: descriptors[0].method != 'GET'",
                "f.yaml:5: holds for descriptors of just these entries: remote_address",
            ],
        ),
    ] {
        fs::write(yaml, written).unwrap();
        let imported = ctl(&["import", from, yaml]);
        assert!(imported.status.success(), "{}", text(&imported.stderr));
        let lines: Vec<&str> = text(&imported.stderr).lines().collect();
        assert_eq!(lines.len(), told.len(), "{lines:#?}");
        for (line, told) in lines.iter().zip(told) {
            assert!(line.contains(told), "{line}");
        }
        fs::write(limits, &imported.stdout).unwrap();
        let valid = ctl(&["config", "validate", limits]);
        assert!(valid.status.success(), "{}", text(&valid.stdout));
        let shown = text(&imported.stdout);
        assert!(
            shown.contains("match = [{ key = \"remote_address\" }]"),
            "{shown}"
        );
        let json = json_of(&ctl(&["import", from, yaml, "-o", "json"]));
        assert_eq!(json["limits"], shown);
        assert_eq!(json["notes"].as_array().unwrap().len(), told.len());
    }
    fs::write(yaml, "a: [").unwrap();
    let broken = ctl(&["import", "envoy", yaml]);
    assert_eq!(broken.status.code(), Some(2));
    assert!(
        text(&broken.stderr).contains("f.yaml"),
        "{}",
        text(&broken.stderr)
    );
    assert_eq!(
        ctl(&["import", "envoy", "/nonexistent.yaml"]).status.code(),
        Some(2)
    );
}
