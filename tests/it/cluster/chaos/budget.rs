//! When errors may be: while a fault is new, and nowhere else. No time is judged: what counts is
//! whether the nodes had said, before a check was sent, that all slots are served again.

use std::collections::BTreeMap;
use std::fmt;

use super::driver::Episode;
use crate::support::{Failed, Seen};

/// Errors beside a thousand answers that all faults together may cost while they are new.
const NEW_PER_MILLE_MAX: u64 = 20;

/// The same while others serve all slots: none, but by an owner that is cut off from them and not from
/// clients. It notices after two and a half seconds; who still asks it in the moment before it sends its
/// clients away is answered without the counts.
const LASTING_PER_MILLE_MAX: u64 = 1;

/// The same when nodes come back and slots move to them: none, but on a machine that has no time for
/// the nodes, whose replicas then are in sync too late.
const RETURNING_PER_MILLE_MAX: u64 = 5;

/// When a check failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// It was sent before a fault, or while some slots were not served by others yet.
    New,
    /// It was sent when all slots were served by others, and ended before the fault was undone.
    Lasting,
    /// It was sent when the fault was undone, and all slots were served.
    Returning,
    /// It was sent when the cluster was whole, and ended before the next fault.
    Well,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Budget {
    episodes: Vec<Episode>,
    answers: u64,
    /// Of each episode, by its place; those before the first one have none.
    errors: BTreeMap<(Option<usize>, Phase), BTreeMap<String, u64>>,
    /// When the first of each was sent, and the last one ended.
    times: BTreeMap<(Option<usize>, Phase), (u64, u64)>,
    /// Those that must not be, the first few.
    strange: Vec<String>,
}

impl Budget {
    pub(super) fn of(seen: &Seen, episodes: &[Episode]) -> Self {
        let mut budget = Self {
            episodes: episodes.to_vec(),
            answers: seen.denied + u64::try_from(seen.grants().count()).unwrap(),
            errors: BTreeMap::new(),
            times: BTreeMap::new(),
            strange: Vec::new(),
        };
        for failed in &seen.failures {
            budget.add(failed);
        }
        budget
    }

    fn add(&mut self, failed: &Failed) {
        let begun = self
            .episodes
            .iter()
            .rposition(|it| it.began_ns <= failed.received_ns);
        let episode = begun.map(|at| &self.episodes[at]);
        let phase = phase(episode, failed);
        let kinds = self.errors.entry((begun, phase)).or_default();
        *kinds.entry(kind(&failed.error)).or_default() += 1;
        let times = self.times.entry((begun, phase)).or_insert((u64::MAX, 0));
        times.0 = times.0.min(failed.sent_ns);
        times.1 = times.1.max(failed.received_ns);
        if phase != Phase::New && self.strange.len() < 20 {
            let from = episode.map_or(failed.sent_ns, |it| it.began_ns);
            let ms = |at: u64| (i128::from(at) - i128::from(from)) / 1_000_000;
            self.strange.push(format!(
                "fault {}, {phase:?}: {} sent after {} ms, ended after {} ms: {}",
                begun.map_or(0, |at| at + 1),
                failed.key,
                ms(failed.sent_ns),
                ms(failed.received_ns),
                failed.error
            ));
        }
    }

    fn count(&self, phase: Phase) -> u64 {
        let of = self.errors.iter().filter(|((_, it), _)| *it == phase);
        of.flat_map(|(_, kinds)| kinds.values()).sum()
    }

    /// Fails if there were errors when there must be none, or too many.
    pub(super) fn is_kept(&self) {
        let broken = self.broken();
        assert!(broken.is_none(), "{}", broken.unwrap_or_default());
    }

