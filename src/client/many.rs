//! Lists of checks: split by owner, a few frames to each, all at the same time; answers in order.
//! Those that are not answered for good go on another round.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use futures_util::future::join_all;

use super::aim::Aim;
use super::attempt::Attempt;
use super::batch::{ASK_BYTES_MAX, ASKS_BYTES_MAX, CHECK_VARIANT, PEEK_VARIANT, encode_checks};
use super::check::Check;
use super::core::Core;
use super::denial_cache::Asked;
use super::error::CheckError;
use super::rest::{Rest, Rests};
use super::settings::{Hedging, Settings};
use super::waiting::Waiting;
use crate::protocol::client::{BATCH_MAX, ResponseBody};
use crate::protocol::error::WireError;
use crate::types::Decision;

/// Frames of one list that are queued or in flight to one owner at once: enough to keep the node
/// busy, and a bound on the memory of a very long list.
const FRAMES_AT_ONCE: usize = 8;

type Answer = Result<Decision, CheckError>;

/// Asks each of `checks` by requests of this variant (of `RequestBody`); one answer each, in order.
///
/// Cancel safe as a single check is.
pub(super) async fn ask_all(
    core: &Core,
    settings: Settings,
    variant: u32,
    checks: &[Check<'_>],
) -> Vec<Answer> {
    let now = core.now();
    let mut list = List {
        core,
        variant,
        checks,
        aims: checks.iter().map(|check| core.aim(check)).collect(),
        asked: core.denials.asked(now),
        attempt: Attempt::new(now, None, settings.sends(), settings.deadline),
        hedging: settings.hedging_of(variant == PEEK_VARIANT),
    };
    let mut answers: Vec<Option<Answer>> = checks.iter().map(|_| None).collect();
    let mut open = list.not_denied(&mut answers);
    let mut rounds = Rounds {
        rests: Rests::of(settings.sends()),
        ..Rounds::default()
    };
    while !open.is_empty() {
        for (n, answer) in list.ask_owners(open).await {
            rounds.sort(core, n, &answer);
            if let Some(place) = answers.get_mut(n) {
                *place = Some(answer);
            }
        }
        open = rounds.next(core, &mut list.attempt).await;
    }
    answers
        .into_iter()
        .map(|answer| settings.settle_for(answer.unwrap_or(Err(CheckError::UnexpectedAnswer))))
        .collect()
}

/// Which checks of a list are asked again.
#[derive(Debug, Default)]
struct Rounds {
    /// Asked of somebody who was not the owner.
    moved: Vec<usize>,
    /// Told to come again, and what the last of them was told.
    turned_away: Vec<usize>,
    error: Option<WireError>,
    /// Whether those that had moved were asked again since the last rest.
    followed: bool,
    rests: Rests,
}

impl Rounds {
    /// Takes notice of the answer to the `n`th check.
    fn sort(&mut self, core: &Core, n: usize, answer: &Answer) {
        let Err(CheckError::Refused(error)) = answer else {
            return;
        };
        // Each is believed, though one is followed.
        if core.redirect(error) {
            self.moved.extend((!self.followed).then_some(n));
        } else if self.rests.is_for(error) {
            self.turned_away.push(n);
            self.error = Some(error.clone());
        }
    }

    /// The checks of the next round; after a rest, if none is left but those that were told to.
    async fn next(&mut self, core: &Core, attempt: &mut Attempt) -> Vec<usize> {
        if !self.moved.is_empty() {
            self.followed = true;
            attempt.insist = true;
            return std::mem::take(&mut self.moved);
        }
        let left = attempt.deadline.saturating_sub(core.now());
        let error = self.error.take();
        let told = error.as_ref();
        let rest = told.and_then(|error| self.rests.next(error, left, rand::random()));
        let Some(rest) = rest else {
            return Vec::new();
        };
        Rest::new(core, rest).await;
        if let Some(WireError::AnswerLost) = error {
            attempt.note_lost();
        }
        self.followed = false;
        attempt.insist = false;
        std::mem::take(&mut self.turned_away)
    }
}

/// A list that is asked.
struct List<'l> {
    core: &'l Core,
    variant: u32,
    checks: &'l [Check<'l>],
    aims: Vec<Option<Aim>>,
    asked: Asked,
    /// What each frame begins with.
    attempt: Attempt,
    hedging: Hedging,
}

impl<'l> List<'l> {
    /// Answers what an earlier denial answers; says what is left.
    fn not_denied(&self, answers: &mut [Option<Answer>]) -> Vec<usize> {
        let all = self.checks.iter().zip(&self.aims).zip(answers).enumerate();
        all.filter_map(|(n, ((check, aim), answer))| {
            if self.variant == CHECK_VARIANT
                && let Some(denial) = self.core.denial(check, *aim, self.asked.at)
            {
                *answer = Some(Ok(denial));
                return None;
            }
            Some(n)
        })
        .collect()
    }

    /// Asks those numbered in `open`, each its owner or who stands in for it, all at the same time.
    async fn ask_owners(&self, open: Vec<usize>) -> Vec<(usize, Answer)> {
        let mut by_place: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        for n in open {
            let aim = self.aims.get(n).copied().flatten();
            let place = aim.map(|aim| self.core.nearest(aim.slot));
            by_place.entry(place).or_default().push(n);
        }
        let places = by_place.into_values().map(|numbers| self.ask_one(numbers));
        join_all(places).await.into_iter().flatten().collect()
    }

