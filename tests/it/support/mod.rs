//! What the tests of whole processes stand on: a home with policies and counts, nodes that are
//! started and killed there, clients that load them and remember, and the judge of what they saw.

mod checker;
mod cluster;
mod disk;
mod filling;
mod home;
mod load;
mod log;
mod node;
mod relay;
mod views;

pub(crate) use checker::{Granted, fullest_window, windows_above};
pub(crate) use cluster::Cluster;
pub(crate) use disk::Disk;
pub(crate) use filling::write_until_noticed;
pub(crate) use home::Home;
pub(crate) use load::{Failed, Load, Mix, Seen};
pub(crate) use log::{Log, field};
pub(crate) use node::Node;
pub(crate) use views::{are_in_sync, is_served, is_settled};

use std::time::Duration;

use distributed_rate_limiter::node::clock::mono_now;
use rand::SeedableRng;
use rand::rngs::StdRng;

/// The clock of all histories, in nanoseconds.
pub(crate) fn now_ns() -> u64 {
    mono_now().as_ns()
}

/// Far longer than anything here takes: who waits so long has found a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `holds`, and fails with `what` if it never does.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let given_up = mono_now().plus(PATIENCE);
    while !holds() {
        assert!(mono_now() < given_up, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A random generator whose seed is printed, with the command that replays it.
pub(crate) fn seeded(test: &str) -> StdRng {
    let given = std::env::var("RATELIMIT_TEST_SEED").ok();
    let seed = given.map_or_else(rand::random, |seed| seed.parse().unwrap());
    println!("seed {seed}: RATELIMIT_TEST_SEED={seed} cargo test --test it {test}");
    StdRng::seed_from_u64(seed)
}
