//! How a node without a cluster learns of one.

use std::time::Duration;

use super::{CLUSTER, TestNode, credentials, free_address, name};
use crate::membership::identity::Address;
use crate::membership::roster::{Roster, RosterEntry, Standing};
use crate::node::peers::{JoinError, Joiner, join};
use crate::transport::Role;
use crate::transport::certs::Authority;
use crate::types::{BootCounter, NodeId};

fn joiner(id: u128) -> Joiner {
    Joiner {
        node: NodeId(id),
        address: free_address(),
        boot: BootCounter(1),
    }
}

#[tokio::test]
async fn the_first_seed_that_answers_tells_all() {
    let authority = Authority::create("test").unwrap();
    let one = TestNode::start(&authority, 1);
    let (_, port) = one.address.host_and_port();
    let seeds = [
        free_address(),
        Address::new(&format!("localhost:{port}")).unwrap(),
    ];
    let credentials = credentials(&authority, Role::Node, &name(2));
    let joiner = joiner(2);
    let joined = join(&seeds, &credentials, &joiner, Duration::from_secs(60));
    let joined = joined.await.unwrap();
    assert_eq!(joined.cluster, CLUSTER);
    assert_eq!(joined.seed, one.identity());
    let shown = format!("{:?}", joined.cluster);
    assert!(!shown.contains("48, 49"), "the secret is shown: {shown}");
}

#[tokio::test]
async fn who_may_not_join_is_told_why_at_once() {
    let authority = Authority::create("test").unwrap();
    let mut roster = Roster::default();
    let removed = RosterEntry {
        node: NodeId(2),
        boot: BootCounter(1),
        revision: 1,
        standing: Standing::Removed,
        weight: 1,
        policies: 0,
        addresses: vec![free_address()],
        certificate: String::new(),
        zone: String::new(),
    };
    roster.merge(removed).unwrap();
    let mut one = TestNode::start_at(&authority, (1, 1), &free_address(), roster);
    let seeds = [one.address.clone()];
    let patience = Duration::from_secs(60);
    let node = credentials(&authority, Role::Node, &name(2));
    for (id, told) in [(2, "was removed"), (1, "is this one")] {
        let joined = join(&seeds, &node, &joiner(id), patience).await;
        match joined {
            Err(JoinError::Refused { refusal, .. }) => {
                assert!(refusal.to_string().contains(told), "{refusal}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(one.counts().await.wrong_identity, 2);
    let none = join(&[], &node, &joiner(3), patience).await;
    assert!(matches!(none, Err(JoinError::NoSeeds)), "{none:?}");
    // A client's certificate opens no door, however often it is shown.
    let client = credentials(&authority, Role::Client, "c");
    let joined = join(&seeds, &client, &joiner(3), Duration::ZERO).await;
    let Err(error @ JoinError::NotReached { .. }) = joined else {
        panic!("{joined:?}");
    };
    assert!(error.to_string().contains("are they started and reachable"));
}
