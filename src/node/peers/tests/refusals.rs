//! Who is not let in: strangers, other roles, other clusters, and nodes that are not what they
//! claim to be. Each is told why, counted, and changes nothing.

use std::net::SocketAddr;

use super::{CLUSTER, TestNode, couple, credentials, free_address, name};
use crate::membership::identity::Address;
use crate::membership::roster::{Roster, RosterEntry, Standing};
use crate::node::peers::PeerCounts;
use crate::node::peers::dial::{Caller, DialError, Greeted};
use crate::protocol::hello::VERSIONS;
use crate::protocol::peer::{PeerHello, PeerRefusal, Purpose};
use crate::transport::Role;
use crate::transport::certs::Authority;
use crate::types::{BootCounter, NodeId, SLOT_COUNT};

fn hello(node: u128, boot: u64, address: &Address) -> PeerHello {
    PeerHello {
        oldest: VERSIONS.0,
        newest: VERSIONS.1,
        cluster: CLUSTER.cluster,
        slot_count: SLOT_COUNT,
        node,
        boot,
        address: address.as_str().to_owned(),
        agent: "test".to_owned(),
        purpose: Purpose::Control,
    }
}

fn entry(node: u128, boot: u64, standing: Standing) -> RosterEntry {
    RosterEntry {
        node: NodeId(node),
        boot: BootCounter(boot),
        revision: 1,
        standing,
        weight: 1,
        policies: 0,
        addresses: vec![Address::new("somewhere:7400").unwrap()],
        certificate: name(node),
        zone: String::new(),
    }
}

fn socket(node: &TestNode) -> SocketAddr {
    node.address.as_str().parse().unwrap()
}

async fn call(caller: &Caller, node: &TestNode, hello: PeerHello) -> Result<Greeted, DialError> {
    caller.call(&node.address, socket(node), &hello).await
}

async fn refusal(caller: &Caller, node: &TestNode, hello: &PeerHello) -> PeerRefusal {
    match caller.call(&node.address, socket(node), hello).await {
        Err(DialError::Refused { refusal, .. }) => refusal,
        other => panic!("{hello:?}: {other:?}"),
    }
}

#[tokio::test]
async fn who_is_not_what_it_claims_is_told_why_and_counted() {
    let authority = Authority::create("test").unwrap();
    let mut roster = Roster::default();
    for known in [
        entry(2, 5, Standing::Active),
        entry(3, 1, Standing::Removed),
    ] {
        roster.merge(known).unwrap();
    }
    let mut one = TestNode::start_at(&authority, (1, 1), &free_address(), roster);
    let caller = |id| Caller::new(&credentials(&authority, Role::Node, &name(id))).unwrap();
    let at = free_address();
    let mut other_cluster = hello(2, 5, &at);
    other_cluster.cluster = 78;
    let mut no_cluster = hello(2, 5, &at);
    no_cluster.cluster = 0;
    let mut other_slots = hello(2, 5, &at);
    other_slots.slot_count = 16;
    let mut too_new = hello(2, 5, &at);
    too_new.oldest = 9;
    too_new.newest = 9;
    let mut nowhere = hello(2, 5, &at);
    nowhere.address = "nowhere".to_owned();
    let cases = [
        (2, other_cluster, "is of cluster 0000"),
        (2, no_cluster, "is of cluster 0000"),
        (2, other_slots, "has 4096 slots"),
        (2, too_new, "upgrade the older one"),
        (2, nowhere, "host:port"),
        (2, hello(2, 4, &at), "an old copy or runs elsewhere"),
        (3, hello(3, 9, &at), "removed from the cluster"),
        (3, hello(2, 5, &at), "belongs to the certificate `node-2`"),
        (1, hello(1, 1, &at), "is this one"),
    ];
    for (certificate, hello, told) in cases {
        let refusal = refusal(&caller(certificate), &one, &hello).await;
        assert!(refusal.to_string().contains(told), "{told}: {refusal}");
    }
    let expected = PeerCounts {
        other_cluster: 3,
        other_version: 1,
        malformed: 1,
        wrong_identity: 4,
        ..PeerCounts::default()
    };
    assert_eq!(one.counts().await, expected);
    assert_eq!(one.tell(|net| net.connected().count()).await, 0);
    // The one that is what it claims gets in.
    let greeted = call(&caller(2), &one, hello(2, 5, &at)).await;
    let welcome = greeted.unwrap().welcome;
    assert_eq!((welcome.node, welcome.key_secret), (1, None));
}

