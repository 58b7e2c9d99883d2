//! Clusters of real nodes under load, judged by what their clients saw.

mod changing;
mod chaos;
mod cut;
mod five;
mod removed;
mod replicas;
mod steady;

use std::time::Duration;

use distributed_rate_limiter::client::Client;
use distributed_rate_limiter::limiter::policy::Limit;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use crate::support::{Granted, Load, Mix, Seen, eventually, fullest_window, windows_above};

/// Policies whose windows are shorter and longer than a test takes; all hold a grant through
/// `kill -9`.
const LIMITS: [(&str, &str); 3] = [
    ("short", "20/1s"),
    ("middle", "60/3s"),
    ("long", "400/10min"),
];

/// The policies as a file.
fn policies() -> String {
    LIMITS
        .map(|(name, limit)| format!("[policy.{name}]\nlimit = \"{limit}\"\n"))
        .concat()
}

/// Load enough to be denied now and then, on many slots.
fn mix() -> Mix {
    Mix {
        policies: &["short", "middle", "long"],
        keys: 12,
        hot: 0,
        tasks: 12,
        pause: Duration::from_millis(8),
    }
}

/// Starts to ask through `client`.
fn load(client: &Client, random: &mut StdRng) -> Load {
    Load::start(client, &mix(), random.random())
}

/// Lets the load go on until so many more were answered.
async fn answered(load: &Load, more: u64) {
    let goal = load.answers() + more;
    eventually_async("the load goes on", || load.answers() >= goal).await;
}

/// As [`eventually`], in a task.
async fn eventually_async(what: &str, mut holds: impl FnMut() -> bool) {
    let mut tries = 0;
    while !holds() {
        tries += 1;
        if tries > 12_000 {
            eventually(what, || false);
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// No true window holds more than its limit, and the load was enough to find one that does. Returns
/// what was seen.
async fn judge(load: Load) -> Seen {
    let seen = load.stop().await;
    println!(
        "{} granted, {} denied, {} failed {:?}, slowest {} ms",
        seen.grants().count(),
        seen.denied,
        seen.failed,
        &seen.failures[..seen.failures.len().min(5)],
        seen.slowest_ns / 1_000_000
    );
    assert!(
        seen.grants().count() > 500 && seen.denied > 500,
        "too little happened"
    );
    for ((policy, key), granted) in &seen.granted {
        let (_, limit) = LIMITS.iter().find(|(name, _)| name == policy).unwrap();
        within_limit(policy, key, limit, granted);
    }
    seen
}

/// No true window of a key holds more than its limit.
fn within_limit(policy: &str, key: &str, limit: &str, granted: &[Granted]) {
    let limit: Limit = limit.parse().unwrap();
    let window_ns = limit.window_ms() * 1_000_000;
    let above = windows_above(granted, window_ns, limit.permits());
    assert_eq!(above, [], "{policy} {key} above its limit");
}

/// Every permit of the long window that clients were granted is still counted.
async fn nothing_forgotten(client: &Client, seen: &Seen) {
    for ((policy, key), granted) in &seen.granted {
        if *policy != "long" {
            continue;
        }
        let granted: u64 = granted.iter().map(|granted| granted.cost).sum();
        let decision = client.peek(policy, key).await.unwrap();
        let counted = decision.limit - decision.remaining;
        assert!(
            counted >= granted,
            "{key}: {granted} granted, {counted} counted"
        );
    }
}

/// No client got an error, whatever moved: checks of a slot that moves wait for it, and one that has
/// waited too long at a node comes again by itself.
fn no_errors(seen: &Seen) {
    assert_eq!(seen.failed, 0, "{:?}", seen.failures);
}

/// Of the short windows some were filled: the limits were really felt.
fn limits_were_felt(seen: &Seen) {
    let filled = seen.granted.iter().filter(|((policy, _), granted)| {
        *policy == "short" && fullest_window(granted, 1_000_000_000) >= 18
    });
    assert!(filled.count() > 0, "no window was ever filled");
}

/// A generator for one test.
fn random(test: &str) -> StdRng {
    StdRng::seed_from_u64(crate::support::seeded(test).random())
}
