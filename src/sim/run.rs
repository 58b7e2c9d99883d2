//! One run, and many of them: what the binary and the tests call.

use super::coverage::Coverage;
use super::judge::Violation;
use super::mutations::{MUTATIONS, Mutation, NOT_SWITCHED_OFF};
use super::options::Options;
use super::world::{MS, World};

/// Lines of a trace that are shown.
const TRACE_LINES: usize = 60;

/// What is to be run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    seed: u64,
    nodes: usize,
    harsh: bool,
    replicas: Option<usize>,
    mutation: Option<Mutation>,
}

/// How a run went.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What the run was like.
    pub options: String,
    /// Events that happened.
    pub steps: u64,
    /// Facts that were judged.
    pub facts: u64,
    /// Grants that were decided.
    pub grants: usize,
    /// How long after the last fault all was well again, in simulated milliseconds.
    pub settled_ms: Option<u64>,
    /// What was exercised.
    pub coverage: Coverage,
    /// The first thing that was wrong.
    pub violation: Option<Violation>,
}

impl Plan {
    /// A run of a seed with so many nodes, at least 2.
    pub const fn new(seed: u64, nodes: usize) -> Self {
        Self {
            seed,
            nodes,
            harsh: false,
            replicas: None,
            mutation: None,
        }
    }

    /// The same with every fault, and often.
    #[must_use]
    pub const fn harsh(self) -> Self {
        Self {
            harsh: true,
            ..self
        }
    }

    /// The same with so many replicas of each slot, 1 or 3; else the seed says how many.
    #[must_use]
    pub const fn replicas(self, replicas: Option<usize>) -> Self {
        Self { replicas, ..self }
    }

    /// The same with the protection of this name switched off; `None` if there is none.
    pub fn mutated(self, name: &str) -> Option<Self> {
        let listed = MUTATIONS.iter().find(|it| it.name == name)?;
        Some(self.with(listed.mutation))
    }

    pub(super) const fn with(self, mutation: Mutation) -> Self {
        Self {
            mutation: Some(mutation),
            ..self
        }
    }

    /// Runs it.
    pub fn run(self) -> Outcome {
        self.outcome(false).0
    }

    /// Runs it, and tells everything that happened.
    pub fn trace(self) -> Vec<String> {
        self.outcome(true).1
    }

    /// Why a run failed: what was wrong, what the run was like, the last things that happened, and
    /// the command that runs it again.
    pub fn report(self, outcome: &Outcome) -> String {
        let Some(violation) = &outcome.violation else {
            return format!("nothing is wrong; {}", outcome.options);
        };
        let lines = self.trace();
        let last = lines.len().saturating_sub(TRACE_LINES);
        format!(
            "{}\n\n{}\n\n{}: {} (at {} ms)\nrun it again: {}",
            lines[last..].join("\n"),
            outcome.options,
            violation.invariant,
            violation.what,
            violation.at_ns / 1_000_000,
            self.command()
        )
    }

    /// The command that runs just this again.
    pub fn command(self) -> String {
        let mut command = format!("tools/simulate --seed {} --nodes {}", self.seed, self.nodes);
        if self.harsh {
            command.push_str(" --harsh");
        }
        if let Some(replicas) = self.replicas {
            command.extend([" --replicas ".to_owned(), replicas.to_string()]);
        }
        if let Some(mutation) = self.mutation {
            let name = MUTATIONS.iter().find(|it| it.mutation == mutation);
            command.push_str(" --mutation ");
            command.push_str(name.map_or("", |it| it.name));
        }
        command
    }

    fn outcome(self, traced: bool) -> (Outcome, Vec<String>) {
        let options = Options::draw(self.seed, self.nodes.max(2), self.harsh);
        let options = options
            .with_replicas(self.replicas)
            .directed_at(self.mutation);
        let described = options.to_string();
        let safety_ns = options.safety_ns;
        let mut world = World::new(options, self.mutation, traced);
        world.run();
        let outcome = Outcome {
            options: described,
            steps: world.steps,
            facts: world.judge.facts(),
            grants: world.judge.ledger().grants().len(),
            settled_ms: world.settled_ns.map(|it| it.saturating_sub(safety_ns) / MS),
            coverage: world.coverage,
            violation: world.judge.violation().cloned(),
        };
        (outcome, world.trace.unwrap_or_default())
    }
}

/// The names of all protections that can be switched off, each with the number of seeds within
/// which that must be noticed.
pub fn mutations() -> Vec<(&'static str, u64)> {
    MUTATIONS.iter().map(|it| (it.name, it.seeds)).collect()
}

/// The protections that no run switches off, each with the reason.
pub fn not_switched_off() -> Vec<(&'static str, &'static str)> {
    NOT_SWITCHED_OFF.to_vec()
}
