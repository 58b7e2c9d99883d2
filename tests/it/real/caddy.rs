//! Caddy with `forward_auth`, by the lines of the README as they stand there.

use tempfile::TempDir;

use super::asking::{ask, get};
use super::backend::Backend;
use super::program::{Running, free, installed, snippet};
use crate::support::Cluster;

const POLICIES: &str = "[policy.api]\nlimit = \"200/hour\"\n";

/// What the comment in the README's lines asks for.
const SETTINGS: &str = "\
[http]
listen = \"127.0.0.1:0\"
key_from = \"header:x-api-key\"
";

#[tokio::test]
async fn caddy_lets_as_many_through_as_the_limit_says_and_tells_the_rest_when_to_come_back() {
    let backend = Backend::start();
    let cluster = Cluster::start_with(3, 1, POLICIES, SETTINGS).await;
    let dir = TempDir::new().unwrap();
    let at = free(42);
    let lines = snippet("caddyfile")
        .replace("127.0.0.1:7480", &cluster.http(1).to_string())
        .replace(":8080 {", &format!(":{} {{\nbind {}", at.port(), at.ip()))
        .replace("127.0.0.1:8000", &backend.address().to_string());
    let file = dir.path().join("Caddyfile");
    std::fs::write(&file, format!("{{\nadmin off\n}}\n{lines}")).unwrap();
    let mut caddy = installed("debian/usr/bin/caddy");
    caddy.args(["run", "--adapter", "caddyfile", "--config"]);
    caddy.arg(&file).env("HOME", dir.path());
    caddy
        .env_remove("XDG_DATA_HOME")
        .env_remove("XDG_CONFIG_HOME");
    let _caddy = Running::start(&mut caddy, at, "/");
    assert_eq!(backend.reached(), 0, "nothing passes without a key");

    let one = &["X-Api-Key: one"][..];
    for n in 0..200 {
        let reply = match n % 3 {
            0 => get(at, "/", one),
            // The client's own query, method and body are no part of the check.
            1 => get(at, "/some/where?key=two&cost=100", one),
            _ => ask(at, "POST /", one, "{\"key\": \"two\"}"),
        };
        assert_eq!(reply.status, 200, "{n}: {reply:?}");
        if n % 3 == 1 {
            let passed_on = "GET /some/where?key=two&cost=100 ";
            assert!(reply.body.starts_with(passed_on), "{reply:?}");
        }
    }
    for path in ["/", "/?key=two"] {
        let reply = get(at, path, one);
        assert_eq!(reply.status, 429);
        assert!(reply.number("retry-after") > 0);
        assert!(reply.head.contains("\r\nratelimit: \"api\";r=0;t="));
    }
    assert_eq!(backend.reached(), 200);
    assert_eq!(get(at, "/", &["X-Api-Key: two"]).status, 200);
}
