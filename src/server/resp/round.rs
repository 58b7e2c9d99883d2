//! One round: the commands of a read, with the checks among them as one batch.
//!
//! Answers come in the order of the commands. A round ends before it holds more than a batch of
//! checks, or before its answers are too long; the rest of what was read is the next round.

use std::ops::Range;

use super::commands::{Name, answer, named};
use super::parse::{Broken, Parser};
use super::refusal::{Refusal, refuse};
use super::reply::{Version, decision, five_numbers, never};
use super::session::Session;
use super::throttle::{Parameters, Throttle};
use crate::protocol::client::{Ask, PolicyRef, Target};
use crate::server::Decided;

/// Bytes of answers that need no limiter after which a round ends: few bytes can ask for many.
const SAID_BYTES_MAX: usize = 64 * 1024;

/// The words of a command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words<'a, 'p> {
    bytes: &'a [u8],
    places: &'p [Range<usize>],
}

impl<'a> Words<'a, '_> {
    /// How many there are, the command's name included.
    pub(super) const fn len(&self) -> usize {
        self.places.len()
    }

    /// The word at this place; empty if there is none.
    pub(super) fn get(&self, n: usize) -> &'a [u8] {
        let place = self.places.get(n).cloned();
        place
            .and_then(|place| self.bytes.get(place))
            .unwrap_or_default()
    }

    fn text(&self, n: usize) -> Result<&'a str, Refusal> {
        std::str::from_utf8(self.get(n)).map_err(|_| Refusal::NotText)
    }

    /// The number at this place.
    fn number(&self, n: usize) -> Result<u64, Refusal> {
        let text = std::str::from_utf8(self.get(n)).ok();
        let text = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        text.and_then(|text| text.parse().ok())
            .ok_or(Refusal::NotANumber)
    }

    /// The number at this place, or 1 where there is none.
    fn number_or_one(&self, n: usize) -> Result<u64, Refusal> {
        if n < self.len() {
            self.number(n)
        } else {
            Ok(1)
        }
    }
}

/// How a check is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// By five numbers.
    Five,
    /// By names.
    Named,
    /// It asks for more than the limit; it only looked.
    Never,
}

#[derive(Debug)]
enum By<'a> {
    Policy(&'a str),
    /// The place of a throttle.
    Throttle(usize),
}

#[derive(Debug)]
enum Item<'a> {
    /// It is answered by the bytes up to here.
    Said(usize),
    /// It is to be decided.
    Check(By<'a>, &'a str, u64, Form),
}

/// How it goes on after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// With what will be read.
    Read,
    /// With what is left of what was read.
    Go,
    /// The client wants no more.
    Quit,
    /// The rest cannot be read.
    Broken(Broken),
}

/// The commands of a round.
#[derive(Debug, Default)]
pub(super) struct Round<'a> {
    items: Vec<Item<'a>>,
    checks: usize,
    throttles: Vec<Throttle>,
    said: Vec<u8>,
}

impl<'a> Round<'a> {
    /// Reads commands, at most `checks_max` checks among them, and answers what needs no limiter.
    /// Returns the round, how many bytes it took, and how it goes on.
    pub(super) fn read(
        bytes: &'a mut [u8],
        parser: &mut Parser,
        session: &mut Session,
        checks_max: usize,
    ) -> (Self, usize, Next) {
        let mut round = Self::default();
        let mut rest = bytes;
        let mut taken = 0_usize;
        let next = loop {
            if round.checks >= checks_max || round.said.len() > SAID_BYTES_MAX {
                break Next::Go;
            }
            let length = match parser.next(rest) {
                Ok(Some(length)) => length,
                Ok(None) => break Next::Read,
                Err(broken) => break Next::Broken(broken),
            };
            let (command, after) = std::mem::take(&mut rest).split_at_mut(length);
            rest = after;
            taken = taken.saturating_add(length);
            let words = Words {
                bytes: command,
                places: parser.words(),
            };
            if words.len() == 0 {
                continue;
            }
            match round.take(&words, session) {
                Ok(Name::Quit) => break Next::Quit,
                Ok(_) if session.is_guessing() => break Next::Quit,
                Ok(_) => {}
                Err(broken) => break Next::Broken(broken),
            }
        };
        (round, taken, next)
    }

