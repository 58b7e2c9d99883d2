//! I1, which is G1: the permits that were acknowledged and not refunded are at most the limit in
//! every window of true time.
//!
//! The window that ends at a grant is judged by the limits that this grant was decided by: of the
//! grants in any window one is the last, and when it was decided all others were counted.

use super::Invariant;
use crate::limiter::policy::Limit;
use crate::sim::judge::Fact;
use crate::sim::ledger::{Granted, Ledger};

/// See the module.
#[derive(Debug)]
pub(super) struct Window;

impl Invariant for Window {
    fn name(&self) -> &'static str {
        "I1: never above the limit in a window of true time"
    }

    fn see(&mut self, ledger: &Ledger, _: u64, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Acknowledged { grant, .. } = fact else {
            return Ok(());
        };
        let Some(new) = ledger.grants().get(*grant) else {
            return Err(format!("grant {grant} was never decided"));
        };
        for place in 0..new.limits.as_slice().len() {
            judge_windows(ledger, new, place)?;
        }
        Ok(())
    }
}

/// Every window that ends at a grant and holds the new one.
fn judge_windows(ledger: &Ledger, new: &Granted, place: usize) -> Result<(), String> {
    let counts = |it: &&Granted| it.stands() && !it.forgiven;
    let all = ledger.newest_first(new.key).filter(counts);
    for last in all.clone() {
        let Some(&limit) = last.limits.as_slice().get(place) else {
            continue;
        };
        if last.at_ns < new.at_ns {
            break;
        }
        let after_ns = last.at_ns.checked_sub(window_ns(limit));
        let inside =
            |it: &&Granted| it.at_ns <= last.at_ns && after_ns.is_none_or(|s| it.at_ns > s);
        if !inside(&new) {
            continue;
        }
        let granted: u64 = all.clone().filter(inside).map(|it| it.cost).sum();
        if granted > limit.permits() {
            let key = new.key;
            return Err(format!(
                "key {} of slot {}: {granted} permits of {limit} within the window that ends \
                 at {} ms",
                key.n,
                key.slot,
                last.at_ns / 1_000_000
            ));
        }
    }
    Ok(())
}

const fn window_ns(limit: Limit) -> u64 {
    limit.window_ms().saturating_mul(1_000_000)
}
