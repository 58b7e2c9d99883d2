//! One round of a stream: everything that has arrived is read, decided as one batch, answered.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::admission::Admission;
use super::deferred::{Deferred, Home};
use super::encode::{self, Outcome};
use super::parked::{Group, Parked};
use super::service::{Answer, Carried, Mode, Postponed, Service, Via, Wait};
use crate::limiter::policy::Durability;
use crate::protocol::batch::{BatchedBody, read_request};
use crate::protocol::client::{Ask, ResponseBody};
use crate::protocol::error::WireError;
use crate::protocol::frame::FrameBuffer;

/// Items that the lists of an idle stream keep room for.
const IDLE_ITEMS_MAX: usize = 256;

/// The lists of a round, kept from round to round for their memory.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Always empty between rounds: what was in it borrowed from the read.
    checks: Vec<Ask<'static>>,
    peeks: Vec<Ask<'static>>,
    check_answers: Vec<Answer>,
    peek_answers: Vec<Answer>,
    requests: Vec<Decided>,
}

/// A request that was decided, and where its answers are.
#[derive(Debug)]
struct Decided {
    id: u64,
    left: Duration,
    body: DecidedBody,
}

#[derive(Debug)]
enum DecidedBody {
    Checks(Range<usize>),
    Peeks(Range<usize>),
    Command(ResponseBody, Option<Wait>),
}

/// Whether the stream can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Read on.
    GoOn,
    /// Bytes came that are no frame, so that nothing behind them can be read.
    Broken,
}

/// What a round needs to know besides its frames.
#[derive(Debug)]
pub(super) struct Terms<'a, S> {
    pub(super) service: &'a Arc<S>,
    pub(super) via: Via,
    pub(super) admission: &'a Admission,
    /// How long the bytes may have waited before they were looked at.
    pub(super) held_ms: u64,
    /// Checks of this stream whose answers wait for a sync.
    pub(super) in_flight: usize,
}

/// What of a round is decided elsewhere or later.
#[derive(Default)]
struct Late {
    /// Places in the lists of the round, in order.
    checks: Vec<usize>,
    peeks: Vec<usize>,
}

impl Round {
    /// Reads all whole frames in `buffer` and decides them. What was turned away is answered in
    /// `out` at once; what is decided elsewhere or later goes to `deferred`.
    pub(super) fn decide<S: Service>(
        &mut self,
        buffer: &mut FrameBuffer,
        terms: &Terms<'_, S>,
        deferred: &mut Deferred,
        out: &mut Vec<u8>,
    ) -> Next {
        let mut checks = reuse(std::mem::take(&mut self.checks));
        let mut peeks = reuse(std::mem::take(&mut self.peeks));
        let mut frames = buffer.frames();
        let mut next = Next::GoOn;
        for frame in frames.by_ref() {
            let read = frame.map_err(|_too_large| ()).and_then(|frame| {
                let lists = (&mut checks, &mut peeks);
                self.read(frame, lists, terms, deferred, out)
            });
            if read.is_err() {
                next = Next::Broken;
                break;
            }
        }
        let seen = frames.seen();
        let mut late = Late::default();
        if !checks.is_empty() {
            late.checks = terms.service.check(&checks, &mut self.check_answers);
        }
        if !peeks.is_empty() {
            late.peeks = terms.service.peek(&peeks, &mut self.peek_answers);
        }
        // To send the answers to other checks would be worse than to stop.
        assert_eq!(self.check_answers.len(), checks.len(), "one answer a check");
        assert_eq!(self.peek_answers.len(), peeks.len(), "one answer a peek");
        if !(late.checks.is_empty() && late.peeks.is_empty()) {
            self.defer(&checks, &peeks, &late, terms, deferred);
        }
        self.checks = reuse(checks);
        self.peeks = reuse(peeks);
        buffer.consume(seen);
        next
    }

