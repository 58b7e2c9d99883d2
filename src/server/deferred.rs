//! Requests of a stream that are decided elsewhere or later, while the stream goes on.
//!
//! A request is open until the last of its checks has an answer and what was granted of the others
//! is kept; then all its answers leave, in the order of its checks. Requests wait for nothing but
//! their own checks, and are bounded by [`super::Bounds::in_flight_max`] before they get here.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::admission::{Admission, Counted};
use super::encode::{self, Outcome};
use super::service::{Answer, Decided, Kept, Service, Settled, Task, Wait, kept_apart};
use crate::protocol::client::ResponseBody;
use crate::protocol::error::WireError;

/// The open requests of one stream.
#[derive(Default)]
pub(super) struct Deferred {
    requests: BTreeMap<Key, Open>,
    last_key: Key,
    /// Checks and commands in all open requests.
    in_flight: usize,
    work: FuturesUnordered<Task<Done>>,
    /// What is not worth waiting for when the stream ends.
    hanging: FuturesUnordered<Task<Done>>,
}

/// Names an open request of the stream; requests' own ids are the client's, and may be used twice.
type Key = u64;

struct Open {
    /// The request's id.
    id: u64,
    /// Empty for a command.
    answers: Vec<Answer>,
    /// How many things it waits for.
    missing: usize,
    /// What of that which was granted here is kept.
    kept: Result<Kept, WireError>,
    in_flight: usize,
    hangs: bool,
    /// Counted node-wide until it is dropped.
    _counted: Counted,
}

/// Something that open requests waited for.
pub(super) enum Done {
    /// Some of their checks were decided; where the answers belong.
    Settled(Settled, Arc<[Home]>),
    /// What a request granted here is kept, or is not.
    Kept(Key, Result<Kept, WireError>),
    /// A command was carried out.
    Carried(Key, ResponseBody),
}

/// Where the answer to a check belongs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Home {
    request: Key,
    place: usize,
}

impl Deferred {
    /// Whether nothing is open.
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Whether nothing is open that is worth waiting for when the stream ends.
    pub(super) fn is_settled(&self) -> bool {
        self.work.is_empty()
    }

    /// Checks and commands that are open.
    pub(super) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Opens a request of which the checks at `places` have no answer yet, and appends where these
    /// belong to `homes`.
    pub(super) fn checks<S: Service>(
        &mut self,
        (id, mut answers): (u64, Vec<Answer>),
        places: &[usize],
        (service, admission): (&Arc<S>, &Admission),
        homes: &mut Vec<Home>,
    ) {
        for &place in places {
            if let Some(answer) = answers.get_mut(place) {
                // If nobody ever answers it, at least nothing is granted.
                answer.decision = Err(WireError::Unavailable);
                answer.wait = None;
            }
        }
        let wait = answers.iter().filter_map(|answer| answer.wait);
        let wait = wait.reduce(Wait::join);
        let missing = places.len().saturating_add(usize::from(wait.is_some()));
        let request = self.add(id, answers, missing, false, admission);
        homes.extend(places.iter().map(|&place| Home { request, place }));
        if let Some(wait) = wait {
            let service = Arc::clone(service);
            let kept = kept_apart(async move { service.kept(wait).await });
            let kept = async move { Done::Kept(request, kept.await) };
            self.work.push(Box::pin(kept));
        }
    }

    /// Takes on a task that decides checks, by their places in `homes`.
    pub(super) fn decide(&mut self, task: Task<Settled>, homes: &Arc<[Home]>) {
        let homes = Arc::clone(homes);
        let work = async move { Done::Settled(task.await, homes) };
        self.work.push(Box::pin(work));
    }

    /// Opens a command; one that `hangs` is not worth waiting for when the stream ends.
    pub(super) fn command(
        &mut self,
        id: u64,
        task: Task<ResponseBody>,
        hangs: bool,
        admission: &Admission,
    ) {
        let request = self.add(id, Vec::new(), 1, hangs, admission);
        let work = if hangs { &self.hanging } else { &self.work };
        work.push(Box::pin(async move { Done::Carried(request, task.await) }));
    }

