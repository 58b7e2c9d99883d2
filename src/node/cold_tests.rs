//! Keys that were evicted: left over by who must not wait, and never forgotten.

use super::engine::Engine;
use super::forward::Local as _;
use super::slots_tests::{check_all, open_with, policies};
use super::upkeep::write_checkpoint;
use crate::limiter::policy::Durability;
use crate::protocol::client::{Ask, PolicyRef, RequestBody, ResponseBody, Target};
use crate::server::Mode;

fn target(key: &str) -> Target<'_> {
    let policy = PolicyRef::Named("api");
    Target { policy, key }
}

/// How many of these checks are left over by who must not wait.
fn left_over(engine: &Engine, keys: &[String]) -> usize {
    let asks: Vec<_> = keys
        .iter()
        .map(|key| Ask {
            target: target(key),
            cost: 1,
        })
        .collect();
    let mut answers = Vec::new();
    let late = engine.decide(&asks, Mode::Count, &mut answers);
    assert_eq!(answers.len(), keys.len());
    late.len()
}

#[tokio::test]
async fn what_only_the_store_can_tell_is_left_over_and_then_read() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open_with(dir.path(), &policies(Durability::Process));
    for _ in 0..3 {
        assert!(check_all(&engine).iter().all(|it| *it == Ok(true)));
    }
    engine.committer.flush().await.unwrap();
    write_checkpoint(&engine).unwrap();
    assert!(engine.table.evict_all(engine.now()) > 0);
    let keys: Vec<String> = (0..40).map(|n| format!("key-{n}")).collect();
    let grants = engine.table.counters().grants;
    assert_eq!(left_over(&engine, &keys), keys.len());
    assert_eq!(engine.table.counters().grants, grants, "nothing is counted");
    let reset = RequestBody::Reset {
        target: target("key-7"),
    };
    assert!(engine.carry_out(&reset).is_none());
    assert!(check_all(&engine).iter().all(|it| *it == Ok(false)));
    assert_eq!(left_over(&engine, &keys), 0, "they are here again");
    assert!(engine.table.evict_all(engine.now()) > 0);
    let (done, _) = engine.carry_out_reading(&reset).unwrap();
    assert_eq!(done, ResponseBody::Done);
    // Of keys that it certainly never had, the store is not asked.
    let fresh: Vec<String> = (0..400).map(|n| format!("fresh-{n}")).collect();
    assert!(left_over(&engine, &fresh) < fresh.len() / 10);
}
