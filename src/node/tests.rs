//! The limiter in process, over a real data directory and over none.

use proptest::prelude::*;

use super::{Limiter, LimiterOptions};
use crate::WireError;
use crate::limiter::policy::{Durability, Limit, Policy, PolicySet};

fn policies(limit: &str, durability: Durability) -> PolicySet {
    let mut set = PolicySet::default();
    let policy = Policy {
        durability,
        ..Policy::new(limit.parse::<Limit>().unwrap())
    };
    set.policies.insert("api".to_owned(), policy);
    set
}

/// Asks for `key`, waiting while the table makes room.
async fn allowed(limiter: &Limiter, key: &str) -> bool {
    loop {
        match limiter.check("api", key, 1).await {
            Ok(decision) => return decision.allowed,
            Err(WireError::Overloaded { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn keys_beyond_max_keys_are_evicted_and_none_of_their_counts_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = LimiterOptions::at(dir.path(), policies("3/hour", Durability::Process));
    options.max_keys = 500;
    let limiter = Limiter::open(options.clone()).unwrap();
    let keys: Vec<String> = (0..3000).map(|n| format!("user-{n}")).collect();
    for round in 0..4 {
        for key in &keys {
            assert_eq!(
                allowed(&limiter, key).await,
                round < 3,
                "{key} in round {round}"
            );
        }
    }
    limiter.close().await.unwrap();

    let limiter = Limiter::open(options).unwrap();
    for key in &keys {
        assert!(!allowed(&limiter, key).await, "{key} after a restart");
    }
    limiter.close().await.unwrap();
}

#[tokio::test]
async fn a_full_table_that_cannot_evict_turns_new_keys_away_and_keeps_the_old() {
    let mut options = LimiterOptions::in_memory(policies("1/hour", Durability::None));
    options.max_keys = 10;
    let limiter = Limiter::open(options).unwrap();
    for n in 0..10 {
        assert!(
            limiter
                .check("api", &format!("user-{n}"), 1)
                .await
                .unwrap()
                .allowed
        );
    }
    let new = limiter.check("api", "user-10", 1).await;
    assert!(matches!(new, Err(WireError::Overloaded { .. })), "{new:?}");
    for n in 0..10 {
        assert!(
            !limiter
                .check("api", &format!("user-{n}"), 1)
                .await
                .unwrap()
                .allowed
        );
    }
}

#[tokio::test]
async fn a_changed_limit_holds_at_once_and_keeps_the_counts() {
    let limiter = Limiter::open(LimiterOptions::in_memory(policies(
        "5/hour",
        Durability::None,
    )))
    .unwrap();
    for _ in 0..5 {
        assert!(limiter.check("api", "user", 1).await.unwrap().allowed);
    }
    limiter
        .set_policies(&policies("7/hour", Durability::None))
        .unwrap();
    let raised = limiter.check("api", "user", 1).await.unwrap();
    assert_eq!(
        (raised.allowed, raised.limit, raised.remaining),
        (true, 7, 1)
    );
    limiter
        .set_policies(&policies("2/hour", Durability::None))
        .unwrap();
    let lowered = limiter.check("api", "user", 1).await.unwrap();
    assert_eq!(
        (lowered.allowed, lowered.limit, lowered.remaining),
        (false, 2, 0)
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn any_text_of_1_to_256_bytes_is_a_key_of_its_own(keys in prop::collection::btree_set("\\PC{1,64}", 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let limiter =
                Limiter::open(LimiterOptions::in_memory(policies("1/hour", Durability::None))).unwrap();
            for expected in [true, false] {
                for key in &keys {
                    let decision = limiter.check("api", key, 1).await.unwrap();
                    assert_eq!(decision.allowed, expected, "{key:?}");
                }
            }
        });
    }
}
