//! HTTP as another program meets it: `ratelimitd dev`, asked by raw requests.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::eventually;

/// A cluster to try things out, and where it answers HTTP.
struct Dev {
    child: Child,
    http: String,
}

impl Dev {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ratelimitd"))
            .args(["dev", "--listen", "127.0.0.1:0", "--log-level", "warn"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let lines = lines.map_while(Result::ok);
        // The line that a person would copy.
        let line = lines
            .into_iter()
            .find(|line| line.contains("curl -i"))
            .unwrap();
        let rest = line.split_once("http://").unwrap().1;
        let http = rest.split('/').next().unwrap().to_owned();
        assert!(line.contains("/v1/check/api?key=user-42"), "{line}");
        Self { child, http }
    }

    /// The status, the headers in small letters, and the body.
    fn ask(&self, request: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        let close = request.replacen("\r\n", "\r\nHost: h\r\nConnection: close\r\n", 1);
        stream.write_all(close.as_bytes()).unwrap();
        let mut told = String::new();
        stream.read_to_string(&mut told).unwrap();
        let (head, body) = told.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    }

    fn get(&self, path: &str) -> (u16, String, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\n\r\n"))
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn the_line_that_dev_prints_works_and_the_limit_holds_whichever_node_owns_the_key() {
    let dev = Dev::start(&["--nodes", "3"]);
    let mut n = 0;
    eventually("a key is another node's", || {
        n += 1;
        let path = format!("/v1/check/api?key=user-{n}&cost=60&timeout_ms=60000");
        let (status, head, body) = dev.get(&path);
        let decision: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status, 200, "{body}");
        assert!(head.contains("\r\nratelimit-policy: \"api"), "{head}");
        assert!(head.contains("\r\nratelimit: \"api"), "{head}");
        let (status, head, body) = dev.get(&path);
        assert_eq!(status, 429, "{body}");
        let problem: Value = serde_json::from_str(&body).unwrap();
        let wait_ms = problem["retry_after_ms"].as_u64().unwrap();
        let told = head.split("retry-after: ").nth(1).unwrap();
        let told: u64 = told.lines().next().unwrap().parse().unwrap();
        assert!(told * 1000 >= wait_ms && wait_ms > 0, "{told} {wait_ms}");
        decision["source"] == "proxied"
    });
    let body = r#"{"checks":[{"policy":"api","key":"a"},{"policy":"nope","key":"a"}]}"#;
    let (status, head, body) = dev.ask(&format!(
        "POST /v1/check HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(status, 404, "{body}");
    assert!(head.contains("application/problem+json"), "{head}");
    let (status, _, body) = dev.ask("DELETE /v1/keys/api/user-1 HTTP/1.1\r\n\r\n");
    assert!(
        status == 403 && body.contains("token_file"),
        "{status} {body}"
    );
    let (status, _, page) = dev.get("/metrics");
    assert_eq!(status, 200);
    assert!(
        page.contains("ratelimit_checks_total{policy=\"api\""),
        "{page}"
    );
    assert!(!page.contains("user-1"), "no key is told");
    for path in ["/healthz", "/readyz", "/openapi.json"] {
        assert_eq!(dev.get(path).0, 200, "{path}");
    }
}
