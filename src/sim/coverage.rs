//! What was exercised. A fault that never happened proves nothing: a run of enough seeds in which
//! one of them is missing has failed.

use std::collections::BTreeMap;
use std::fmt;

/// What can be exercised, and where.
type Exercise = (&'static str, &'static str);

/// Steps of a hand-off at which it can be cut, by what the node was about to do.
pub(super) const STEPS: [&str; 11] = [
    "send", "persist", "freeze", "pre-copy", "fetch", "install", "serve", "drop", "catch-up",
    "become", "follow",
];

/// Writes at which a node can crash: before, between the write and its sync, and between the sync
/// and its report.
const WRITES: [&str; 3] = ["registers", "install", "commit"];

/// Everything else that must happen.
#[rustfmt::skip]
const OTHERS: [Exercise; 63] = [
    ("fault", "kill -9"), ("fault", "power loss"), ("fault", "power loss that costs writes"),
    ("fault", "failed sync"), ("fault", "pause"), ("fault", "pause between two effects"),
    ("fault", "one-way cut"), ("fault", "network partition"), ("fault", "connection reset"),
    ("fault", "wall clock steps"), ("fault", "nodes disagree about a weight"), ("fault", "wall clock falls far back"),
    ("message", "lost with its connection"), ("message", "held back by a cut"),
    ("message", "dropped"), ("message", "doubled"), ("message", "reordered"),
    ("hand-off cut at", "seal"), ("hand-off cut at", "sealed"), ("hand-off cut at", "accept"),
    ("hand-off cut at", "accepted"),
    ("operator", "join"), ("operator", "drain"), ("operator", "weight change"),
    ("operator", "stop after a drain"), ("operator", "policy change"),
    ("operator", "removal by force"),
    ("fault", "link reset"), ("fault", "loss of a replica for good"),
    ("operator", "other number of replicas"),
    ("hand-off cut at", "become"), ("hand-off cut at", "became"),
    ("crash before write", "group"), ("crash before report", "group"), ("crash before sync", "become"),
    ("rule", "start with incomplete states (R5)"), ("rule", "state of another reign without a copy"),
    ("rule", "become waits for commits"), ("rule", "kept commit taken in"), ("rule", "replica in sync"),
    ("rule", "owner told that a replica is deaf"), ("rule", "grant without a majority"),
    ("rule", "no grant without a majority"), ("rule", "install of a lost state"),
    ("transfer", "copy to a replica"), ("transfer", "copy newer than its position"),
    ("rule", "seal refused"),
    ("rule", "accepted configuration finished (T4)"), ("rule", "start with slots of its own (O5)"),
    ("rule", "install from a transfer"), ("rule", "install of an own state"),
    ("transfer", "dirty remainder after a pre-copy"), ("transfer", "cut"),
    ("member", "suspected"), ("member", "down"), ("member", "renewed"), ("member", "alone"),
    ("client", "proxied answer"), ("client", "told of another owner"), ("client", "timeout"),
    ("client", "refund"), ("client", "check of several keys undone"),
    ("client", "denied from its cache"),
];

/// How often each was.
#[derive(Debug, Clone, Default)]
pub struct Coverage {
    counts: BTreeMap<Exercise, u64>,
}

impl Coverage {
    pub(super) fn note(&mut self, exercise: (&'static str, &'static str)) {
        *self.counts.entry(exercise).or_default() += 1;
    }

    /// Adds what another run exercised.
    pub fn add(&mut self, other: &Self) {
        for (exercise, count) in &other.counts {
            *self.counts.entry(*exercise).or_default() += count;
        }
    }

    /// What never happened.
    pub fn missing(&self) -> Vec<(&'static str, &'static str)> {
        let at = |kind: &'static str, places: &'static [&'static str]| {
            places.iter().map(move |&place| (kind, place))
        };
        let mut all: Vec<Exercise> = OTHERS.to_vec();
        all.extend(at("cut before", &STEPS));
        all.extend(at("crash before write", &WRITES));
        all.extend(at("crash before sync", &WRITES));
        all.extend(at("crash before report", &WRITES));
        all.retain(|exercise| !self.counts.contains_key(exercise));
        all
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kind = "";
        for ((what, place), count) in &self.counts {
            if *what != kind {
                kind = what;
                writeln!(f, "{kind}")?;
            }
            writeln!(f, "{count:>10}  {place}")?;
        }
        for (what, place) in self.missing() {
            writeln!(f, "     NEVER  {what}: {place}")?;
        }
        Ok(())
    }
}
