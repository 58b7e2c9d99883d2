//! What comes in that should not.

use super::*;

fn short(change: impl FnOnce(&mut HttpBounds)) -> HttpBounds {
    let mut bounds = HttpBounds::default();
    change(&mut bounds);
    bounds
}

#[tokio::test]
async fn a_body_that_is_slow_endless_or_too_long_ends_the_request() {
    let bounds = short(|it| it.body_timeout = Duration::from_millis(20));
    let site = Site::with(&settings(), bounds).await;
    let start =
        "POST /v1/check/free?key=a HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n";
    let mut slow = site.connect().await;
    let slow = slow
        .ask(&format!("{start}Content-Length: 10\r\n\r\n{{"))
        .await;
    assert_eq!((slow.status, slow.code().as_str()), (408, "body-timeout"));

    let site = Site::start().await;
    let mut long = site.connect().await;
    let long = long
        .ask(&format!("{start}Content-Length: 65537\r\n\r\n"))
        .await;
    assert_eq!((long.status, long.code().as_str()), (413, "body-too-large"));

    let mut endless = site.connect().await;
    endless
        .say(format!("{start}Transfer-Encoding: chunked\r\n\r\n").as_bytes())
        .await;
    let chunk = [b"4000\r\n", &[b' '; 0x4000][..], b"\r\n"].concat();
    for _ in 0..5 {
        endless.say(&chunk).await;
    }
    let endless = endless.reply(false).await.unwrap();
    assert_eq!(
        (endless.status, endless.code().as_str()),
        (413, "body-too-large")
    );
    assert!(site.toy.batches().is_empty(), "nothing of it was asked");
}

#[tokio::test]
async fn heads_are_bounded() {
    let site = Site::start().await;
    let long = format!("X-Long: {}", "a".repeat(1 << 20));
    let mut line = site.connect().await;
    let request = plain("GET /v1/check/free?key=a", &[&long]);
    // It may be cut off before all is sent.
    line.stream.write_all(request.as_bytes()).await.ok();
    let told = line.closed().await;
    assert!(
        told.is_empty() || told.starts_with(b"HTTP/1.1 431 "),
        "{told:?}"
    );
    let many: Vec<_> = (0..65).map(|n| format!("X-{n}: a")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(site.ask(&plain("GET /healthz", &many)).await.status, 431);
    for broken in [
        "GET / HTTP/9.9\r\n\r\n",
        "\0\0\0\0",
        "GET /healthz HTTP/1.1\r\nbad header\r\n\r\n",
    ] {
        let mut line = site.connect().await;
        line.say(broken.as_bytes()).await;
        line.stream.shutdown().await.ok();
        let told = line.closed().await;
        assert!(
            told.is_empty() || told.starts_with(b"HTTP/1.1 400 "),
            "{broken}: {told:?}"
        );
    }
    assert_eq!(site.ask(&plain("GET /healthz", &[])).await.status, 200);
}

#[tokio::test]
async fn only_json_is_read_and_only_known_methods_and_paths() {
    let site = Site::start().await;
    let body = r#"{"key":"a"}"#;
    for (kind, expected) in [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("text/plain", 415),
        ("application/jsonp", 415),
        ("application/x-www-form-urlencoded", 415),
        ("", 415),
    ] {
        let head = format!("Content-Type: {kind}");
        let reply = site
            .ask(&with_body("POST /v1/check/free", &head, body))
            .await;
        assert_eq!(reply.status, expected, "{kind}");
        if expected == 415 {
            assert_eq!(reply.code(), "unsupported-media-type");
            assert_eq!(reply.header("accept"), Some("application/json"));
        }
    }
    for (start, status, allow) in [
        ("PUT /v1/check/free?key=a", 405, Some("GET, POST")),
        ("HEAD /v1/check/free?key=a", 405, Some("GET, POST")),
        ("GET /v1/check", 405, Some("POST")),
        ("PATCH /v1/keys/free/a", 405, Some("GET, DELETE")),
        ("POST /healthz", 405, Some("GET, HEAD")),
        ("HEAD /healthz", 200, None),
        ("GET /v1/keys/free/a/b", 404, None),
        ("GET /v1/check/", 404, None),
        ("POST /", 405, Some("GET, HEAD")),
        ("GET /v2", 404, None),
        ("OPTIONS *", 404, None),
    ] {
        let reply = site.ask(&plain(start, &[])).await;
        assert_eq!(
            (reply.status, reply.header("allow")),
            (status, allow),
            "{start}"
        );
        if status >= 400 && !start.starts_with("HEAD") {
            reply.code();
        }
    }
    let grpc = site
        .ask(&with_body(
            "POST /a.B/C",
            "Content-Type: application/grpc",
            "",
        ))
        .await;
    assert_eq!((grpc.status, grpc.header("grpc-status")), (200, Some("12")));
    assert!(
        site.toy.batches().len() == 2,
        "what was refused was not asked"
    );
}

#[tokio::test]
async fn a_list_is_not_read_as_the_fields_of_an_object() {
    let site = Site::start().await;
    for (start, body) in [
        ("POST /v1/check/free?key=a", "[null, null]"),
        ("POST /v1/check/free", r#"["a", 3]"#),
        ("POST /v1/check", r#"[[{"policy": "free", "key": "a"}]]"#),
        ("POST /v1/check", r#"{"checks": [["free", "a", 1]]}"#),
    ] {
        let asked = with_body(start, "Content-Type: application/json", body);
        let reply = site.ask(&asked).await;
        assert_eq!(reply.code(), "bad-request", "{body}");
    }
    assert!(site.toy.batches().is_empty(), "nothing of it was asked");
}

#[tokio::test]
async fn a_waiting_time_must_be_sound_even_where_another_one_is_followed() {
    let site = Site::start().await;
    let ask = async |wait: &str| {
        let header = format!("X-Timeout-Ms: {wait}");
        let start = "GET /v1/check/free?key=a&timeout_ms=60000";
        site.ask(&plain(start, &[&header])).await
    };
    assert_eq!(ask("1").await.status, 200);
    for wait in ["{}", "", "-1", "0.5", "0", "60001"] {
        assert_eq!(ask(wait).await.code(), "bad-request", "{wait}");
    }
}

#[tokio::test]
async fn keys_are_any_text_and_nothing_else() {
    let site = Site::start().await;
    for (key, expected) in [
        ("%F0%9F%A6%80", Some(4)),
        ("%00", Some(1)),
        ("a%26b%3Dc", Some(5)),
        ("..%2F..%2Fetc", Some(9)),
        ("%ff", None),
        ("%C0%AF", None),
        ("%", None),
        ("%0", None),
        ("%zz", None),
    ] {
        let reply = site
            .ask(&plain(&format!("GET /v1/check/free?key={key}"), &[]))
            .await;
        match expected {
            Some(bytes) => assert_eq!(reply.json()["limit"], bytes, "{key}"),
            None => assert_eq!(reply.code(), "bad-request", "{key}"),
        }
        let start = format!("GET /v1/keys/free/{key}");
        let shown = format!("Authorization: Bearer {TOKEN}");
        let reply = site.ask(&plain(&start, &[&shown])).await;
        assert_eq!(
            reply.status,
            if expected.is_some() { 200 } else { 400 },
            "{key}"
        );
    }
}
