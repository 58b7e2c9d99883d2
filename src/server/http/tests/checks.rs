//! What checks, looks and resets are answered.

use serde_json::json;

use super::*;
use crate::protocol::error::WireError;
use crate::server::http::problem::{Failure, Problem};

#[tokio::test]
async fn a_check_is_told_in_full() {
    let site = Site::start().await;
    let reply = site
        .ask(&plain("GET /v1/check/free?key=four&cost=3", &[]))
        .await;
    assert_eq!(reply.status, 200);
    let expected = json!({
        "policy": "free", "allowed": true, "limit": 4, "remaining": 0, "reset_after_ms": 0,
        "retry_after_ms": 0, "source": "owner", "shadow_denied": false,
    });
    assert_eq!(reply.json(), expected);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("x-ratelimit-limit"), Some("4"));

    let denied = site.ask(&plain("GET /v1/check/deny?key=four", &[])).await;
    assert_eq!((denied.status, denied.code().as_str()), (429, "denied"));
    let body = denied.json();
    assert_eq!(body["violated-policies"], json!(["deny"]));
    assert_eq!(
        (&body["allowed"], &body["limit"]),
        (&json!(false), &json!(4))
    );
    assert_eq!(denied.header("retry-after"), Some("0"));
}

#[tokio::test]
async fn key_and_cost_come_from_the_query_or_the_body() {
    let site = Site::start().await;
    let limit = |reply: &Reply| reply.json()["limit"].as_u64();
    for (path, body, expected) in [
        ("/v1/check/free", r#"{"key":"four"}"#, Some(4)),
        ("/v1/check/free?key=fi+ve", r#"{"cost":2}"#, Some(5)),
        ("/v1/check/free?key=%C3%BC%00%20", "", Some(4)),
        (
            "/v1/check/fr%65e",
            r#"{"key":"a\u0000\n","cost":0}"#,
            Some(3),
        ),
    ] {
        let reply = site.post(path, body).await;
        assert_eq!(limit(&reply), expected, "{path} {body}");
    }
    for (path, body, code) in [
        ("/v1/check/free?key=a", r#"{"key":"b"}"#, "bad-request"),
        (
            "/v1/check/free?key=a&cost=1",
            r#"{"cost":1}"#,
            "bad-request",
        ),
        ("/v1/check/free", r#"{"key":"a","kost":1}"#, "bad-request"),
        ("/v1/check/free", r#"{"key":7}"#, "bad-request"),
        ("/v1/check/free", r#"{"key":"a","cost":-1}"#, "bad-request"),
        ("/v1/check/free", "{", "bad-request"),
        ("/v1/check/free", "{}", "key-empty"),
        ("/v1/check/free?kost=1", "", "bad-request"),
        ("/v1/check/nobody?key=a", "", "unknown-policy"),
        ("/v1/check/free?key=a&timeout_ms=0", "", "bad-request"),
        ("/v1/check/free?key=a&timeout_ms=60001", "", "bad-request"),
    ] {
        let reply = site.post(path, body).await;
        assert_eq!(reply.code(), code, "{path} {body}");
    }
    let header = plain("GET /v1/check/free?key=a", &["X-Timeout-Ms: soon"]);
    assert_eq!(site.ask(&header).await.code(), "bad-request");
}

#[tokio::test]
async fn several_checks_are_each_told() {
    let site = Site::start().await;
    let ask = async |body: &str| site.post("/v1/check", body).await;
    let fine =
        ask(r#"{"checks":[{"policy":"free","key":"a"},{"policy":"free","key":"bb","cost":2}]}"#)
            .await;
    assert_eq!(fine.status, 200);
    assert_eq!(fine.json()["answers"][1]["limit"], 2);
    let denied =
        ask(r#"{"checks":[{"policy":"free","key":"a"},{"policy":"deny","key":"b"}]}"#).await;
    assert_eq!((denied.status, denied.code().as_str()), (429, "denied"));
    assert_eq!(denied.json()["answers"][0]["allowed"], true);
    assert_eq!(denied.json()["violated-policies"], json!(["deny"]));
    let failed =
        ask(r#"{"checks":[{"policy":"deny","key":"a"},{"policy":"none","key":"b"}]}"#).await;
    assert_eq!(
        (failed.status, failed.code().as_str()),
        (404, "unknown-policy")
    );
    let answers = &failed.json()["answers"];
    assert_eq!(answers[0]["allowed"], false);
    assert_eq!(answers[1]["error"]["code"], "unknown-policy");
    let check = r#"{"policy":"a","key":"b"}"#;
    let many = format!("{{\"checks\":[{}]}}", vec![check; 1025].join(","));
    for (body, code) in [
        (r#"{"checks":[]}"#, "bad-request"),
        (r#"{"checks":[{"policy":"free"}]}"#, "key-empty"),
        (r#"{"checks":[{"key":"free"}]}"#, "bad-request"),
        (r"[]", "bad-request"),
        ("", "bad-request"),
        (&many, "batch-too-large"),
    ] {
        assert_eq!(ask(body).await.code(), code, "{body:.80}");
    }
}

#[tokio::test]
async fn keys_are_for_who_has_the_token() {
    let site = Site::start().await;
    let shown = format!("Authorization: Bearer {TOKEN}");
    let shown: &[&str] = &[&shown];
    for method in ["GET", "DELETE"] {
        let path = format!("{method} /v1/keys/free/a%2Fb");
        let without = site.ask(&plain(&path, &[])).await;
        assert_eq!(
            (without.status, without.code().as_str()),
            (401, "unauthorized")
        );
        assert_eq!(without.header("www-authenticate"), Some("Bearer"));
        let almost = format!("Authorization: Bearer {}", TOKEN.replace('f', "g"));
        assert_eq!(site.ask(&plain(&path, &[&almost])).await.status, 401);
        assert!(site.toy.commands().is_empty());
    }
    let look = site
        .ask(&plain("GET /v1/keys/deny/a%2Fb?cost=2", shown))
        .await;
    assert_eq!((look.status, &look.json()["limit"]), (200, &json!(3)));
    assert_eq!(look.json()["allowed"], false);
    let reset = site.ask(&plain("DELETE /v1/keys/free/a%2Fb", shown)).await;
    assert_eq!((reset.status, reset.body.as_slice()), (204, &b""[..]));
    let commands = site.toy.commands();
    assert!(
        commands[0].contains("Reset") && commands[0].contains("a/b"),
        "{commands:?}"
    );

    let open = HttpSettings {
        token: None,
        ..settings()
    };
    let site = Site::with(&open, HttpBounds::default()).await;
    let refused = site.ask(&plain("DELETE /v1/keys/free/a", shown)).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "no-token"));
    let detail = refused.json()["detail"].to_string();
    assert!(detail.contains("token_file"), "{detail}");
}

#[tokio::test]
async fn settings_say_what_is_told_and_whose_key_it_is() {
    let header = HttpSettings {
        headers: HeaderStyle::None,
        deny_status: 403,
        key_from: KeyFrom::Header("x-api-key".into()),
        ..settings()
    };
    let site = Site::with(&header, HttpBounds::default()).await;
    let denied = site
        .ask(&plain("GET /v1/check/deny", &["X-Api-Key: abc"]))
        .await;
    assert_eq!((denied.status, &denied.json()["limit"]), (403, &json!(3)));
    assert!(
        denied.headers.keys().all(|it| !it.contains("ratelimit")),
        "{denied:?}"
    );
    assert_eq!(denied.header("retry-after"), Some("0"));
    let named = site
        .ask(&plain("GET /v1/check/free?key=ab", &["X-Api-Key: abc"]))
        .await;
    assert_eq!(named.json()["limit"], 2);
    assert_eq!(
        site.ask(&plain("GET /v1/check/free", &[])).await.code(),
        "key-empty"
    );

    let address = HttpSettings {
        key_from: KeyFrom::ClientAddress,
        ..settings()
    };
    let site = Site::with(&address, HttpBounds::default()).await;
    let reply = site
        .ask(&plain("GET /v1/check/free", &["X-Forwarded-For: 1.1.1.1"]))
        .await;
    let own = u64::try_from("127.0.0.1".len()).unwrap();
    assert_eq!(reply.json()["limit"], own);
    for bad in [200, 399, 600, 1000] {
        let settings = HttpSettings {
            deny_status: bad,
            ..settings()
        };
        assert!(Http::new(&settings, Arc::new(Known)).is_err(), "{bad}");
    }
}

#[test]
fn every_error_has_a_status_and_says_when_to_come_back_if_that_is_known() {
    let status = |error: &WireError| Failure::from(error).response();
    for (error, expected, retry) in [
        (WireError::UnknownPolicy { name: "a".into() }, 404, None),
        (WireError::KeyEmpty, 400, None),
        (WireError::KeyTooLong { bytes: 300 }, 400, None),
        (WireError::CostAboveLimit { cost: 2, limit: 1 }, 400, None),
        (WireError::Overloaded { retry_ms: 1001 }, 503, Some("2")),
        (WireError::DeadlineExceeded, 504, None),
        (WireError::Unavailable, 503, Some("1")),
        (WireError::StorageFailed, 503, None),
        (WireError::AnswerLost, 503, None),
    ] {
        let response = status(&error);
        assert_eq!(response.status(), expected, "{error}");
        let told = response.headers().get("retry-after");
        assert_eq!(told.map(|it| it.to_str().unwrap()), retry, "{error}");
    }
    let mut codes: Vec<_> = Problem::ALL.iter().map(|it| it.about().code).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(
        codes.len(),
        Problem::ALL.len(),
        "each has a name of its own"
    );
}
