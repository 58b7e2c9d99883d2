//! What `[http]` may say.

use super::*;
use crate::config::source::Source;

fn read(text: &str) -> Result<(HttpConfig, usize), String> {
    let source = Source {
        file: "node.toml".into(),
        text: text.into(),
    };
    let read = crate::config::node_file::read_node(&source, Some(Path::new("/etc/r")));
    match read {
        Ok((checked, _)) => Ok((checked.value.http, checked.warnings.len())),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn every_key_is_read() {
    let (read, warnings) = read(
        r#"[http]
listen = "127.0.0.1:7480"
headers = "both"
deny_status = 403
key_from = "client-address"
trusted_proxies = 2
token_file = "token"
timeout = "250ms"
tls_cert = "tls/own.pem"
tls_key = "/run/own.key"
tls_client_ca = "clients.pem"
"#,
    )
    .unwrap();
    let expected = HttpConfig {
        listen: Some(SocketAddr::from(([127, 0, 0, 1], 7480))),
        headers: HeaderStyle::Both,
        deny_status: 403,
        key_from: KeyFrom::ClientAddress,
        trusted_proxies: 2,
        token: None,
        token_file: Some("/etc/r/token".into()),
        timeout: Duration::from_millis(250),
        tls_cert: Some("/etc/r/tls/own.pem".into()),
        tls_key: Some("/run/own.key".into()),
        tls_client_ca: Some("/etc/r/clients.pem".into()),
    };
    assert_eq!((read, warnings), (expected, 0));
}

#[test]
fn keys_come_from_the_request_the_address_or_a_header() {
    for (text, expected) in [
        ("request", Some(KeyFrom::Request)),
        ("client-address", Some(KeyFrom::ClientAddress)),
        (
            "header:X-API-Key",
            Some(KeyFrom::Header("x-api-key".into())),
        ),
        ("header:", None),
        ("header:a b", None),
        ("headers:a", None),
        ("x-api-key", None),
    ] {
        let read = read(&format!("[http]\nkey_from = \"{text}\"\n"));
        assert_eq!(read.ok().map(|it| it.0.key_from), expected, "{text}");
    }
}

#[test]
fn mistakes_are_told() {
    for (text, said) in [
        ("listen = \"7480\"", "must be an address and a port"),
        ("deny_status = 200", "deny_status"),
        ("headers = \"x\"", "headers"),
        ("timeout = \"2min\"", "timeout"),
        ("token = \"0123456789abcdef\"", "token_file"),
        ("port = 1", "not a key in [http]"),
    ] {
        let error = read(&format!("[http]\n{text}\n")).unwrap_err();
        assert!(error.contains(said), "{text}: {error}");
    }
    let odd = read("[http]\ntrusted_proxies = 1\n").unwrap();
    assert_eq!(odd.1, 1, "it does nothing, and that is said");
}

#[test]
fn what_anybody_can_reach_is_warned_of() {
    let mut config = NodeConfig::default();
    for (listen, warned) in [
        (None, false),
        (Some("127.0.0.1:7480"), false),
        (Some("[::1]:7480"), false),
        (Some("0.0.0.0:7480"), true),
        (Some("192.0.2.1:7480"), true),
    ] {
        config.http.listen = listen.map(|it| it.parse().unwrap());
        for (cert, ca, warned) in [
            (false, false, warned),
            (true, false, warned),
            (true, true, false),
        ] {
            let file = |there: bool| there.then(|| PathBuf::from("file"));
            (config.http.tls_cert, config.http.tls_client_ca) = (file(cert), file(ca));
            let warning = config.check_reach(&Origin::default());
            assert_eq!(warning.is_some(), warned, "{listen:?} {cert} {ca}");
        }
    }
}

#[test]
fn a_certificate_and_its_key_come_together_or_not_at_all() {
    let file = |there: char, name: &str| (there == 'x').then(|| PathBuf::from(name));
    for (given, expected) in [
        // Certificate, key, authority of clients, address.
        ("----", None),
        ("---x", None),
        ("xx-x", None),
        ("xxxx", None),
        ("x--x", Some((Severity::Error, "set `tls_key` too"))),
        ("x-xx", Some((Severity::Error, "set `tls_key` too"))),
        ("-x-x", Some((Severity::Error, "set `tls_cert` too"))),
        ("--xx", Some((Severity::Error, "would let anybody in"))),
        ("xx--", Some((Severity::Warning, "does nothing unless"))),
    ] {
        let given: Vec<char> = given.chars().collect();
        let http = HttpConfig {
            tls_cert: file(given[0], "cert"),
            tls_key: file(given[1], "key"),
            tls_client_ca: file(given[2], "ca"),
            listen: (given[3] == 'x').then(|| SocketAddr::from(([127, 0, 0, 1], 7480))),
            ..HttpConfig::default()
        };
        let found = http.check_tls();
        assert_eq!(found.map(|it| it.0), expected.map(|it| it.0), "{given:?}");
        if let (Some(found), Some(expected)) = (found, expected) {
            assert!(found.1.contains(expected.1), "{}", found.1);
        }
    }
}

#[test]
fn what_is_wrong_with_tls_is_told_with_its_place() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("node.toml");
    let text = "[http]\nlisten = \"127.0.0.1:0\"\ntls_key = \"own.key\"\n";
    std::fs::write(&path, text).unwrap();
    let load = |http_cert: Option<PathBuf>| {
        NodeConfig::load(crate::config::NodeOverrides {
            config: Some(path.clone()),
            http_cert,
            ..crate::config::NodeOverrides::default()
        })
    };
    let error = load(None).unwrap_err().to_string();
    assert!(error.contains("node.toml:3:"), "{error}");
    let both = load(Some("own.pem".into())).unwrap().value.http;
    assert_eq!(both.tls_cert, Some("own.pem".into()));
    assert_eq!(both.tls_key, Some(dir.path().join("own.key")));
}