    /// Moves the requests that hold something late to `deferred`, and has it decided.
    fn defer<S: Service>(
        &mut self,
        checks: &[Ask<'_>],
        peeks: &[Ask<'_>],
        late: &Late,
        terms: &Terms<'_, S>,
        deferred: &mut Deferred,
    ) {
        let mut postponed: Vec<Postponed<'_>> = Vec::new();
        let mut homes: Vec<Home> = Vec::new();
        let mut requests = std::mem::take(&mut self.requests);
        requests.retain(|request| {
            let (asks, late, mode, range) = match &request.body {
                DecidedBody::Checks(range) => (checks, &late.checks, Mode::Count, range),
                DecidedBody::Peeks(range) => (peeks, &late.peeks, Mode::Look, range),
                DecidedBody::Command(..) => return true,
            };
            let within = late_within(late, range);
            if within.is_empty() {
                return true;
            }
            let asks = within.iter().filter_map(|&place| asks.get(place));
            postponed.extend(asks.map(|ask| Postponed {
                ask,
                mode,
                left: request.left,
            }));
            let places: Vec<usize> = within
                .iter()
                .map(|place| place.saturating_sub(range.start))
                .collect();
            let answers = self.answers_of(&request.body).to_vec();
            let edge = (terms.service, terms.admission);
            deferred.checks((request.id, answers), &places, edge, &mut homes);
            false
        });
        self.requests = requests;
        let homes: Arc<[Home]> = homes.into();
        for task in terms.service.later(&postponed, terms.via) {
            deferred.decide(task, &homes);
        }
    }

    /// Reads one frame; fails if not even a request's id is in it.
    fn read<'a, S: Service>(
        &mut self,
        frame: &'a [u8],
        (checks, peeks): (&mut Vec<Ask<'a>>, &mut Vec<Ask<'a>>),
        terms: &Terms<'_, S>,
        deferred: &mut Deferred,
        out: &mut Vec<u8>,
    ) -> Result<(), ()> {
        let (checks_before, peeks_before) = (checks.len(), peeks.len());
        let request = match read_request(frame, checks, peeks) {
            Ok(request) => request,
            Err(bad) => {
                encode::failed(bad.id.ok_or(())?, bad.error, out);
                return Ok(());
            }
        };
        let ahead = checks_before
            .saturating_add(self.requests.len())
            .saturating_add(deferred.in_flight());
        let left = match admit(terms, ahead, request.deadline_ms) {
            Ok(left) => left,
            Err(error) => {
                checks.truncate(checks_before);
                peeks.truncate(peeks_before);
                encode::failed(request.id, error, out);
                return Ok(());
            }
        };
        let body = match request.body {
            BatchedBody::Check(range) => DecidedBody::Checks(range),
            BatchedBody::Peek(range) => DecidedBody::Peeks(range),
            BatchedBody::Command(command) => {
                let admission = terms.admission;
                match terms.service.command(&command, left, terms.via) {
                    Carried::Now(body, wait) => DecidedBody::Command(body, wait),
                    Carried::Later(task) => {
                        deferred.command(request.id, task, false, admission);
                        return Ok(());
                    }
                    Carried::Open(task) => {
                        deferred.command(request.id, task, true, admission);
                        return Ok(());
                    }
                }
            }
        };
        self.requests.push(Decided {
            id: request.id,
            left,
            body,
        });
        Ok(())
    }

    /// What the answers that need no sync wait for, together.
    pub(super) fn wait(&self) -> Option<Wait> {
        self.requests
            .iter()
            .filter_map(|request| self.wait_of(request))
            .filter(|wait| wait.durability != Durability::Fsync)
            .reduce(Wait::join)
    }

    /// Whether something that any of the answers waits for is lost.
    pub(super) fn is_any(&self, is_lost: impl Fn(Wait) -> bool) -> bool {
        let mut requests = self.requests.iter();
        requests.any(|request| match &request.body {
            DecidedBody::Command(_, wait) => wait.is_some_and(&is_lost),
            DecidedBody::Checks(_) | DecidedBody::Peeks(_) => {
                let mut answers = self.answers_of(&request.body).iter();
                answers.any(|answer| answer.wait.is_some_and(&is_lost))
            }
        })
    }

    /// Moves what waits for a sync to `parked`.
    pub(super) fn park(&mut self, parked: &mut Parked, admission: &Admission) {
        let mut requests = std::mem::take(&mut self.requests);
        let mut group = Group::default();
        requests.retain(|request| match self.wait_of(request) {
            Some(wait) if wait.durability == Durability::Fsync => {
                match &request.body {
                    DecidedBody::Checks(_) | DecidedBody::Peeks(_) => {
                        group.decisions(request.id, self.answers_of(&request.body), wait);
                    }
                    DecidedBody::Command(body, _) => group.command(request.id, body.clone(), wait),
                }
                false
            }
            Some(_) | None => true,
        });
        self.requests = requests;
        parked.push(group, admission);
    }

    /// Appends the answers that were not parked.
    pub(super) fn encode(&self, outcome: Outcome<'_>, out: &mut Vec<u8>) {
        for request in &self.requests {
            match &request.body {
                DecidedBody::Checks(_) | DecidedBody::Peeks(_) => {
                    let answers = self.answers_of(&request.body);
                    encode::decisions(request.id, answers, outcome, out);
                }
                DecidedBody::Command(body, wait) => {
                    encode::response(request.id, command_answer(body, *wait, outcome), out);
                }
            }
        }
    }

    /// Forgets the round, and gives memory back if it was a big one.
    pub(super) fn clear(&mut self) {
        clear(&mut self.checks);
        clear(&mut self.peeks);
        clear(&mut self.check_answers);
        clear(&mut self.peek_answers);
        clear(&mut self.requests);
    }

    fn answers_of(&self, body: &DecidedBody) -> &[Answer] {
        let (answers, range) = match body {
            DecidedBody::Checks(range) => (&self.check_answers, range),
            DecidedBody::Peeks(range) => (&self.peek_answers, range),
            DecidedBody::Command(..) => return &[],
        };
        answers.get(range.clone()).unwrap_or_default()
    }

    fn wait_of(&self, request: &Decided) -> Option<Wait> {
        match &request.body {
            DecidedBody::Command(_, wait) => *wait,
            DecidedBody::Checks(_) | DecidedBody::Peeks(_) => self
                .answers_of(&request.body)
                .iter()
                .filter_map(|answer| answer.wait)
                .reduce(Wait::join),
        }
    }
}

/// A command's answer, as it may be sent.
pub(super) fn command_answer(
    body: &ResponseBody,
    wait: Option<Wait>,
    outcome: Outcome<'_>,
) -> ResponseBody {
    match wait.and_then(|wait| outcome.instead(wait)) {
        Some(error) => ResponseBody::Failed(error.clone()),
        None => body.clone(),
    }
}

/// The late places within a request's range.
fn late_within<'a>(late: &'a [usize], range: &Range<usize>) -> &'a [usize] {
    let first = late.partition_point(|&place| place < range.start);
    let end = late.partition_point(|&place| place < range.end);
    late.get(first..end).unwrap_or_default()
}