#[tokio::test]
async fn a_copied_data_directory_is_told_apart_while_the_first_one_lives() {
    let authority = Authority::create("test").unwrap();
    let (one, mut two) = couple(&authority).await;
    let caller = Caller::new(&credentials(&authority, Role::Node, &name(2))).unwrap();
    let second = hello(2, 1, &free_address());
    let told = refusal(&caller, &one, &second).await.to_string();
    assert!(told.contains("was copied; stop one of them"), "{told}");
    let stranger = Caller::new(&credentials(&authority, Role::Node, &name(3))).unwrap();
    let told = refusal(&stranger, &one, &hello(2, 2, &two.address)).await;
    assert!(told.to_string().contains("certificate `node-2`"), "{told}");
    // The first one is not disturbed.
    let frame = crate::protocol::peer::PeerFrame::RosterDigest(1);
    assert!(two.tell(move |net| net.send(NodeId(1), &frame)).await);
}

#[tokio::test]
async fn strangers_and_other_roles_do_not_get_in() {
    let authority = Authority::create("test").unwrap();
    let stranger = Authority::create("test").unwrap();
    let mut one = TestNode::start(&authority, 1);
    let at = free_address();
    for role in [Role::Client, Role::Admin] {
        let caller = Caller::new(&credentials(&authority, role, "c")).unwrap();
        let error = call(&caller, &one, hello(2, 1, &at)).await.unwrap_err();
        assert!(matches!(error, DialError::Broken { .. }), "{error:?}");
    }
    let anonymous = crate::transport::tls::Credentials::anonymous(&authority).unwrap();
    let caller = Caller::new(&anonymous).unwrap();
    assert!(call(&caller, &one, hello(2, 1, &at)).await.is_err());
    assert_eq!(one.counts().await.wrong_role, 3);

    // It does not trust the node, nor the node it.
    let caller = Caller::new(&credentials(&stranger, Role::Node, &name(2))).unwrap();
    assert!(call(&caller, &one, hello(2, 1, &at)).await.is_err());
    while one.counts().await.strangers == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(one.tell(|net| net.connected().count()).await, 0);
}

#[tokio::test]
async fn a_node_does_not_believe_whoever_answers() {
    let authority = Authority::create("test").unwrap();
    // At the address of node 2 answers node 3; then a node 2 that is known from a later life.
    let three = TestNode::start(&authority, 3);
    let mut roster = Roster::default();
    roster.merge(entry(2, 5, Standing::Active)).unwrap();
    let mut one = TestNode::start_at(&authority, (1, 1), &free_address(), roster);
    let old = TestNode::start(&authority, 2);
    let targets = vec![(NodeId(2), three.address.clone())];
    one.tell(|net| net.set_targets(targets)).await;
    one.knows(&[&old]).await;
    let told = one.heard().await;
    assert!(told.starts_with("refused 2 false"), "{told}");
    assert!(told.contains("has started 1 times, but was seen with 5"));
    assert_eq!(one.tell(|net| net.connected().count()).await, 0);
}

#[tokio::test]
async fn bytes_that_are_no_frame_end_the_connection_and_nothing_else() {
    let authority = Authority::create("test").unwrap();
    let (mut one, two) = couple(&authority).await;
    let caller = Caller::new(&credentials(&authority, Role::Node, &name(3))).unwrap();
    let at = free_address();
    let garbage: [&[u8]; 4] = [
        &[0xff; 4],
        &[1, 0, 0, 0, 0xff],
        &[3, 0, 0, 0, 2, 1, 1],
        &[0, 0, 0, 0],
    ];
    for (n, bytes) in (1..).zip(garbage) {
        let mut greeted = call(&caller, &one, hello(3, n, &at)).await.unwrap();
        greeted.send.write_all(bytes).await.unwrap();
        let reason = greeted.connection.closed().await.to_string();
        assert!(reason.contains("not a frame of this protocol"), "{reason}");
        assert_eq!(one.counts().await.malformed, n);
    }
    let frame = crate::protocol::peer::PeerFrame::RosterDigest(1);
    assert!(one.tell(move |net| net.send(two.id, &frame)).await);
}
