//! Lists of checks: a few frames for all of them, answers in order.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::batch::{ASK_BYTES_MAX, ASKS_BYTES_MAX, encode_checks};
use super::check::Check;
use super::core::{Core, Waiting};
use super::error::CheckError;
use super::settings::Settings;
use super::waiters::Outcome;
use crate::protocol::client::{BATCH_MAX, ResponseBody};
use crate::types::Decision;

/// Frames of one list that are queued or in flight at once: enough to keep the node busy, and a
/// bound on the memory of a very long list.
const FRAMES_AT_ONCE: usize = 8;

/// Asks each of `checks` by requests of this variant (of `RequestBody`); one answer each, in order.
///
/// Cancel safe as a single check is.
pub(super) async fn ask_all(
    core: &Core,
    settings: Settings,
    variant: u32,
    checks: &[Check<'_>],
) -> Vec<Result<Decision, CheckError>> {
    let deadline = core.now().saturating_add(settings.deadline);
    let mut rest = Chunks { checks, variant };
    let mut at_once: VecDeque<(Chunk, Queued<'_>)> = VecDeque::new();
    let mut answers = Vec::with_capacity(checks.len());
    loop {
        while at_once.len() < FRAMES_AT_ONCE
            && let Some(chunk) = rest.next()
        {
            let waiting = chunk.queue(core, deadline);
            at_once.push_back((chunk, waiting));
        }
        let Some((chunk, waiting)) = at_once.pop_front() else {
            break;
        };
        let answer = match waiting {
            Ok(Some(waiting)) => finish(core, settings, deadline, &chunk, waiting).await,
            Ok(None) => Ok(ResponseBody::Decisions(Vec::new())),
            Err(error) => Err(error),
        };
        answers.extend(chunk.spread(answer));
    }
    answers
        .into_iter()
        .map(|answer| settings.settle_for(answer))
        .collect()
}

async fn finish(
    core: &Core,
    settings: Settings,
    deadline: Duration,
    chunk: &Chunk,
    waiting: Waiting<'_>,
) -> Result<ResponseBody, CheckError> {
    let mut outcome = waiting.await;
    for _ in 1..settings.sends() {
        if !matches!(outcome, Outcome::Lost) {
            break;
        }
        outcome = match chunk.queue(core, deadline) {
            Ok(Some(again)) => again.await,
            Ok(None) | Err(_) => break,
        };
    }
    outcome.into_answer(settings.deadline)
}

/// A queued frame; none if it would be empty.
type Queued<'a> = Result<Option<Waiting<'a>>, CheckError>;

/// The checks of one frame.
struct Chunk {
    body: Bytes,
    /// Checks in `body`.
    checks: usize,
    /// For each check of the list: its cost, or why it is not in `body`.
    places: Vec<Result<u64, CheckError>>,
}

impl Chunk {
    fn queue<'c>(&self, core: &'c Core, deadline: Duration) -> Queued<'c> {
        if self.checks == 0 {
            return Ok(None);
        }
        core.queue_request(&self.body, self.checks, deadline)
            .map(Some)
    }

    /// The answer of each check from the answer to the frame.
    fn spread(
        self,
        answer: Result<ResponseBody, CheckError>,
    ) -> impl Iterator<Item = Result<Decision, CheckError>> {
        let mut fitting = Vec::new();
        let mut otherwise = CheckError::UnexpectedAnswer;
        match answer {
            Ok(ResponseBody::Decisions(list)) if list.len() == self.checks => fitting = list,
            Ok(ResponseBody::Failed(error)) => otherwise = error.into(),
            Ok(
                ResponseBody::Decisions(_)
                | ResponseBody::Refunded { .. }
                | ResponseBody::Reserved { .. }
                | ResponseBody::Done
                | ResponseBody::Routes(_),
            ) => {}
            Err(error) => otherwise = error,
        }
        let mut fitting = fitting.into_iter();
        self.places.into_iter().map(move |place| {
            let cost = place?;
            match fitting.next() {
                Some(Ok(decision)) => Ok(decision.decision(cost)),
                Some(Err(error)) => Err(error.into()),
                None => Err(otherwise.clone()),
            }
        })
    }
}

/// Cuts a list into frames.
struct Chunks<'a> {
    checks: &'a [Check<'a>],
    variant: u32,
}

impl Iterator for Chunks<'_> {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        if self.checks.is_empty() {
            return None;
        }
        let (mut asks, mut checks, mut places) = (Vec::new(), 0, Vec::new());
        while let Some((check, rest)) = self.checks.split_first() {
            let mut room = [0; ASK_BYTES_MAX];
            match check.encode(&mut room) {
                Ok(ask) => {
                    if checks == BATCH_MAX || asks.len().saturating_add(ask.len()) > ASKS_BYTES_MAX
                    {
                        break;
                    }
                    asks.extend_from_slice(ask);
                    checks += 1;
                    places.push(Ok(check.asked()));
                }
                Err(error) => places.push(Err(error)),
            }
            self.checks = rest;
        }
        Some(Chunk {
            body: encode_checks(self.variant, checks, &asks),
            checks,
            places,
        })
    }
}