    /// Asks those of one place.
    async fn ask_one(&self, numbers: Vec<usize>) -> Vec<(usize, Answer)> {
        let mut rest = numbers.as_slice();
        let mut at_once: VecDeque<(Chunk, Attempt, Queued<'l>)> = VecDeque::new();
        let mut answers = Vec::with_capacity(numbers.len());
        loop {
            while at_once.len() < FRAMES_AT_ONCE && !rest.is_empty() {
                let chunk = self.next_chunk(&mut rest);
                let attempt = self.attempt.part(chunk.aim.map(|aim| aim.slot));
                let waiting = chunk.queue(self.core, &attempt);
                at_once.push_back((chunk, attempt, waiting));
            }
            let Some((chunk, mut attempt, waiting)) = at_once.pop_front() else {
                return answers;
            };
            let answer = match waiting {
                Ok(Some(waiting)) => {
                    let request = (&chunk.body, chunk.checks);
                    self.finish(&mut attempt, request, waiting).await
                }
                Ok(None) => Ok(ResponseBody::Decisions(Vec::new())),
                Err(error) => Err(error),
            };
            self.spread(chunk, &attempt, answer, &mut answers);
        }
    }

    async fn finish(
        &self,
        attempt: &mut Attempt,
        (body, checks): (&Bytes, usize),
        waiting: Waiting<'l>,
    ) -> Result<ResponseBody, CheckError> {
        let core = self.core;
        match self.hedging {
            Hedging::Peeks => core.finish_peek(attempt, (body, checks), waiting).await,
            Hedging::Off => core.finish(attempt, body, checks, waiting).await,
        }
    }

    /// Takes as many of `rest` as fit into a frame.
    fn next_chunk(&self, rest: &mut &[usize]) -> Chunk {
        let (mut asks, mut checks, mut places) = (Vec::new(), 0, Vec::new());
        let mut aim = None;
        while let Some((&n, others)) = rest.split_first() {
            let mut room = [0; ASK_BYTES_MAX];
            let encoded = self.checks.get(n).map(|check| check.encode(&mut room));
            match encoded {
                Some(Ok(ask)) => {
                    if checks == BATCH_MAX || asks.len().saturating_add(ask.len()) > ASKS_BYTES_MAX
                    {
                        break;
                    }
                    asks.extend_from_slice(ask);
                    checks += 1;
                    aim = aim.or_else(|| self.aims.get(n).copied().flatten());
                    places.push((n, None));
                }
                Some(Err(error)) => places.push((n, Some(error))),
                None => {}
            }
            *rest = others;
        }
        Chunk {
            body: encode_checks(self.variant, checks, &asks),
            checks,
            places,
            aim,
        }
    }

    /// The answer of each check from the answer to its frame.
    fn spread(
        &self,
        chunk: Chunk,
        attempt: &Attempt,
        answer: Result<ResponseBody, CheckError>,
        answers: &mut Vec<(usize, Answer)>,
    ) {
        let mut fitting = Vec::new();
        let mut otherwise = CheckError::UnexpectedAnswer;
        match answer {
            Ok(ResponseBody::Decisions(list)) if list.len() == chunk.checks => fitting = list,
            Ok(ResponseBody::Failed(error)) => otherwise = attempt.told(error.into()),
            Ok(
                ResponseBody::Decisions(_)
                | ResponseBody::Refunded { .. }
                | ResponseBody::Reserved { .. }
                | ResponseBody::Done
                | ResponseBody::Routes(_)
                | ResponseBody::ReplicaRoutes(_),
            ) => {}
            Err(error) => otherwise = error,
        }
        let mut fitting = fitting.into_iter();
        for (n, bad) in chunk.places {
            let answer = match bad {
                Some(error) => Err(error),
                None => match fitting.next() {
                    Some(Ok(decision)) => Ok(self.decided(n, decision.decision(self.cost(n)))),
                    Some(Err(error)) => Err(attempt.told(WireError::into(error))),
                    None => Err(otherwise.clone()),
                },
            };
            answers.push((n, answer));
        }
    }

    fn cost(&self, n: usize) -> u64 {
        self.checks.get(n).map_or(0, Check::asked)
    }

    /// Keeps the answer to a check if it is a denial that stays true.
    fn decided(&self, n: usize, decision: Decision) -> Decision {
        if self.variant == CHECK_VARIANT
            && let Some(check) = self.checks.get(n)
        {
            let aim = self.aims.get(n).copied().flatten();
            self.core.keep_denial(check, aim, self.asked, &decision);
        }
        decision
    }
}

/// A queued frame; none if it would be empty.
type Queued<'a> = Result<Option<Waiting<'a>>, CheckError>;

/// The checks of one frame.
struct Chunk {
    body: Bytes,
    /// Checks in `body`.
    checks: usize,
    /// Each check's number in the list, and why it is not in `body` if it is not.
    places: Vec<(usize, Option<CheckError>)>,
    /// Where the first one belongs; the others belong to the same owner.
    aim: Option<Aim>,
}

impl Chunk {
    fn queue<'c>(&self, core: &'c Core, attempt: &Attempt) -> Queued<'c> {
        if self.checks == 0 {
            return Ok(None);
        }
        core.queue_request(attempt, &self.body, self.checks)
            .map(Some)
    }
}
