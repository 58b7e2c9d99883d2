//! One stream of an admin connection: one request, one answer.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use quinn::{RecvStream, SendStream};
use tokio::time::timeout;

use super::bounds::ROUND_BYTES_MAX;
use super::encode::Outcome;
use super::quic::Server;
use super::round::command_answer;
use super::service::{Answer, Carried, Kept, Mode, Postponed, Service, Via, Wait};
use super::stream::End;
use crate::protocol::admin::{AdminRequest, AdminResponse};
use crate::protocol::client::{Ask, RequestBody, ResponseBody};
use crate::protocol::error::WireError;
use crate::protocol::frame::{
    ADMIN_ANSWER_BYTES_MAX, FrameBuffer, FrameError, decode, encode_within,
};
use crate::transport::CloseCode;

/// How long a request may take that another node decides: an admin's request names no deadline.
const DEADLINE: Duration = Duration::from_secs(5);

/// Reads the request, has it carried out, and answers.
pub(super) async fn serve<S: Service>(
    server: Arc<Server<S>>,
    mut send: SendStream,
    mut receive: RecvStream,
) -> End {
    let bounds = server.admission().bounds;
    let mut buffer = FrameBuffer::with_max(ADMIN_ANSWER_BYTES_MAX);
    let request = timeout(bounds.slow_frame_timeout, read(&mut receive, &mut buffer)).await;
    let frame = match request {
        Ok(Ok(())) => buffer.take(),
        Ok(Err(end)) => return reset(end, &mut send),
        Err(_elapsed) => return reset(End::Reset(CloseCode::SlowFrame), &mut send),
    };
    let answer = match frame.ok().flatten().map(decode::<AdminRequest<'_>>) {
        Some(Ok(request)) => carry_out(server.service(), request).await,
        Some(Err(error)) => failed(error.to_string()),
        None => return reset(End::Reset(CloseCode::BadFrame), &mut send),
    };
    match timeout(bounds.slow_reader_timeout, write(&mut send, &answer)).await {
        Ok(end) => end,
        Err(_elapsed) => End::Close(CloseCode::SlowReader),
    }
}

/// Reads until a whole frame is there.
async fn read(receive: &mut RecvStream, buffer: &mut FrameBuffer) -> Result<(), End> {
    loop {
        match buffer.frames().next() {
            Some(Ok(_)) => return Ok(()),
            Some(Err(_too_large)) => return Err(End::Reset(CloseCode::BadFrame)),
            None => {}
        }
        match receive.read_chunk(ROUND_BYTES_MAX, true).await {
            Ok(Some(piece)) => buffer.push(&piece.bytes),
            Ok(None) => return Err(End::Reset(CloseCode::BadFrame)),
            Err(_gone) => return Err(End::Lost),
        }
    }
}

async fn carry_out<S: Service>(service: &Arc<S>, request: AdminRequest<'_>) -> AdminResponse {
    let body = match request {
        AdminRequest::Client(body) => body,
        AdminRequest::Inspect(_)
        | AdminRequest::Policies
        | AdminRequest::Status
        | AdminRequest::Ring
        | AdminRequest::Owner(_)
        | AdminRequest::Node(_)
        | AdminRequest::PolicyFile
        | AdminRequest::PolicyApply(_)
        | AdminRequest::Slot(_)
        | AdminRequest::Hot => {
            return service.admin(&request).await;
        }
    };
    let carried = match &body {
        RequestBody::Check(asks) => return decided(service, asks, Mode::Count).await,
        RequestBody::Peek(asks) => return decided(service, asks, Mode::Look).await,
        RequestBody::Refund { .. }
        | RequestBody::Reserve { .. }
        | RequestBody::Settle { .. }
        | RequestBody::Cancel { .. }
        | RequestBody::Reset { .. }
        | RequestBody::Routes { .. }
        | RequestBody::ReplicaRoutes { .. } => service.command(&body, DEADLINE, Via::Caller),
    };
    AdminResponse::Client(match carried {
        Carried::Now(body, None) => body,
        Carried::Now(body, Some(wait)) => {
            let is_lost = |wait| service.is_lost(wait);
            let kept = service.kept(wait).await;
            command_answer(&body, Some(wait), Outcome::of(&kept, &is_lost))
        }
        Carried::Later(task) | Carried::Open(task) => task.await,
    })
}

/// The answer to checks, once all are decided and what they granted is kept.
async fn decided<S: Service>(service: &Arc<S>, asks: &[Ask<'_>], mode: Mode) -> AdminResponse {
    let mut answers = Vec::new();
    let late = match mode {
        Mode::Count => service.check(asks, &mut answers),
        Mode::Look => service.peek(asks, &mut answers),
    };
    let postponed: Vec<_> = late
        .iter()
        .filter_map(|&place| asks.get(place))
        .map(|ask| Postponed {
            ask,
            mode,
            left: DEADLINE,
        })
        .collect();
    let mut tasks: FuturesUnordered<_> =
        service.later(&postponed, Via::Caller).into_iter().collect();
    while let Some(settled) = tasks.next().await {
        tasks.extend(settled.more);
        for (n, decision) in settled.decided {
            if let Some(answer) = late.get(n).and_then(|&place| answers.get_mut(place)) {
                *answer = Answer {
                    decision,
                    wait: None,
                };
            }
        }
    }
    let wait = answers
        .iter()
        .filter_map(|answer| answer.wait)
        .reduce(Wait::join);
    let kept = match wait {
        Some(wait) => service.kept(wait).await,
        None => Ok(Kept::All),
    };
    let each = answers
        .into_iter()
        .map(|answer| answer.released(&kept, |wait| service.is_lost(wait)));
    AdminResponse::Client(ResponseBody::Decisions(each.collect()))
}

async fn write(send: &mut SendStream, answer: &AdminResponse) -> End {
    let mut frame = Vec::new();
    match encode_within(ADMIN_ANSWER_BYTES_MAX, answer, &mut frame) {
        Ok(()) => {}
        Err(FrameError::TooLarge { max }) => {
            let short = failed(format!("the answer has more than {max} bytes"));
            if encode_within(max, &short, &mut frame).is_err() {
                return End::Reset(CloseCode::Interrupted);
            }
        }
        Err(error @ (FrameError::Undecodable(_) | FrameError::Trailing { .. })) => {
            tracing::error!(%error, "an answer cannot be sent");
            return End::Reset(CloseCode::Interrupted);
        }
    }
    if send.write_all(&frame).await.is_err() || send.finish().is_err() {
        return End::Lost;
    }
    match send.stopped().await {
        Ok(_) => End::Finished,
        Err(_) => End::Lost,
    }
}

fn failed(reason: String) -> AdminResponse {
    AdminResponse::Failed(WireError::Malformed { reason })
}

fn reset(end: End, send: &mut SendStream) -> End {
    if let End::Reset(code) = end {
        drop(send.reset(code.number()));
    }
    end
}