    /// What it is broken by, if it is.
    fn broken(&self) -> Option<String> {
        let limits = [
            (Phase::Well, 0, "while all is well"),
            (
                Phase::Lasting,
                LASTING_PER_MILLE_MAX,
                "while others serve all slots",
            ),
            (
                Phase::Returning,
                RETURNING_PER_MILLE_MAX,
                "when nodes come back",
            ),
            (Phase::New, NEW_PER_MILLE_MAX, "while faults are new"),
        ];
        let over = limits
            .iter()
            .find(|(phase, per_mille, _)| self.count(*phase) * 1000 > self.answers * per_mille);
        over.map(|(phase, _, when)| {
            let (count, strange) = (self.count(*phase), self.strange.join("\n"));
            format!(
                "{count} errors {when}, beside {} answers:\n{strange}",
                self.answers
            )
        })
    }
}

fn phase(episode: Option<&Episode>, failed: &Failed) -> Phase {
    let Some(episode) = episode else {
        return Phase::Well;
    };
    if failed.sent_ns >= episode.whole_ns {
        Phase::Well
    } else if failed.sent_ns < episode.served_ns {
        Phase::New
    } else if failed.received_ns < episode.undone_ns {
        Phase::Lasting
    } else {
        Phase::Returning
    }
}

/// An error without its numbers.
fn kind(error: &str) -> String {
    error.split(" {").next().unwrap_or(error).to_owned()
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((begun, phase), kinds) in &self.errors {
            let what = begun.map_or_else(
                || "before any fault".to_owned(),
                |at| {
                    let it = &self.episodes[at];
                    format!("fault {} (node {} {})", at + 1, it.place, it.fault)
                },
            );
            let from = begun.map_or(0, |at| self.episodes[at].began_ns);
            let ms = |at: u64| (i128::from(at) - i128::from(from)) / 1_000_000;
            let (first, last) = self.times[&(*begun, *phase)];
            writeln!(
                f,
                "errors, {what}, {phase:?}, sent after {} ms, the last ended after {} ms: {kinds:?}",
                ms(first),
                ms(last)
            )?;
        }
        let mut by_kind: BTreeMap<&str, u64> = BTreeMap::new();
        for (kind, count) in self.errors.values().flatten() {
            *by_kind.entry(kind).or_default() += count;
        }
        let all: u64 = by_kind.values().sum();
        writeln!(f, "errors by kind: {by_kind:?}")?;
        let mut faults: BTreeMap<String, u32> = BTreeMap::new();
        for episode in &self.episodes {
            *faults.entry(episode.fault.to_string()).or_default() += 1;
        }
        writeln!(f, "faults by kind: {faults:?}")?;
        for phase in [Phase::New, Phase::Lasting, Phase::Returning, Phase::Well] {
            writeln!(f, "errors, {phase:?}: {}", self.count(phase))?;
        }
        for strange in &self.strange {
            writeln!(f, "  {strange}")?;
        }
        write!(f, "{all} errors beside {} answers", self.answers)
    }
}

#[cfg(test)]
mod tests {
    use super::super::faults::Fault;
    use super::*;

    #[test]
    fn an_error_is_judged_by_when_its_check_was_sent_and_ended() {
        let episode = Episode {
            fault: Fault::Killed,
            place: 0,
            began_ns: 100,
            served_ns: 200,
            undone_ns: 300,
            whole_ns: 400,
        };
        for (sent_ns, received_ns, expected) in [
            (10, 50, Phase::Well),
            (90, 120, Phase::New),
            (150, 390, Phase::New),
            (210, 290, Phase::Lasting),
            (210, 310, Phase::Returning),
            (310, 450, Phase::Returning),
            (410, 500, Phase::Well),
        ] {
            let failed = Failed {
                sent_ns,
                received_ns,
                key: "key".to_owned(),
                error: "Timeout { after: 1s }".to_owned(),
            };
            let seen = Seen {
                denied: 1000,
                failures: vec![failed],
                ..Seen::default()
            };
            let budget = Budget::of(&seen, std::slice::from_ref(&episode));
            assert_eq!(
                budget.count(expected),
                1,
                "{sent_ns} to {received_ns}: {budget}"
            );
            let is_strict = expected == Phase::Well;
            let is_broken = budget.broken().is_some();
            assert_eq!(is_broken, is_strict, "{sent_ns} to {received_ns}");
        }
    }
}
