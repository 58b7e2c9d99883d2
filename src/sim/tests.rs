//! Seeds and mutations that run with every change.

use super::mutations::MUTATIONS;
use super::run::Plan;
use super::Coverage;

#[test]
fn smoke() {
    let mut coverage = Coverage::default();
    let mut failed = 0;
    let started = std::time::SystemTime::now();
    let mut steps = 0;
    for seed in 0..50 {
        let plan = Plan::new(seed, 3 + usize::try_from(seed % 5).unwrap());
        let outcome = plan.run();
        steps += outcome.steps;
        coverage.add(&outcome.coverage);
        if let Some(violation) = outcome.violation {
            println!("{}\n{violation:?}\n{}", plan.command(), outcome.options);
            failed += 1;
            if failed == 1 && std::env::var("TRACE").is_ok() {
                println!("{}", plan.trace().join("\n"));
            }
        }
    }
    println!("{coverage} {steps} steps in {:?}", started.elapsed());
    assert_eq!(failed, 0);
    let _ = MUTATIONS;
}
