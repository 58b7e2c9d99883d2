//! `wal`, on the directory of a node that ran in this process.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::ctl::{ctl, json_of, text};
use super::online::Served;

fn wal(action: &str, dir: &Path) -> (Option<i32>, Value) {
    let output = ctl(&["wal", action, dir.to_str().unwrap(), "-o", "json"]);
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    (output.status.code(), json_of(&output))
}

#[test]
fn a_directory_is_in_order_until_one_byte_of_it_is_not() {
    let home = TempDir::new().unwrap();
    let dir = home.path().join("data");
    let served = Served::start_with(&[("api", &["10/min"])], |options| {
        options.data_dir = Some(dir.clone());
        options.create = true;
    });
    for key in ["a", "b", "c"] {
        assert!(served.ctl(&["check", "api", key]).status.success());
    }
    let (code, shown) = wal("verify", &dir);
    assert_eq!(
        (code, &shown["whole"], &shown["closed"]),
        (Some(0), &true.into(), &false.into())
    );
    served.stop();
    let (code, shown) = wal("verify", &dir);
    assert_eq!(
        (code, &shown["whole"], &shown["closed"]),
        (Some(0), &true.into(), &true.into())
    );
    let kept = shown["rows"].as_u64().unwrap() + shown["changes"].as_u64().unwrap();
    assert!(kept >= 3, "{shown}");
    damage_one_byte(&dir);
    let (code, shown) = wal("verify", &dir);
    assert_eq!((code, &shown["whole"]), (Some(1), &false.into()), "{shown}");
    assert!(!shown["damage"].as_array().unwrap().is_empty());
    assert_eq!(wal("status", &dir), (Some(0), shown));
}

/// Flips a bit in the middle of the largest table or log of the database.
fn damage_one_byte(dir: &Path) {
    let files = fs::read_dir(dir.join("db"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let data = files.filter(|path| {
        path.extension()
            .is_some_and(|end| end == "sst" || end == "log")
    });
    let file = data
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
}

#[test]
fn what_is_no_data_directory_is_told() {
    let dir = TempDir::new().unwrap();
    for path in [dir.path(), &dir.path().join("missing")] {
        let output = ctl(&["wal", "verify", path.to_str().unwrap()]);
        let remarks = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{remarks}");
        assert!(remarks.contains(path.to_str().unwrap()), "{remarks}");
    }
}
