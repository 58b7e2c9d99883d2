//! The edge of a whole node: true limits, true counts.

use super::metrics::{read, value};
use super::*;
use crate::limiter::policy::{Limit, Limits, Policy, PolicySet};
use crate::testing;

fn start(change: impl FnOnce(&mut crate::node::NodeOptions)) -> (testing::Server, SocketAddr) {
    let mut set = PolicySet::default();
    for (name, limits) in [("api", &["3/hour"][..]), ("two", &["5/10s", "1000/1500ms"])] {
        let limits = limits.iter().map(|limit| limit.parse::<Limit>().unwrap());
        let limits = Limits::new(limits.collect()).unwrap();
        set.policies.insert(name.into(), Policy::new(limits));
    }
    let server = testing::Server::start_with(&set, |options| {
        options.http.listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        change(options);
    });
    let server = server.unwrap();
    let address = server.node().http_address().unwrap();
    (server, address)
}

async fn ask(address: SocketAddr, start: &str, headers: &[&str]) -> Reply {
    Line::to(address).await.ask(&plain(start, headers)).await
}

fn number(reply: &Reply, header: &str, name: &str) -> u64 {
    let value = reply
        .header(header)
        .unwrap_or_else(|| panic!("no {header} in {reply:?}"));
    let found = value.split(';').find_map(|it| it.strip_prefix(name));
    found.unwrap_or_else(|| panic!("{value}")).parse().unwrap()
}

#[tokio::test]
async fn limits_are_told_and_kept() {
    let (server, address) = start(|options| options.http.headers = HeaderStyle::Both);
    for left in [2, 1, 0] {
        let reply = ask(address, "GET /v1/check/api?key=k", &[]).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("ratelimit-policy"), Some("\"api\";q=3;w=3600"));
        assert_eq!(number(&reply, "ratelimit", "r="), left);
        let body = reply.json();
        let reset = body["reset_after_ms"].as_u64().unwrap().div_ceil(1000);
        assert_eq!(number(&reply, "ratelimit", "t="), reset);
        assert_eq!(
            reply.header("x-ratelimit-remaining").unwrap(),
            left.to_string()
        );
    }
    let denied = ask(address, "GET /v1/check/api?key=k", &[]).await;
    assert_eq!((denied.status, denied.code().as_str()), (429, "denied"));
    let wait_ms = denied.json()["retry_after_ms"].as_u64().unwrap();
    assert!(wait_ms > 0);
    let told = denied
        .header("retry-after")
        .unwrap()
        .parse::<u64>()
        .unwrap();
    assert!(
        told * 1000 >= wait_ms && told * 1000 < wait_ms + 1000,
        "{told} {wait_ms}"
    );
    assert!(denied.json()["detail"].as_str().unwrap().contains("3/hour"));

    let two = ask(address, "GET /v1/check/two?key=k&cost=2", &[]).await;
    let expected = "\"two:5/10s\";q=5;w=10, \"two:1000/1500ms\";q=1000";
    assert_eq!(two.header("ratelimit-policy"), Some(expected));
    assert!(
        two.header("ratelimit")
            .unwrap()
            .starts_with("\"two:5/10s\";r=3;t=")
    );
    let above = ask(address, "GET /v1/check/api?key=k&cost=4", &[]).await;
    assert_eq!(above.code(), "cost-above-limit");
    drop(server);
}

#[tokio::test]
async fn one_count_serves_all_protocols_and_operators_can_forget_it() {
    let (server, address) =
        start(|options| options.http.token = Some(BearerToken::parse(TOKEN).unwrap()));
    let client = server.client().connect().await.unwrap();
    for _ in 0..3 {
        assert!(client.check("api", "k").await.unwrap().allowed);
    }
    let shown = format!("Authorization: Bearer {TOKEN}");
    let shown = &[shown.as_str()][..];
    assert_eq!(
        ask(address, "GET /v1/check/api?key=k", &[]).await.status,
        429
    );
    let look = ask(address, "GET /v1/keys/api/k", shown).await;
    assert_eq!(
        (look.status, &look.json()["allowed"]),
        (200, &Value::Bool(false))
    );
    assert_eq!(
        ask(address, "DELETE /v1/keys/api/k", shown).await.status,
        204
    );
    assert_eq!(
        ask(address, "GET /v1/keys/api/k", shown).await.json()["remaining"],
        3
    );
    assert_eq!(
        ask(address, "GET /v1/check/api?key=k", &[]).await.status,
        200
    );
    assert_eq!(ask(address, "GET /readyz", &[]).await.status, 200);
    drop(server);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
#[expect(clippy::float_cmp, reason = "whole numbers")]
async fn metrics_count_what_was_decided() {
    let (server, address) = start(|_| {});
    for _ in 0..4 {
        ask(address, "GET /v1/check/api?key=secret-k", &[]).await;
    }
    let client = server.client().connect().await.unwrap();
    client.check("two", "k").await.unwrap();
    server
        .node()
        .set_policies(&PolicySet {
            policies: [(
                "api".to_owned(),
                Policy::new("9/hour".parse::<Limit>().unwrap()),
            )]
            .into(),
            ..PolicySet::default()
        })
        .unwrap();
    let reply = ask(address, "GET /metrics", &[]).await;
    let text = String::from_utf8(reply.body).unwrap();
    assert!(!text.contains("secret-k"), "no key is ever told");
    let families = read(&text);
    let of = |name: &str, labels: &[(&str, &str)]| value(&families, name, labels);
    let api = |outcome| {
        of(
            "ratelimit_checks_total",
            &[("policy", "api"), ("outcome", outcome)],
        )
    };
    assert_eq!(
        (api("allowed"), api("denied"), api("degraded")),
        (3.0, 1.0, 0.0)
    );
    assert_eq!(of("ratelimit_keys", &[]), 2.0);
    assert_eq!(of("ratelimit_slots_served", &[]), 4096.0);
    assert_eq!(of("ratelimit_nodes", &[("state", "alive")]), 1.0);
    assert_eq!(of("ratelimit_storage_up", &[]), 1.0);
    drop(server);
}
