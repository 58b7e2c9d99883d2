//! The first words on a connection: its first stream brings a hello and gets a welcome.

use quinn::{Connection, RecvStream, SendStream};
use tokio::time::timeout;

use super::bounds::{AGENT_BYTES_MAX, ROUND_BYTES_MAX};
use super::quic::Server;
use super::service::Service;
use crate::protocol::error::WireError;
use crate::protocol::frame::{FrameBuffer, decode, encode};
use crate::protocol::hello::{Hello, HelloAnswer, VERSIONS, common_version};
use crate::transport::CloseCode;

/// The stream that the hello came on, and what came behind it.
pub(crate) type Greeted = (SendStream, RecvStream, FrameBuffer);

/// Waits for the hello and answers it.
///
/// # Errors
/// The code to close the connection with; the client has been told why, if it asked at all.
pub(super) async fn exchange<S: Service>(
    server: &Server<S>,
    connection: &Connection,
) -> Result<Greeted, CloseCode> {
    let limit = server.admission().bounds.hello_timeout;
    timeout(limit, greet(server, connection))
        .await
        .unwrap_or(Err(CloseCode::NoHello))
}

async fn greet<S: Service>(
    server: &Server<S>,
    connection: &Connection,
) -> Result<Greeted, CloseCode> {
    let (mut send, mut receive) = connection
        .accept_bi()
        .await
        .map_err(|_gone| CloseCode::Done)?;
    let mut buffer = FrameBuffer::default();
    let hello = read_hello(&mut receive, &mut buffer).await?;
    let (answer, refused) = answer(server, hello.as_ref());
    if let (Some(hello), Ok(welcome)) = (&hello, &answer) {
        let agent = short(&hello.agent);
        let peer = connection.remote_address();
        tracing::debug!(%peer, agent, version = welcome.version, "connection greeted");
    }
    let mut frame = Vec::new();
    encode(&answer, &mut frame).map_err(|_too_large| CloseCode::Interrupted)?;
    send.write_all(&frame)
        .await
        .map_err(|_gone| CloseCode::Done)?;
    let Some(code) = refused else {
        return Ok((send, receive, buffer));
    };
    // Closing at once would overtake the answer.
    if send.finish().is_ok() {
        drop(send.stopped().await);
    }
    Err(code)
}

/// The first frame as a hello, or `None` if it is something else.
async fn read_hello(
    receive: &mut RecvStream,
    buffer: &mut FrameBuffer,
) -> Result<Option<Hello>, CloseCode> {
    loop {
        match buffer.take() {
            Ok(Some(frame)) => return Ok(decode(frame).ok()),
            Ok(None) => {}
            Err(_too_large) => return Ok(None),
        }
        let piece = receive
            .read_chunk(ROUND_BYTES_MAX, true)
            .await
            .map_err(|_gone| CloseCode::Done)?
            .ok_or(CloseCode::NoHello)?;
        buffer.push(&piece.bytes);
    }
}

fn answer<S: Service>(
    server: &Server<S>,
    hello: Option<&Hello>,
) -> (HelloAnswer, Option<CloseCode>) {
    let Some(hello) = hello else {
        let reason = "the first frame must be a hello".to_owned();
        let error = WireError::Malformed { reason };
        return (Err(error), Some(CloseCode::NoHello));
    };
    let Some(version) = common_version(hello) else {
        let (oldest, newest) = VERSIONS;
        let error = WireError::VersionMismatch { oldest, newest };
        return (Err(error), Some(CloseCode::VersionMismatch));
    };
    let mut welcome = server.service().welcome(version);
    welcome.in_flight_max =
        u32::try_from(server.admission().bounds.in_flight_max).unwrap_or(u32::MAX);
    (Ok(welcome), None)
}

/// At most [`AGENT_BYTES_MAX`] bytes of a client's name, without what could spoil a log.
fn short(agent: &str) -> String {
    let printable = agent.chars().filter(|c| !c.is_control());
    let mut kept = String::new();
    for c in printable {
        if kept.len().saturating_add(c.len_utf8()) > AGENT_BYTES_MAX {
            break;
        }
        kept.push(c);
    }
    kept
}
