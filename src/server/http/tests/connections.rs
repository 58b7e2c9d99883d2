//! How connections begin, live and end.

use super::*;

#[tokio::test]
async fn a_connection_carries_many_requests_one_after_the_other() {
    let site = Site::start().await;
    let mut line = site.connect().await;
    for n in 1..=3 {
        let key = "k".repeat(n);
        let request = plain(&format!("GET /v1/check/free?key={key}"), &[]);
        let reply = line.ask(&request).await;
        assert_eq!(reply.json()["limit"], u64::try_from(n).unwrap());
    }
    let two = plain("GET /healthz", &[]).repeat(2);
    line.say(two.as_bytes()).await;
    for _ in 0..2 {
        assert_eq!(line.reply(false).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn a_silent_connection_is_closed_and_holds_up_nobody() {
    let bounds = HttpBounds {
        idle_timeout: Duration::from_millis(50),
        ..HttpBounds::default()
    };
    let site = Site::with(&settings(), bounds).await;
    let silent = site.connect().await;
    let mut half = site.connect().await;
    half.say(b"GET /healthz HTT").await;
    let mut kept = site.connect().await;
    assert_eq!(kept.ask(&plain("GET /healthz", &[])).await.status, 200);
    for line in [silent, half, kept] {
        let rest = line.closed().await;
        assert!(
            rest.is_empty() || rest.starts_with(b"HTTP/1.1 408 "),
            "{rest:?}"
        );
    }
}

#[tokio::test]
async fn a_node_that_stops_answers_what_it_has_read() {
    let site = Site::start().await;
    let idle = site.connect().await;
    let mut line = site.connect().await;
    line.say(plain("GET /v1/check/late?key=a", &[]).as_bytes())
        .await;
    site.toy.decided(1).await;
    site.server.shutdown(LONG);
    assert!(idle.closed().await.is_empty());
    site.toy.open("a");
    let reply = line.reply(false).await.unwrap();
    assert_eq!(reply.status, 200);
    assert!(line.closed().await.is_empty());
    site.running.await.unwrap();
}

#[tokio::test]
async fn what_takes_too_long_is_told_to_be_lost() {
    let site = Site::start().await;
    site.toy.keep(|kept| kept.committed = 0);
    let reply = site
        .ask(&plain("GET /v1/check/process?key=a&timeout_ms=1", &[]))
        .await;
    assert_eq!((reply.status, reply.code().as_str()), (503, "answer-lost"));
    let detail = reply.json()["detail"].to_string();
    assert!(detail.contains("may have been carried out"), "{detail}");
    site.toy.keep(|kept| kept.failed = true);
    let reply = site.ask(&plain("GET /v1/check/process?key=a", &[])).await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (503, "storage-failed")
    );
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Headers of a `GET`, by the static table.
fn head(path: &str) -> Vec<u8> {
    let mut head = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
    head.extend(path.bytes());
    head.extend([0x01, 1, b'h']);
    head
}

#[tokio::test]
async fn http_2_is_spoken_without_an_upgrade() {
    let site = Site::start().await;
    speak_http_2(&site, site.connect().await).await;
}

pub(super) async fn speak_http_2(site: &Site, mut line: Line) {
    line.say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    line.say(&frame(4, 0, 0, &[])).await;
    // Two requests in flight at once; the second is answered first.
    line.say(&frame(1, 5, 1, &head("/v1/check/late?key=four")))
        .await;
    line.say(&frame(1, 5, 3, &head("/v1/check/free?key=five5")))
        .await;
    let mut told = Vec::new();
    while told.len() < 2 {
        while line.read.len() < 9 {
            line.more().await.unwrap();
        }
        let bytes = &line.read;
        let length = usize::from(bytes[1]) << 8 | usize::from(bytes[2]);
        let (kind, stream) = (bytes[3], bytes[8]);
        while line.read.len() < 9 + length {
            line.more().await.unwrap();
        }
        let rest = line.read.split_off(9 + length);
        let payload = std::mem::replace(&mut line.read, rest).split_off(9);
        if kind == 0 && !payload.is_empty() {
            let body: Value = serde_json::from_slice(&payload).unwrap();
            told.push((stream, body["limit"].as_u64().unwrap()));
            site.toy.open("four");
        }
    }
    assert_eq!(told, [(3, 5), (1, 4)]);
}