    /// Takes one command, and answers it if it can be; a refused one is told by its name alone.
    fn take(&mut self, words: &Words<'a, '_>, session: &mut Session) -> Result<Name, Broken> {
        let named = named(words)?;
        let name = named.as_ref().copied().unwrap_or(Name::Ping);
        let done = named.and_then(|name| {
            let is_open = matches!(name, Name::Auth | Name::Hello | Name::Quit | Name::Reset);
            if !is_open && !session.is_let_in() {
                return Err(Refusal::NoAuth);
            }
            match name {
                Name::RateLimit => rate_limit(words, session.version),
                Name::Throttle => self.throttle(words),
                other => answer(other, words, session, &mut self.said).map(|()| None),
            }
        });
        match done {
            Ok(Some(check)) => {
                self.checks = self.checks.saturating_add(1);
                self.items.push(check);
            }
            Ok(None) => self.items.push(Item::Said(self.said.len())),
            Err(refusal) => {
                refusal.write(&mut self.said);
                self.items.push(Item::Said(self.said.len()));
            }
        }
        Ok(name)
    }

    /// `CL.THROTTLE key max_burst count period [quantity]`
    fn throttle(&mut self, words: &Words<'a, '_>) -> Result<Option<Item<'a>>, Refusal> {
        if words.len() > 6 {
            return Err(Refusal::Arity("cl.throttle"));
        }
        let parameters = Parameters {
            max_burst: words.number(2)?,
            count: words.number(3)?,
            period_s: words.number(4)?,
        };
        let quantity = words.number_or_one(5)?;
        let key = words.text(1)?;
        // Most rounds bring one limit along, many times.
        let is_last = self
            .throttles
            .last()
            .is_some_and(|last| last.parameters == parameters);
        if !is_last {
            self.throttles.push(Throttle::new(parameters)?);
        }
        let place = self.throttles.len().saturating_sub(1);
        let permits = self.throttles.last().map_or(0, Throttle::permits);
        let (cost, form) = if quantity > permits {
            (0, Form::Never)
        } else {
            (quantity, Form::Five)
        };
        Ok(Some(Item::Check(By::Throttle(place), key, cost, form)))
    }

    /// What is to be decided, in order.
    pub(super) fn asks(&self) -> Vec<Ask<'_>> {
        let mut asks = Vec::with_capacity(self.checks);
        for item in &self.items {
            let Item::Check(by, key, cost, _) = item else {
                continue;
            };
            let policy = match by {
                By::Policy(name) => PolicyRef::Named(name),
                By::Throttle(place) => match self.throttles.get(*place) {
                    Some(throttle) => throttle.policy(),
                    None => PolicyRef::Named(""),
                },
            };
            asks.push(Ask {
                target: Target { policy, key },
                cost: *cost,
            });
        }
        asks
    }

    /// Appends all answers, in order; `decided` are those to [`Round::asks`].
    pub(super) fn write(&self, decided: &[Decided], out: &mut Vec<u8>) {
        // An answer to another check would be worse than to stop.
        assert_eq!(decided.len(), self.checks, "one answer a check");
        let mut decided = decided.iter();
        let mut from = 0;
        for item in &self.items {
            match item {
                Item::Said(to) => {
                    out.extend_from_slice(self.said.get(from..*to).unwrap_or_default());
                    from = *to;
                }
                Item::Check(_, _, _, form) => match (decided.next(), form) {
                    (Some(Ok(decided)), Form::Five) => five_numbers(out, decided),
                    (Some(Ok(decided)), Form::Named) => decision(out, decided),
                    (Some(Ok(decided)), Form::Never) => never(out, decided),
                    (Some(Err(error)), _) => refuse(error, out),
                    (None, _) => {}
                },
            }
        }
    }
}

/// `RATELIMIT policy key [cost]`
fn rate_limit<'a>(words: &Words<'a, '_>, version: Version) -> Result<Option<Item<'a>>, Refusal> {
    if words.len() > 4 {
        return Err(Refusal::Arity("ratelimit"));
    }
    let form = match version {
        Version::Two => Form::Five,
        Version::Three => Form::Named,
    };
    let cost = words.number_or_one(3)?;
    let policy = By::Policy(words.text(1)?);
    Ok(Some(Item::Check(policy, words.text(2)?, cost, form)))
}
