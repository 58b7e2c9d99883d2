//! The status page and its events.

use super::*;

/// Reads until `end` has come.
async fn until(line: &mut Line, end: &str) -> String {
    loop {
        let text = String::from_utf8_lossy(&line.read).into_owned();
        if text.contains(end) {
            return text;
        }
        line.more().await.expect("more of the stream");
    }
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let site = Site::start().await;
    let page = site.ask(&plain("GET /", &[])).await;
    assert_eq!(page.status, 200);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    let html = String::from_utf8(page.body).unwrap();
    assert!(html.contains("new EventSource(\"/v1/events\")"));
    for elsewhere in ["src=", "http:", "@import", "url("] {
        let found = html.replace("http://www.w3.org/2000/svg", "");
        assert!(!found.contains(elsewhere), "{elsewhere}");
    }
}

#[tokio::test]
async fn events_tell_how_the_node_is_until_it_stops() {
    let site = Site::start().await;
    let mut line = site.connect().await;
    line.say(plain("GET /v1/events", &[]).as_bytes()).await;
    let text = until(&mut line, "\n\n").await;
    assert!(text.contains("content-type: text/event-stream"), "{text}");
    let start = text.find("data: ").unwrap() + "data: ".len();
    let view = text[start..].lines().next().unwrap();
    let view: Value = serde_json::from_str(view).unwrap();
    assert_eq!(view["policies"][0]["name"], "free");
    assert_eq!(view["policies"][0]["denied"], 5);
    site.server.shutdown(LONG);
    line.closed().await;
    site.running.await.unwrap();
}

#[tokio::test]
async fn so_many_pages_are_watched_at_once_and_no_more() {
    let site = Site::start().await;
    let mut lines = Vec::new();
    for _ in 0..32 {
        let mut line = site.connect().await;
        line.say(plain("GET /v1/events", &[]).as_bytes()).await;
        until(&mut line, "data: ").await;
        lines.push(line);
    }
    let refused = site.ask(&plain("GET /v1/events", &[])).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (503, "overloaded")
    );
    drop(lines);
    // Whoever has gone makes room, as soon as the node notices.
    while site.ask(&plain("HEAD /v1/events", &[])).await.status != 200 {}
}
