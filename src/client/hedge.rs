//! Hedged peeks: what has no answer for longer than usual is asked of a second node too, and the first
//! good answer is taken.
//!
//! Only for peeks, which count nothing; a check is never asked twice while it may still be answered.
//! The second node is the replica that would take the slot over, or another one. One that is the owner
//! by now decides, any other passes the peek on: it helps when the owner was lost, or when it is only
//! hard to reach from here, and not when it is slow. So hedges are few (`patience`).
//!
//! A hedge is sent once, and only what an owner decided is taken from it: errors, and answers without
//! the counts, are left to the first request, which goes its way as if there was no second.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};

use super::attempt::Attempt;
use super::core::Core;
use super::error::CheckError;
use super::health::Health;
use super::lane::Lane;
use super::place::Place;
use super::rest::Rest;
use super::stream::Spread;
use super::waiters::Outcome;
use super::waiting::Waiting;
use crate::protocol::client::{ResponseBody, WireSource};
use crate::types::{NodeId, Slot};

/// A second request.
struct Hedge<'a> {
    body: &'a Bytes,
    peeks: usize,
    slot: Option<Slot>,
    /// Who was asked first.
    asked: NodeId,
    deadline: Duration,
}

impl Core {
    /// Waits for the answer to peeks that are queued, and asks somebody else too if that takes long.
    ///
    /// Cancel safe: both requests are given up.
    pub(super) async fn finish_peek<'a>(
        &'a self,
        attempt: &mut Attempt,
        (body, peeks): (&Bytes, usize),
        waiting: Waiting<'a>,
    ) -> Result<ResponseBody, CheckError> {
        if self.spread() == Spread::One {
            return self.finish(attempt, body, peeks, waiting).await;
        }
        let hedge = Hedge {
            body,
            peeks,
            slot: attempt.slot,
            asked: waiting.node(),
            deadline: attempt.deadline,
        };
        let began = self.now();
        let left = hedge.deadline.saturating_sub(began);
        let wait = self.patience.lock().begin(peeks, left);
        let first = pin!(self.finish(attempt, body, peeks, waiting));
        let second = pin!(async {
            Rest::new(self, wait).await;
            self.ask_second(&hedge).await
        });
        let answer = match select(first, second).await {
            Either::Left((answer, _)) => answer,
            Either::Right((Some(answer), _)) => Ok(answer),
            Either::Right((None, first)) => first.await,
        };
        if answer.is_ok() {
            let took = self.now().saturating_sub(began);
            self.patience.lock().answered(took);
        }
        answer
    }

    /// Asks a second node; what its owner decided, or nothing.
    async fn ask_second(&self, hedge: &Hedge<'_>) -> Option<ResponseBody> {
        let lane = self.second_lane(hedge)?;
        if !self.patience.lock().spend(hedge.peeks) {
            return None;
        }
        let queued = lane.request(hedge.body, hedge.peeks, hedge.deadline, None);
        let waiting = Waiting::new(lane, queued.ok()?);
        self.watch(hedge.deadline);
        match waiting.await {
            Outcome::Answered(body) if self.is_good(&body, hedge.peeks) => Some(body),
            _not_decided => None,
        }
    }

    /// A lane to another node than was asked first that can be used at once: to one that holds the
    /// slot, the owner before all others, or to any.
    fn second_lane(&self, hedge: &Hedge<'_>) -> Option<&Lane> {
        let holders = self.holders(hedge.slot);
        let owner = holders.owner();
        let holding = std::iter::once(owner).chain(holders.others());
        let holding = holding.map(|place| {
            // Only to have it ready for the next one.
            self.want(place);
            self.place(place)
        });
        let mut lanes = holding.chain(self.others(owner)).flat_map(Place::lanes);
        lanes.find(|lane| lane.health() == Health::Up && lane.node() != hedge.asked)
    }

    /// Whether all was decided by owners; who says that he is none tells who is.
    fn is_good(&self, body: &ResponseBody, peeks: usize) -> bool {
        let ResponseBody::Decisions(each) = body else {
            return false;
        };
        let mut good = each.len() == peeks;
        for decided in each {
            match decided {
                Ok(decision) => good &= decision.source != WireSource::Degraded,
                Err(error) => {
                    self.redirect(error);
                    good = false;
                }
            }
        }
        good
    }
}
