//! One call after another: the closed loop of a load.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use distributed_rate_limiter::Decision;
use distributed_rate_limiter::client::{Check, CheckError, Client};
use distributed_rate_limiter::node::clock::mono_now;
use tokio::sync::watch;

use super::history::{Outcome, Record, Recorder, WriterGone};
use super::keys::{self, Keys};
use super::tally::{Counters, Tally};
use crate::refusal;

/// Wait after a call that failed, so that a node that is away is not asked in a busy loop.
const ERROR_WAIT: Duration = Duration::from_millis(10);

/// What all calls of one thread share.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) policy: String,
    pub(super) cost: u64,
    pub(super) batch: usize,
    pub(super) counters: Arc<Counters>,
    pub(super) tally: RefCell<Tally>,
    pub(super) recorder: Option<RefCell<Recorder>>,
}

/// When a call is to be sent, if a rate was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) next_ns: u64,
    pub(super) step_ns: u64,
}

/// One caller.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) desk: Rc<Desk>,
    pub(super) client: Client,
    pub(super) keys: Keys,
    pub(super) pace: Option<Pace>,
    /// Changes, or loses its sender, when the load is over.
    pub(super) over: watch::Receiver<()>,
}

/// When a call began.
#[derive(Debug, Clone, Copy)]
struct Turn {
    /// From when on it is timed: later calls wait for earlier ones that are slow.
    begin_ns: u64,
    sent_ns: u64,
}

impl Worker {
    /// Calls until the load is over; the last call is still waited for and counted.
    pub(super) async fn run(mut self) -> Result<(), WriterGone> {
        let mut batch = Batch::new(self.desk.batch);
        while let Some(turn) = self.turn().await {
            batch.draw(&mut self.keys);
            batch.ask(&self.client, &self.desk).await;
            let failed = batch
                .outcomes
                .iter()
                .any(|outcome| matches!(outcome, Outcome::Error(_)));
            self.desk.note(turn, &batch).await?;
            if failed {
                self.wait(ERROR_WAIT).await;
            }
        }
        Ok(())
    }

    /// Waits until the next call is to be sent, or gives `None` when the load is over.
    async fn turn(&mut self) -> Option<Turn> {
        let mut sent_ns = now_ns();
        let mut begin_ns = sent_ns;
        if let Some(pace) = &mut self.pace {
            let due_ns = pace.next_ns;
            pace.next_ns += pace.step_ns;
            if due_ns > sent_ns {
                self.wait(Duration::from_nanos(due_ns - sent_ns)).await;
                sent_ns = now_ns();
                begin_ns = sent_ns;
            } else {
                begin_ns = due_ns;
            }
        }
        let going_on = matches!(self.over.has_changed(), Ok(false));
        going_on.then_some(Turn { begin_ns, sent_ns })
    }

    /// Waits, but not past the end of the load.
    async fn wait(&self, wait: Duration) {
        let mut over = self.over.clone();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = over.changed() => {}
        }
    }
}

/// The checks of a call, and what became of them.
#[derive(Debug)]
struct Batch {
    keys: Vec<u64>,
    names: Vec<String>,
    outcomes: Vec<Outcome>,
}

impl Batch {
    fn new(checks: usize) -> Self {
        Self {
            keys: vec![0; checks],
            names: vec![String::new(); checks],
            outcomes: Vec::with_capacity(checks),
        }
    }

    fn draw(&mut self, keys: &mut Keys) {
        for (key, name) in self.keys.iter_mut().zip(&mut self.names) {
            *key = keys.next();
            keys::write_name(*key, name);
        }
    }

    async fn ask(&mut self, client: &Client, desk: &Desk) {
        self.outcomes.clear();
        if let [name] = &self.names[..] {
            let answer = client.check(&desk.policy, name).cost(desk.cost).await;
            self.outcomes.push(outcome(&answer));
            return;
        }
        let check = |name| Check::new(&desk.policy, name).cost(desk.cost);
        let answers = client
            .check_many(self.names.iter().map(|name| check(name)))
            .await;
        self.outcomes.extend(answers.iter().map(outcome));
    }
}

fn outcome(answer: &Result<Decision, CheckError>) -> Outcome {
    match answer {
        Ok(Decision {
            allowed, source, ..
        }) => Outcome::Decided {
            allowed: *allowed,
            source: *source,
        },
        Err(error) => Outcome::Error(refusal::word(error)),
    }
}

impl Desk {
    /// Counts and records a call that has just ended.
    async fn note(&self, turn: Turn, batch: &Batch) -> Result<(), WriterGone> {
        let received_ns = now_ns();
        {
            let mut tally = self.tally.borrow_mut();
            for outcome in &batch.outcomes {
                tally.count(*outcome, &self.counters);
            }
            let answered = |outcome: &Outcome| matches!(outcome, Outcome::Decided { .. });
            if batch.outcomes.iter().any(answered) {
                tally.time(received_ns.saturating_sub(turn.begin_ns));
            }
        }
        let Some(recorder) = &self.recorder else {
            return Ok(());
        };
        let records = batch
            .keys
            .iter()
            .zip(&batch.outcomes)
            .map(|(key, outcome)| Record {
                key: *key,
                sent_ns: turn.sent_ns,
                received_ns,
                outcome: *outcome,
            });
        let full = recorder.borrow_mut().add(records);
        match full {
            Some(chunk) => chunk.send().await,
            None => Ok(()),
        }
    }
}

/// The machine's boot clock.
pub(super) fn now_ns() -> u64 {
    mono_now().as_ns()
}
