//! Which files a listener's TLS takes, and what it says of the others.

use super::*;
use crate::transport::Role;
use crate::transport::certs::Authority;

/// A directory with two certificates of one authority, and things that are none.
fn files() -> tempfile::TempDir {
    let dir = tempfile::TempDir::new().unwrap();
    let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let authority = Authority::create("web").unwrap();
    put("ca.pem", authority.cert_pem());
    for name in ["one", "two"] {
        let issued = authority.issue(Role::Node, name, &["localhost".into()]);
        let issued = issued.unwrap();
        put(&format!("{name}.pem"), issued.cert_pem());
        put(&format!("{name}.key"), issued.key_pem());
    }
    put("empty", "");
    put(
        "damaged",
        "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
    );
    put(
        "no-key",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    );
    put(
        "no-cert",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    dir
}

fn load(dir: &Path, [cert, key, ca]: [&str; 3]) -> Result<WebTls, WebTlsError> {
    let files = WebTlsFiles {
        cert: dir.join(cert),
        key: dir.join(key),
        client_ca: (!ca.is_empty()).then(|| dir.join(ca)),
    };
    WebTls::load(files, &[b"h2"])
}

#[test]
fn what_cannot_be_used_is_told_with_its_file_and_what_to_do() {
    let dir = files();
    for (given, file, said) in [
        (
            ["missing", "one.key", ""],
            "missing",
            "check that it is there",
        ),
        (
            ["one.pem", "missing", ""],
            "missing",
            "check that it is there",
        ),
        (
            ["one.pem", "one.key", "missing"],
            "missing",
            "check that it is there",
        ),
        (["empty", "one.key", ""], "empty", "BEGIN CERTIFICATE"),
        (["one.key", "one.key", ""], "one.key", "BEGIN CERTIFICATE"),
        (["one.pem", "one.pem", ""], "one.pem", "BEGIN PRIVATE KEY"),
        (["one.pem", "empty", ""], "empty", "BEGIN PRIVATE KEY"),
        (
            ["one.pem", "one.key", "empty"],
            "empty",
            "BEGIN CERTIFICATE",
        ),
        (
            ["damaged", "one.key", ""],
            "damaged",
            "put a whole one there",
        ),
        (
            ["no-cert", "one.key", ""],
            "no-cert",
            "put a whole one there",
        ),
        (["one.pem", "no-key", ""], "no-key", "put a whole one there"),
        (
            ["one.pem", "one.key", "no-cert"],
            "no-cert",
            "put a whole one there",
        ),
        (["one.pem", "two.key", ""], "two.key", "does not fit"),
    ] {
        let error = load(dir.path(), given).unwrap_err().to_string();
        let path = dir.path().join(file).display().to_string();
        assert!(error.contains(said), "{given:?}: {error}");
        assert!(error.contains(&path), "{given:?}: {error}");
    }
}

#[test]
fn nothing_is_taken_in_before_the_handshake_is_done() {
    let dir = files();
    for ca in ["", "ca.pem"] {
        let tls = load(dir.path(), ["one.pem", "one.key", ca]).unwrap();
        let config = tls.current();
        assert_eq!(config.max_early_data_size, 0);
        assert_eq!(config.alpn_protocols, [b"h2"]);
    }
}

#[test]
fn files_that_cannot_be_used_later_leave_what_was_read_before() {
    let dir = files();
    let tls = load(dir.path(), ["one.pem", "one.key", ""]).unwrap();
    let before = tls.current();
    let copy = |from: &str, to: &str| {
        std::fs::copy(dir.path().join(from), dir.path().join(to)).unwrap();
    };
    copy("two.pem", "one.pem");
    assert!(matches!(tls.reload(), Err(WebTlsError::KeyMismatch { .. })));
    assert!(Arc::ptr_eq(&before, &tls.current()));
    copy("two.key", "one.key");
    tls.reload().unwrap();
    assert!(!Arc::ptr_eq(&before, &tls.current()));
}
