//! Plain requests over HTTP, each on a connection of its own.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::PATIENCE;

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// The head in small letters.
    pub(super) head: String,
    pub(super) body: String,
}

impl Reply {
    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(it, _)| *it == name).map(|(_, it)| it.trim())
    }

    /// The value of a header that is a number.
    pub(super) fn number(&self, name: &str) -> u64 {
        let value = self.header(name);
        let number = value.and_then(|it| it.parse().ok());
        number.unwrap_or_else(|| unreachable!("{name} is no number in {self:?}"))
    }
}

/// `GET`, with these further headers.
pub(super) fn get(at: SocketAddr, path: &str, headers: &[&str]) -> Reply {
    ask(at, &format!("GET {path}"), headers, "")
}

/// Any request; `start` is its method and path.
pub(super) fn ask(at: SocketAddr, start: &str, headers: &[&str], body: &str) -> Reply {
    try_to_ask(at, start, headers, body)
        .unwrap_or_else(|error| unreachable!("{start} at {at}: {error}"))
}

/// Whether somebody answers HTTP there.
pub(super) fn answers(at: SocketAddr, path: &str) -> bool {
    try_to_ask(at, &format!("GET {path}"), &[], "").is_ok()
}

fn try_to_ask(at: SocketAddr, start: &str, headers: &[&str], body: &str) -> std::io::Result<Reply> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE.max(Duration::from_secs(1))))?;
    let mut lines = vec![
        format!("{start} HTTP/1.1"),
        "Host: test".to_owned(),
        "Connection: close".to_owned(),
    ];
    if !body.is_empty() {
        lines.push(format!("Content-Length: {}", body.len()));
    }
    lines.extend(headers.iter().map(|&line| line.to_owned()));
    stream.write_all(format!("{}\r\n\r\n{body}", lines.join("\r\n")).as_bytes())?;
    let mut told = Vec::new();
    stream.read_to_end(&mut told)?;
    let told = String::from_utf8_lossy(&told).into_owned();
    let broken = || std::io::Error::other(format!("that is no HTTP: {told:?}"));
    let (head, body) = told.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
    Ok(Reply {
        status: status.ok_or_else(broken)?,
        head: head.to_lowercase(),
        body: body.to_owned(),
    })
}
