//! Seeds and mutations that run with every change.

use super::mutations::{Listed, MUTATIONS};
use super::{Coverage, Plan};

const SEEDS: u64 = 200;

/// A mutation that takes more seeds is too rare to be looked for with every change, and has a seed of
/// its own in [`directed`]. To follow what was accepted, for one, does harm only after the crash of a
/// candidate, the one of its successor just when its configuration is chosen, and a third attempt by
/// just the two that know the least.
const RARE: u64 = 1000;

/// A seed with 3 to 7 nodes; every second one with all faults.
fn plan(seed: u64) -> Plan {
    let plan = Plan::new(seed, 3 + usize::try_from(seed % 5).unwrap());
    if seed.is_multiple_of(2) {
        plan.harsh()
    } else {
        plan
    }
}

#[test]
fn nothing_is_granted_that_must_not_be_and_every_fault_happens() {
    let mut coverage = Coverage::default();
    for seed in 0..SEEDS {
        let outcome = plan(seed).run();
        coverage.add(&outcome.coverage);
        let broken = outcome.violation.is_some();
        assert!(!broken, "{}", plan(seed).report(&outcome));
    }
    println!("{SEEDS} seeds have exercised\n{coverage}");
    assert_eq!(coverage.missing(), [], "happened never");
}

/// Seeds until the judge notices.
fn noticed_after(listed: &Listed) -> Option<u64> {
    (0..listed.seeds).find(|&seed| {
        let plan = Plan::new(seed, 3 + usize::try_from(seed % 5).unwrap());
        plan.harsh().with(listed.mutation).run().violation.is_some()
    })
}

#[test]
fn every_protection_that_is_switched_off_is_missed() {
    for listed in MUTATIONS.into_iter().filter(|it| it.seeds <= RARE) {
        let seeds = noticed_after(&listed);
        println!("{:<30} {seeds:?} of {}", listed.name, listed.seeds);
        let name = listed.name;
        assert!(
            seeds.is_some(),
            "nobody noticed {name} within {} seeds",
            listed.seeds
        );
    }
}

/// Seeds that notice what is too rare to be looked for each time. A change of the simulator may move
/// them; `tools/simulate --harsh --mutation NAME --seeds 4000` finds others.
fn directed() -> Vec<(&'static str, Plan)> {
    let three = Some(3);
    vec![
        (
            "given-up-forgotten",
            Plan::new(200_561, 4).harsh().replicas(three),
        ),
        ("accepted-followed", Plan::new(1216, 4).harsh()),
    ]
}

#[test]
fn what_is_too_rare_has_a_seed_that_notices_it() {
    let rare = MUTATIONS.iter().filter(|it| it.seeds > RARE);
    let rare: Vec<_> = rare.map(|it| it.name).collect();
    let named: Vec<_> = directed().iter().map(|it| it.0).collect();
    assert_eq!(rare, named);
    for (name, plan) in directed() {
        let sound = plan.run();
        assert!(sound.violation.is_none(), "{}", plan.report(&sound));
        let mutated = plan.mutated(name).unwrap();
        assert!(mutated.run().violation.is_some(), "nobody noticed {name}");
    }
}

#[test]
fn a_seed_replays_the_same_run() {
    let traces = [(); 2].map(|()| plan(4).trace());
    assert!(traces[0].len() > 100);
    assert_eq!(traces[0], traces[1]);
}

#[test]
fn a_report_tells_the_command_that_replays_it() {
    let plan = Plan::new(0, 3).harsh().replicas(Some(1));
    let plan = plan.mutated("epoch-resumed").unwrap();
    let report = plan.report(&plan.run());
    let command = "tools/simulate --seed 0 --nodes 3 --harsh --replicas 1 --mutation epoch-resumed";
    assert!(report.ends_with(command), "{report}");
    assert!(report.contains("one owner serves a slot"), "{report}");
    assert!(Plan::new(0, 3).mutated("no such thing").is_none());
}
