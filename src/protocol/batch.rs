//! Reads requests so that the checks of many frames stand in one list, decided as one batch.
//!
//! The plain way, `frame::decode::<Request>`, makes a list for each frame. A server reads dozens of
//! frames at once, mostly of one check each; here their checks are appended to one list.

use std::ops::Range;

use super::client::{Ask, BATCH_MAX, RequestBody};
use super::error::WireError;
use super::frame;

/// Place of [`RequestBody::Check`] among the variants; pinned by the golden vectors.
const CHECK: u32 = 0;
/// Place of [`RequestBody::Peek`] among the variants; pinned by the golden vectors.
const PEEK: u32 = 1;

/// A request whose checks, if any, were appended to a shared list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchedRequest<'a> {
    /// The request's id.
    pub(crate) id: u64,
    /// Time that was left until nobody waits for the answer any more, when it was sent.
    pub(crate) deadline_ms: u32,
    /// What is asked.
    pub(crate) body: BatchedBody<'a>,
}

/// What is asked, checks by their places in the shared list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BatchedBody<'a> {
    /// See [`RequestBody::Check`].
    Check(Range<usize>),
    /// See [`RequestBody::Peek`].
    Peek(Range<usize>),
    /// Any other request.
    Command(RequestBody<'a>),
}

/// Why a frame is not a request that can be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadRequest {
    /// The request's id, if it could be read.
    pub(crate) id: Option<u64>,
    /// What to answer.
    pub(crate) error: WireError,
}

/// Reads a frame's body as a request and appends its checks to `checks` or `peeks`; both are as
/// they were when it fails.
///
/// # Errors
/// [`BadRequest`], with the id if it could be read.
pub(crate) fn read_request<'a>(
    body: &'a [u8],
    checks: &mut Vec<Ask<'a>>,
    peeks: &mut Vec<Ask<'a>>,
) -> Result<BatchedRequest<'a>, BadRequest> {
    let (id, after_id) = postcard::take_from_bytes::<u64>(body)
        .map_err(|_| malformed(None, "the frame has no request id"))?;
    let (deadline_ms, after_deadline) = postcard::take_from_bytes::<u32>(after_id)
        .map_err(|_| malformed(Some(id), "the request has no deadline"))?;
    let (variant, items) = postcard::take_from_bytes::<u32>(after_deadline)
        .map_err(|_| malformed(Some(id), "the request has no body"))?;
    let body = match variant {
        CHECK => BatchedBody::Check(read_asks(id, items, checks)?),
        PEEK => BatchedBody::Peek(read_asks(id, items, peeks)?),
        _command => frame::decode(after_deadline)
            .map(BatchedBody::Command)
            .map_err(|error| malformed(Some(id), &error.to_string()))?,
    };
    Ok(BatchedRequest {
        id,
        deadline_ms,
        body,
    })
}

fn read_asks<'a>(
    id: u64,
    items: &'a [u8],
    asks: &mut Vec<Ask<'a>>,
) -> Result<Range<usize>, BadRequest> {
    let start = asks.len();
    let (count, mut rest) = postcard::take_from_bytes::<u32>(items)
        .map_err(|_| malformed(Some(id), "the request has no number of checks"))?;
    if usize::try_from(count).is_ok_and(|count| count > BATCH_MAX) {
        return Err(BadRequest {
            id: Some(id),
            error: WireError::BatchTooLarge {
                items: count,
                max: u32::try_from(BATCH_MAX).unwrap_or(u32::MAX),
            },
        });
    }
    for _ in 0..count {
        let Ok((ask, after)) = postcard::take_from_bytes(rest) else {
            asks.truncate(start);
            return Err(malformed(Some(id), "a check cannot be decoded"));
        };
        asks.push(ask);
        rest = after;
    }
    if !rest.is_empty() {
        asks.truncate(start);
        return Err(malformed(Some(id), "the frame goes on behind its request"));
    }
    Ok(start..asks.len())
}

fn malformed(id: Option<u64>, reason: &str) -> BadRequest {
    BadRequest {
        id,
        error: WireError::Malformed {
            reason: reason.to_owned(),
        },
    }
}
