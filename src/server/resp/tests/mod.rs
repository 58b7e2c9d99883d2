//! The Redis protocol in front of a toy, over real connections on loopback; and its parser.

mod bad_input;
mod commands;
mod node;
mod parser;
mod throttle;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::Resp;
use crate::server::{Bounds, Server, Toy, serve_tcp};
use crate::types::MonoTime;

const LONG: Duration = Duration::from_secs(3600);

/// A server of the Redis protocol in front of a [`Toy`].
struct Edge {
    toy: Arc<Toy>,
    server: Arc<Server<Toy>>,
    address: std::net::SocketAddr,
    running: JoinHandle<()>,
}

impl Edge {
    async fn start(bounds: Bounds, password: Option<&str>) -> Self {
        let toy = Arc::new(Toy::default());
        let server = Server::new(Arc::clone(&toy), bounds, || MonoTime::from_ns(0));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let resp = Arc::new(Resp::new(password));
        let running = tokio::spawn(serve_tcp(Arc::clone(&server), listener, resp));
        Self {
            toy,
            server,
            address,
            running,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// All that is answered to `said` until the server closes, or has answered a last `ECHO`.
    async fn answers(&self, said: &[u8]) -> String {
        let mut stream = self.connect().await;
        talk(&mut stream, said).await
    }
}

/// Sends bytes and the mark after which no more answers come; returns all answers before it.
async fn talk(stream: &mut TcpStream, said: &[u8]) -> String {
    const MARK: &[u8] = b"$4\r\nmark\r\n";
    stream.write_all(said).await.unwrap();
    // Fails only if the server has closed already.
    drop(stream.write_all(b"ECHO mark\r\n").await);
    let mut heard = Vec::new();
    while !heard.ends_with(MARK) && !heard.ends_with(b"-NOAUTH Authentication required.\r\n") {
        if !matches!(stream.read_buf(&mut heard).await, Ok(bytes) if bytes > 0) {
            return String::from_utf8(heard).unwrap() + "closed";
        }
    }
    let answers = heard.strip_suffix(MARK).unwrap_or(&heard);
    String::from_utf8(answers.to_vec()).unwrap()
}

/// A command as clients send it.
fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
    }
    bytes
}
