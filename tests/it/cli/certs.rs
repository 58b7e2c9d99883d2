//! `certs`.

use std::fs;

use distributed_rate_limiter::transport::Role;
use distributed_rate_limiter::transport::tls::Credentials;
use tempfile::TempDir;

use super::ctl::{ctl, text};

#[test]
fn certs_are_made_once_and_replaced_only_when_told() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path().join("certs");
    let certs = |arguments: &[&str]| {
        let mut all = vec!["certs"];
        all.extend(arguments);
        all.extend(["--dir", dir.to_str().unwrap()]);
        ctl(&all)
    };
    let early = certs(&["node", "n1"]);
    assert_eq!(early.status.code(), Some(2));
    assert!(
        text(&early.stderr).contains("certs init"),
        "{}",
        text(&early.stderr)
    );
    for arguments in [
        &["init"][..],
        &["node", "n1", "--host", "limits.example.org"],
        &["client", "c1"],
        &["admin", "a1"],
    ] {
        let first = certs(arguments);
        assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
        let files: Vec<_> = text(&first.stdout).lines().collect();
        assert!(files.len() == 2 && files.iter().all(|file| fs::exists(file).unwrap()));
        let before = fs::read(files[0]).unwrap();
        let second = certs(arguments);
        assert_eq!(second.status.code(), Some(2), "{arguments:?}");
        assert!(text(&second.stderr).contains("hint: --force"));
        assert_eq!(fs::read(files[0]).unwrap(), before);
    }
    let forced = certs(&["admin", "a1", "--force"]);
    assert_eq!(forced.status.code(), Some(0), "{}", text(&forced.stderr));
}

#[test]
fn every_node_has_a_directory_of_its_own_and_one_authority() {
    let home = TempDir::new().unwrap();
    let at = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let certs = |arguments: &[&str]| {
        let made = ctl(&[&["certs"], arguments].concat());
        assert!(made.status.success(), "{}", text(&made.stderr));
        made
    };
    certs(&["init", "--dir", &at("ca")]);
    for node in ["node-1", "node-2"] {
        let made = certs(&["node", node, "--ca", &at("ca"), "--dir", &at(node)]);
        assert_eq!(text(&made.stdout).lines().count(), 3);
        Credentials::load(&home.path().join(node), Role::Node).unwrap();
        assert!(!fs::exists(at(&format!("{node}/ca.key"))).unwrap());
    }
    // The authority's certificate may be there, but not another authority's.
    certs(&["admin", "a", "--ca", &at("ca"), "--dir", &at("node-1")]);
    certs(&["init", "--dir", &at("other")]);
    let other = ctl(&[
        "certs",
        "admin",
        "a",
        "--ca",
        &at("ca"),
        "--dir",
        &at("other"),
    ]);
    assert_eq!(other.status.code(), Some(2), "{}", text(&other.stderr));
}
