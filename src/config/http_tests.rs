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
        let warning = config.check_http(&Origin::default());
        assert_eq!(warning.is_some(), warned, "{listen:?}");
    }
}
