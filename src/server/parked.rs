//! Answers that wait for a sync while their stream goes on.
//!
//! A group holds what one round parked. Groups are released in order: tickets only rise, so that
//! a later group is never kept before an earlier one.

use std::collections::VecDeque;
use std::ops::Range;

use super::admission::{Admission, Counted};
use super::encode::{self, Outcome};
use super::round::command_answer;
use super::service::{Answer, Wait};
use crate::protocol::client::ResponseBody;

/// The groups of one stream; bounded by [`super::Bounds::in_flight_max`] before they are decided.
#[derive(Debug, Default)]
pub(super) struct Parked {
    groups: VecDeque<Held>,
    /// Checks and commands in all groups.
    in_flight: usize,
}

/// What one round parks.
#[derive(Debug, Default)]
pub(super) struct Group {
    wait: Option<Wait>,
    answers: Vec<Answer>,
    requests: Vec<Request>,
}

#[derive(Debug)]
struct Held {
    group: Group,
    wait: Wait,
    in_flight: usize,
    /// Counted node-wide until it is dropped.
    _counted: Counted,
}

#[derive(Debug)]
struct Request {
    id: u64,
    body: Body,
    wait: Wait,
}

#[derive(Debug)]
enum Body {
    Decisions(Range<usize>),
    Command(ResponseBody),
}

impl Group {
    /// Adds the answer to checks or peeks.
    pub(super) fn decisions(&mut self, id: u64, answers: &[Answer], wait: Wait) {
        let start = self.answers.len();
        self.answers.extend_from_slice(answers);
        let body = Body::Decisions(start..self.answers.len());
        self.add(id, body, wait);
    }

    /// Adds the answer to a command.
    pub(super) fn command(&mut self, id: u64, body: ResponseBody, wait: Wait) {
        self.add(id, Body::Command(body), wait);
    }

    fn add(&mut self, id: u64, body: Body, wait: Wait) {
        self.wait = Some(self.wait.map_or(wait, |earlier| earlier.join(wait)));
        self.requests.push(Request { id, body, wait });
    }
}

impl Parked {
    /// Parks a group, if anything is in it.
    pub(super) fn push(&mut self, group: Group, admission: &Admission) {
        let Some(wait) = group.wait else { return };
        let in_flight = group.requests.len().max(group.answers.len());
        self.in_flight = self.in_flight.saturating_add(in_flight);
        self.groups.push_back(Held {
            group,
            wait,
            in_flight,
            _counted: admission.waiting(in_flight),
        });
    }

    /// What the first group waits for.
    pub(super) fn first(&self) -> Option<Wait> {
        self.groups.front().map(|held| held.wait)
    }

    /// Checks and commands that wait.
    pub(super) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Appends the first group's answers and forgets it.
    pub(super) fn release(&mut self, outcome: Outcome<'_>, out: &mut Vec<u8>) {
        let Some(held) = self.groups.pop_front() else {
            return;
        };
        self.in_flight = self.in_flight.saturating_sub(held.in_flight);
        for request in &held.group.requests {
            match &request.body {
                Body::Decisions(range) => {
                    let answers = held.group.answers.get(range.clone()).unwrap_or_default();
                    encode::decisions(request.id, answers, outcome, out);
                }
                Body::Command(body) => {
                    let body = command_answer(body, Some(request.wait), outcome);
                    encode::response(request.id, body, out);
                }
            }
        }
    }
}