    fn add(
        &mut self,
        id: u64,
        answers: Vec<Answer>,
        missing: usize,
        hangs: bool,
        admission: &Admission,
    ) -> Key {
        let in_flight = answers.len().max(1);
        self.in_flight = self.in_flight.saturating_add(in_flight);
        self.last_key = self.last_key.wrapping_add(1);
        let open = Open {
            id,
            answers,
            missing,
            kept: Ok(Kept::All),
            in_flight,
            hangs,
            _counted: admission.waiting(in_flight),
        };
        self.requests.insert(self.last_key, open);
        self.last_key
    }

    /// The next thing that is done; never, if nothing is open. Cancel safe.
    pub(super) async fn next(&mut self) -> Done {
        poll_fn(|cx| {
            for work in [&mut self.work, &mut self.hanging] {
                if let Poll::Ready(Some(done)) = work.poll_next_unpin(cx) {
                    return Poll::Ready(done);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Appends the answers to all requests that wait for nothing more now. `is_lost` says what of
    /// that which was granted here is lost.
    pub(super) fn take(&mut self, done: Done, is_lost: &dyn Fn(Wait) -> bool, out: &mut Vec<u8>) {
        match done {
            Done::Settled(settled, homes) => {
                for task in settled.more {
                    self.decide(task, &homes);
                }
                for (n, decided) in settled.decided {
                    if let Some(home) = homes.get(n) {
                        self.settle(*home, decided, is_lost, out);
                    }
                }
            }
            Done::Kept(request, kept) => {
                if let Some(open) = self.requests.get_mut(&request) {
                    open.kept = kept;
                    self.done_with(request, is_lost, out);
                }
            }
            Done::Carried(request, body) => {
                if let Some(open) = self.close(request) {
                    encode::response(open.id, body, out);
                }
            }
        }
        if self.work.is_empty() {
            self.answer_abandoned(is_lost, out);
        }
    }

    /// Answers what hangs: nobody waits for it any more.
    pub(super) fn cut(&mut self, out: &mut Vec<u8>) {
        self.hanging = FuturesUnordered::new();
        for request in self.keys(|open| open.hangs) {
            if let Some(open) = self.close(request) {
                encode::failed(open.id, WireError::Unavailable, out);
            }
        }
    }

    fn settle(
        &mut self,
        home: Home,
        decided: Decided,
        is_lost: &dyn Fn(Wait) -> bool,
        out: &mut Vec<u8>,
    ) {
        let open = self.requests.get_mut(&home.request);
        if let Some(answer) = open.and_then(|open| open.answers.get_mut(home.place)) {
            answer.decision = decided;
            self.done_with(home.request, is_lost, out);
        }
    }

    fn done_with(&mut self, request: Key, is_lost: &dyn Fn(Wait) -> bool, out: &mut Vec<u8>) {
        let Some(open) = self.requests.get_mut(&request) else {
            return;
        };
        open.missing = open.missing.saturating_sub(1);
        if open.missing > 0 {
            return;
        }
        if let Some(open) = self.close(request) {
            open.encode(is_lost, out);
        }
    }

    /// Answers requests for which nothing works any more, which only a bug can cause.
    fn answer_abandoned(&mut self, is_lost: &dyn Fn(Wait) -> bool, out: &mut Vec<u8>) {
        for request in self.keys(|open| !open.hangs) {
            if let Some(open) = self.close(request) {
                tracing::error!("a check was never decided; this is a bug");
                open.encode(is_lost, out);
            }
        }
    }

    fn keys(&self, wanted: impl Fn(&Open) -> bool) -> Vec<Key> {
        let open = self.requests.iter().filter(|(_, open)| wanted(open));
        open.map(|(&key, _)| key).collect()
    }

    fn close(&mut self, request: Key) -> Option<Open> {
        let open = self.requests.remove(&request)?;
        self.in_flight = self.in_flight.saturating_sub(open.in_flight);
        Some(open)
    }
}

impl Open {
    fn encode(&self, is_lost: &dyn Fn(Wait) -> bool, out: &mut Vec<u8>) {
        let outcome = Outcome::of(&self.kept, is_lost);
        encode::decisions(self.id, &self.answers, outcome, out);
    }
}
