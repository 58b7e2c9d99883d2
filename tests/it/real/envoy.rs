//! Envoy with its rate limit filter as `config/envoy.yaml` has it, in front of a service: the rules come
//! from a file of envoyproxy/ratelimit, three nodes with three copies answer, and one of them is killed.

use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use super::asking::{Reply, get};
use super::backend::Backend;
use super::program::{Running, free, installed, run};
use crate::support::{Cluster, eventually};

const RULES: &str = "\
domain: edge
descriptors:
  - key: api_key
    rate_limit: { unit: hour, requests_per_unit: 20 }
  - key: api_key
    value: ours
    rate_limit: { unlimited: true }
  - key: path
    value: /login
    descriptors:
      - key: api_key
        rate_limit: { unit: hour, requests_per_unit: 3 }
";

/// The policies and rules that `import envoy` makes of these.
fn imported(dir: &TempDir) -> String {
    let file = dir.path().join("rules.yaml");
    std::fs::write(&file, RULES).unwrap();
    let mut import = Command::new(env!("CARGO_BIN_EXE_ratelimitctl"));
    run(import.args(["import", "envoy"]).arg(file))
}

/// Starts Envoy with the sample, but for addresses, and so that a slow machine is waited for and an
/// unanswered check is seen.
fn start(dir: &TempDir, cluster: &Cluster, backend: &Backend, at: SocketAddr) -> Running {
    let sample = format!("{}/config/envoy.yaml", env!("CARGO_MANIFEST_DIR"));
    let sample = std::fs::read_to_string(sample).unwrap();
    let place = |at: SocketAddr| format!("address: {}, port_value: {}", at.ip(), at.port());
    let mut changes = vec![
        ("timeout: 0.25s\n ".to_owned(), "timeout: 20s\n ".to_owned()),
        (
            "failure_mode_deny: false".to_owned(),
            "failure_mode_deny: true".to_owned(),
        ),
        ("address: 0.0.0.0, port_value: 8080".to_owned(), place(at)),
        (
            "address: 127.0.0.1, port_value: 8000".to_owned(),
            place(backend.address()),
        ),
    ];
    for node in cluster.running() {
        let from = format!("address: 10.0.0.{}, port_value: 7480", node + 1);
        changes.push((from, place(cluster.http(node))));
    }
    let config = changes.iter().fold(sample, |config, (from, to)| {
        assert!(config.contains(from), "{from}");
        config.replacen(from, to, 1)
    });
    let file = dir.path().join("envoy.yaml");
    std::fs::write(&file, config).unwrap();
    let mut envoy = installed("python/bin/envoy");
    envoy.arg("--config-path").arg(file);
    envoy.args([
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "warning",
    ]);
    Running::start(&mut envoy, at, "/")
}

#[tokio::test]
async fn envoy_lets_through_what_its_rules_say_also_when_a_node_is_killed() {
    let dir = TempDir::new().unwrap();
    let settings = "[http]\nlisten = \"127.0.0.1:0\"\n";
    let mut cluster = Cluster::start_with(3, 3, &imported(&dir), settings).await;
    let backend = Backend::start();
    let at = free(43);
    let _envoy = start(&dir, &cluster, &backend, at);
    let ask = |path: &str, key: &str| get(at, path, &[&format!("X-Api-Key: {key}")]);
    eventually("Envoy has found all nodes", || {
        ask("/", "ours").status == 200
    });

    obeys(&ask, "first");
    let before = backend.reached();
    assert_eq!(ask("/", "first").status, 429);
    assert_eq!(backend.reached(), before, "what is denied goes no further");
    for _ in 0..40 {
        assert_eq!(ask("/", "ours").status, 200);
    }

    cluster.lose(1);
    let mut tried = 0;
    eventually("the others answer for all keys", || {
        // What was counted is not forgotten, whoever answers.
        assert_ne!(ask("/", "first").status, 200);
        let fresh = (0..30).map(|_| {
            tried += 1;
            ask("/", &format!("try-{tried}")).status
        });
        fresh.filter(|&status| status == 200).count() == 30
    });
    for n in 0..5 {
        obeys(&ask, &format!("later-{n}"));
    }
    assert_eq!(ask("/", "first").status, 429);
    assert_eq!(ask("/", "ours").status, 200);
}

/// A key that is new has 20 requests, 3 of them for `/login`, and is told so.
fn obeys(ask: &impl Fn(&str, &str) -> Reply, key: &str) {
    for left in [2, 1, 0] {
        let reply = ask("/login", key);
        assert_eq!(reply.status, 200, "{reply:?}");
        // Of two limits the one with the least left.
        let said = reply.header("x-ratelimit-limit").unwrap();
        assert!(said.starts_with("3,"), "{reply:?}");
        assert_eq!(reply.number("x-ratelimit-remaining"), left, "{reply:?}");
    }
    let denied = ask("/login", key);
    assert_eq!(denied.status, 429, "{denied:?}");
    assert_eq!(denied.number("x-ratelimit-remaining"), 0, "{denied:?}");
    // The denied one was not counted by the other limit.
    for left in (0..17).rev() {
        let reply = ask("/", key);
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.number("x-ratelimit-remaining"), left, "{reply:?}");
        assert!(reply.number("x-ratelimit-reset") > 3500, "{reply:?}");
    }
    let denied = ask("/", key);
    assert_eq!(denied.status, 429, "{denied:?}");
    assert!(
        denied
            .header("x-ratelimit-limit")
            .unwrap()
            .starts_with("20,")
    );
}