/// The time that is left of a request's deadline, if it may be made to wait; `ahead` were let in
/// just before.
fn admit<S: Service>(
    terms: &Terms<'_, S>,
    ahead: usize,
    deadline_ms: u32,
) -> Result<Duration, WireError> {
    let left_ms = u64::from(deadline_ms).saturating_sub(terms.held_ms);
    if left_ms == 0 {
        return Err(WireError::DeadlineExceeded);
    }
    let waiting = terms.in_flight.saturating_add(ahead);
    if waiting >= terms.admission.bounds.in_flight_max || !terms.admission.may_wait() {
        terms.service.turned_away();
        return Err(terms.admission.overloaded());
    }
    Ok(Duration::from_millis(left_ms))
}

/// The same list for other lifetimes: it is emptied, and `collect` keeps its memory.
fn reuse<'b>(mut asks: Vec<Ask<'_>>) -> Vec<Ask<'b>> {
    asks.clear();
    asks.into_iter().map_while(|_| None).collect()
}

fn clear<T>(list: &mut Vec<T>) {
    list.clear();
    if list.capacity() > IDLE_ITEMS_MAX {
        list.shrink_to(IDLE_ITEMS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_reused_with_its_memory() {
        let list: Vec<Ask<'_>> = Vec::with_capacity(50);
        let place = list.as_ptr() as usize;
        let again: Vec<Ask<'static>> = reuse(list);
        assert_eq!((again.capacity(), again.as_ptr() as usize), (50, place));
    }
}
