//! The edge over real connections on loopback, in front of a toy or a whole node.

mod bad_input;
mod checks;
mod connections;
mod document;
mod metrics;
mod node;
mod page;
mod tls;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::bounds::HttpBounds;
use super::edge::{Http, HttpSettings};
use super::metrics::{CommitFigures, Figures, NodeFigures, PolicyFigures, WithoutCounts};
use crate::server::{Bounds, Server, Toy, serve_tcp};
use crate::telemetry::DurationCounts;
use crate::types::{BearerToken, HeaderStyle, KeyFrom, MonoTime};

const TOKEN: &str = "0123456789abcdef";
const LONG: Duration = Duration::from_secs(3600);

fn settings() -> HttpSettings {
    HttpSettings {
        headers: HeaderStyle::Both,
        deny_status: 429,
        key_from: KeyFrom::Request,
        trusted_proxies: 0,
        token: Some(BearerToken::parse(TOKEN).unwrap()),
        timeout: Duration::from_secs(30),
        tls: None,
        wall_ms: || 0,
    }
}

/// So many durations, all above the last bound but the first.
fn took(count: u64, sum_ns: u64) -> DurationCounts {
    let mut counts = DurationCounts {
        sum_ns,
        ..DurationCounts::default()
    };
    counts.counts[0] = 1;
    counts.counts[16] = count - 1;
    counts
}

#[derive(Debug)]
struct Known;

impl Figures for Known {
    fn figures(&self) -> NodeFigures {
        NodeFigures {
            policies: vec![PolicyFigures {
                policy: "free".into(),
                allowed: 7,
                denied: 5,
                shadow_denied: 3,
                degraded: 2,
                without_counts: [(1, 2), (4, 8), (16, 32), (64, 128)]
                    .map(|(allowed, denied)| WithoutCounts { allowed, denied }),
            }],
            commit_bytes: 1 << 40,
            commits: CommitFigures {
                whole: took(2, 30_000),
                writes: took(3, 20_000),
                syncs: took(1, 4_000_000_000),
            },
            dirty_keys: 77,
        }
    }
}

/// A toy behind the edge.
struct Site {
    toy: Arc<Toy>,
    server: Arc<Server<Toy>>,
    address: SocketAddr,
    running: JoinHandle<()>,
}

impl Site {
    async fn start() -> Self {
        Self::with(&settings(), HttpBounds::default()).await
    }

    async fn with(settings: &HttpSettings, bounds: HttpBounds) -> Self {
        let toy = Arc::new(Toy::default());
        let server = Server::new(Arc::clone(&toy), Bounds::default(), || MonoTime::from_ns(0));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let http = Http::bounded(settings, Arc::new(Known), bounds).unwrap();
        let running = tokio::spawn(serve_tcp(Arc::clone(&server), listener, Arc::new(http)));
        Self {
            toy,
            server,
            address,
            running,
        }
    }

    async fn connect(&self) -> Line {
        Line::to(self.address).await
    }

    /// One request on a connection of its own.
    async fn ask(&self, request: &str) -> Reply {
        self.connect().await.ask(request).await
    }

    /// One request with a body of JSON.
    async fn post(&self, path: &str, body: &str) -> Reply {
        let head = "Content-Type: application/json";
        self.ask(&with_body(&format!("POST {path}"), head, body))
            .await
    }
}

fn with_body(start: &str, head: &str, body: &str) -> String {
    let bytes = body.len();
    format!("{start} HTTP/1.1\r\nHost: h\r\n{head}\r\nContent-Length: {bytes}\r\n\r\n{body}")
}

/// A request without a body: its start, such as `GET /`, and more headers.
fn plain(start: &str, headers: &[&str]) -> String {
    let lines = [&["Host: h"], headers, &["\r\n"]].concat().join("\r\n");
    format!("{start} HTTP/1.1\r\n{lines}")
}

/// What a connection is spoken over.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A connection that speaks HTTP/1.1 by hand.
struct Line {
    stream: Box<dyn Wire>,
    read: Vec<u8>,
}

/// What was answered.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Line {
    async fn to(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    fn over(stream: impl Wire + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            read: Vec::new(),
        }
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn ask(&mut self, request: &str) -> Reply {
        self.say(request.as_bytes()).await;
        let bodiless = request.starts_with("HEAD");
        self.reply(bodiless).await.expect("an answer")
    }

    /// The next answer; `None` if the connection ends first.
    async fn reply(&mut self, bodiless: bool) -> Option<Reply> {
        let head = loop {
            if let Some(at) = self.read.windows(4).position(|it| it == b"\r\n\r\n") {
                let rest = self.read.split_off(at + 4);
                break String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap();
            }
            self.more().await?;
        };
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
        let headers: BTreeMap<_, _> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let length = headers
            .get("content-length")
            .map_or(0, |it| it.parse().unwrap());
        let length = if bodiless { 0 } else { length };
        while self.read.len() < length {
            self.more().await?;
        }
        let rest = self.read.split_off(length);
        let body = std::mem::replace(&mut self.read, rest);
        Some(Reply {
            status,
            headers,
            body,
        })
    }

    async fn more(&mut self) -> Option<()> {
        let read = self.stream.read_buf(&mut self.read).await;
        read.is_ok_and(|bytes| bytes > 0).then_some(())
    }

    /// Waits until the other side has closed the connection, and says what it had said before.
    async fn closed(mut self) -> Vec<u8> {
        while self.more().await.is_some() {}
        self.read
    }
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Asserts that it is a problem as it should be, and returns its code.
    fn code(&self) -> String {
        let body = self.json();
        let kind = self.header("content-type");
        assert_eq!(kind, Some("application/problem+json"), "{body}");
        assert_eq!(body["status"], self.status, "{body}");
        for text in ["type", "title", "detail"] {
            assert!(!body[text].as_str().unwrap().is_empty(), "{body}");
        }
        body["code"].as_str().unwrap().to_owned()
    }
}
