//! Runs or replays seeds of the simulator: whole clusters in a world in which everything goes
//! wrong, judged by true time. Exit code 1 when a promise was broken, or a fault never happened.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that reports on its terminal"
)]

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, bail, ensure};
use clap::Parser;
use distributed_rate_limiter::internals::{Coverage, Outcome, Plan, mutations, not_switched_off};

/// Fewer seeds than this need not exercise everything.
const SEEDS_FOR_COVERAGE: u64 = 200;

/// Runs whole clusters in a world in which everything goes wrong.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Run just this seed.
    #[arg(long)]
    seed: Option<u64>,
    /// How many nodes: a number, or a range such as 3..7, both ends included.
    #[arg(long, default_value = "3..7")]
    nodes: Nodes,
    /// Let every fault happen, and often.
    #[arg(long)]
    harsh: bool,
    /// How many replicas of each slot, 1 or 3; else each seed says how many.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=3))]
    replicas: Option<u8>,
    /// Switch this protection off; the run then has to fail.
    #[arg(long)]
    mutation: Option<String>,
    /// Print everything that happens (with --seed).
    #[arg(long, requires = "seed")]
    trace: bool,
    /// List the protections that can be switched off.
    #[arg(long)]
    list: bool,
}

/// From so many nodes to so many.
#[derive(Debug, Clone, Copy)]
struct Nodes {
    least: u64,
    most: u64,
}

impl std::str::FromStr for Nodes {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (least, most) = text.split_once("..").unwrap_or((text, text));
        let number = |text: &str| {
            text.parse()
                .with_context(|| format!("`{text}` is no number"))
        };
        let (least, most) = (number(least)?, number(most)?);
        ensure!(
            2 <= least && least <= most && most <= 16,
            "from 2 to 16 nodes can be simulated"
        );
        Ok(Self { least, most })
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.list {
        list();
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(name) = &arguments.mutation
        && !mutations().iter().any(|(known, _)| known == name)
    {
        bail!("there is no protection called `{name}`; --list shows them");
    }
    match arguments.seed {
        Some(seed) => Ok(replay(&arguments, seed)),
        None => run_all(&arguments),
    }
}

fn list() {
    for (name, seeds) in mutations() {
        println!("{name:<30} noticed within {seeds} seeds");
    }
    for (name, reason) in not_switched_off() {
        println!("not switched off: {name}: {reason}");
    }
}

fn plan(arguments: &Arguments, seed: u64) -> Plan {
    let Nodes { least, most } = arguments.nodes;
    let nodes = least + seed % (most - least + 1);
    let plan = Plan::new(seed, usize::try_from(nodes).unwrap_or(3));
    let plan = if arguments.harsh { plan.harsh() } else { plan };
    let plan = plan.replicas(arguments.replicas.map(usize::from));
    let name = arguments.mutation.as_deref();
    name.and_then(|name| plan.mutated(name)).unwrap_or(plan)
}

fn replay(arguments: &Arguments, seed: u64) -> ExitCode {
    let plan = plan(arguments, seed);
    let outcome = plan.run();
    if arguments.trace {
        println!("{}", plan.trace().join("\n"));
    }
    println!("{}", plan.report(&outcome));
    if outcome.violation.is_some() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// What became of all seeds together.
#[derive(Default)]
struct Tally {
    coverage: Coverage,
    steps: u64,
    grants: usize,
    /// The longest time until all was well again.
    settled_ms: u64,
    failed: Vec<(Plan, Outcome)>,
}

impl Tally {
    fn add(&mut self, plan: Plan, outcome: Outcome) {
        self.coverage.add(&outcome.coverage);
        self.steps += outcome.steps;
        self.grants += outcome.grants;
        self.settled_ms = self.settled_ms.max(outcome.settled_ms.unwrap_or(0));
        if outcome.violation.is_some() {
            self.failed.push((plan, outcome));
        }
    }

    fn merge(&mut self, other: Self) {
        self.coverage.add(&other.coverage);
        self.steps += other.steps;
        self.grants += other.grants;
        self.settled_ms = self.settled_ms.max(other.settled_ms);
        self.failed.extend(other.failed);
    }
}

fn run_all(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let next = AtomicU64::new(arguments.from);
    let end = arguments
        .from
        .checked_add(arguments.seeds)
        .context("too many seeds")?;
    let shown = std::io::stderr().is_terminal();
    let work = || {
        let mut tally = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return tally;
            }
            let plan = plan(arguments, seed);
            let outcome = plan.run();
            if shown {
                eprint!("\rseed {seed}, to {end}");
            }
            if outcome.violation.is_some() {
                eprintln!("\rfailed: {}", plan.command());
            }
            tally.add(plan, outcome);
        }
    };
    let mut tally = Tally::default();
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            match worker.join() {
                Ok(part) => tally.merge(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    if shown {
        eprintln!();
    }
    Ok(conclude(arguments, &mut tally))
}

fn conclude(arguments: &Arguments, tally: &mut Tally) -> ExitCode {
    tally.failed.sort_by_key(|(plan, _)| plan.command());
    println!("{}", tally.coverage);
    if let Some((plan, outcome)) = tally.failed.first() {
        println!("{}\n", plan.report(outcome));
    }
    let failed = tally.failed.len();
    println!(
        "{} seeds, {failed} failed; {} grants, {} steps; all was well again at most {} ms after \
         the last fault",
        arguments.seeds, tally.grants, tally.steps, tally.settled_ms
    );
    let full = arguments.seeds >= SEEDS_FOR_COVERAGE && arguments.mutation.is_none();
    let missing = if full {
        tally.coverage.missing()
    } else {
        Vec::new()
    };
    for (what, place) in &missing {
        println!("never happened, so this run proves nothing about it: {what}: {place}");
    }
    if failed > 0 || !missing.is_empty() {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
