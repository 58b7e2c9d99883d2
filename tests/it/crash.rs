//! Nodes killed with SIGKILL at any moment: what was granted before counts after.

use std::time::Duration;

use distributed_rate_limiter::limiter::policy::Limit;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::runtime::Runtime;

use crate::support::{
    Home, Load, Mix, Node, eventually, fullest_window, now_ns, seeded, windows_above,
};

const KILLS: usize = 22;

/// Policies of the crash runs; `forgetful` is there to be caught.
const LIMITS: [(&str, &str); 4] = [
    ("short", "20/1s"),
    ("middle", "50/2s"),
    ("wide", "100/5s"),
    ("forgetful", "100/5s"),
];

fn policies(durability: &str) -> String {
    let policy = |(name, limit): (&str, &str)| {
        let durability = if name == "forgetful" {
            "none"
        } else {
            durability
        };
        format!("[policy.{name}]\nlimit = \"{limit}\"\ndurability = \"{durability}\"\n")
    };
    LIMITS.map(policy).concat()
}

#[test]
fn no_kill_makes_a_node_of_durability_process_grant_too_much() {
    survives_kills("process");
}

#[test]
fn no_kill_makes_a_node_of_durability_fsync_grant_too_much() {
    survives_kills("fsync");
}

fn survives_kills(durability: &str) {
    let mut random = seeded(durability);
    let home = Home::new(&policies(durability));
    let runtime = Runtime::new().unwrap();
    let mut node = home.start();
    let address = node.address();
    let client = home.client(&node).deadline(Duration::from_secs(2));
    let client = runtime.block_on(client.connect()).unwrap();
    let mix = Mix {
        policies: &["short", "middle", "wide", "forgetful"],
        keys: 2,
        hot: 0,
        tasks: 8,
        pause: Duration::from_millis(6),
    };
    let load = {
        let _inside = runtime.enter();
        Load::start(&client, &mix, random.random())
    };
    let mut lives = Vec::new();
    for _ in 0..KILLS {
        lives.push(live_and_die(&mut node, &load, &mut random));
        node = home.spawn(address);
    }
    node.wait_serving();
    lives.push(live_and_die(&mut node, &load, &mut random));
    let seen = runtime.block_on(load.stop());
    let grants = seen.grants().count();
    let lively = lives.iter().filter(|&&(from_ns, to_ns)| {
        seen.grants()
            .any(|granted| granted.sent_ns >= from_ns && granted.received_ns <= to_ns)
    });
    let lively = lively.count();
    println!(
        "{grants} granted, {} denied, {} failed, grants in {lively} lives",
        seen.denied, seen.failed
    );
    assert!(
        grants > 500 && seen.denied > 2000 && lively > KILLS / 2,
        "too little happened"
    );
    for ((policy, key), granted) in &seen.granted {
        let (_, limit) = LIMITS.iter().find(|(name, _)| name == policy).unwrap();
        let limit: Limit = limit.parse().unwrap();
        let window_ns = limit.window_ms() * 1_000_000;
        let above = windows_above(granted, window_ns, limit.permits());
        if *policy == "forgetful" {
            assert!(
                !above.is_empty(),
                "a policy that forgets was not caught: nothing is proved"
            );
            continue;
        }
        assert_eq!(above, [], "{policy} {key} above its limit");
        let fullest = fullest_window(granted, window_ns);
        assert!(
            fullest * 10 >= limit.permits() * 9,
            "{policy} {key}: {fullest} at most in a window"
        );
    }
}

/// Kills the node at a random moment: one time in four while it starts, else while it answers.
/// Between which times it lived.
fn live_and_die(node: &mut Node, load: &Load, random: &mut StdRng) -> (u64, u64) {
    let from_ns = now_ns();
    if random.random_bool(0.25) {
        std::thread::sleep(Duration::from_millis(random.random_range(0..150)));
    } else {
        let before = load.answers();
        eventually("the node answers", || load.answers() > before);
        std::thread::sleep(Duration::from_millis(random.random_range(0..700)));
    }
    node.kill();
    (from_ns, now_ns())
}
