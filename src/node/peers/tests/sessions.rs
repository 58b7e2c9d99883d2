//! Sessions: both ends can talk, and nothing outlives the connections that it belongs to.

use super::{CLUSTER, PeerEvent, TestNode, couple, credentials, free_address, name};
use crate::membership::identity::{Address, Identity};
use crate::membership::roster::Roster;
use crate::membership::swim::PACKET_BYTES_MAX;
use crate::node::peers::{Own, requests_answer};
use crate::protocol::client::{
    Ask, PolicyRef, Request, RequestBody, Response, ResponseBody, Target,
};
use crate::protocol::frame::{FrameBuffer, decode, encode};
use crate::protocol::ownership::WireMessage;
use crate::protocol::peer::{PeerAnswer, PeerFrame, PeerRefusal};
use crate::transport::Role;
use crate::transport::certs::Authority;
use crate::transport::endpoint::{client_endpoint, peer_config};
use crate::types::{BootCounter, NodeId};

#[tokio::test]
async fn two_nodes_talk_both_ways_in_order_and_gossip() {
    let authority = Authority::create("test").unwrap();
    let (mut one, mut two) = couple(&authority).await;
    for n in 0..500 {
        let frame = PeerFrame::RosterDigest(n);
        assert!(one.tell(move |net| net.send(NodeId(2), &frame)).await);
        assert_eq!(two.heard().await, format!("1 says RosterDigest({n})"));
    }
    let frame = PeerFrame::RosterDigest(7);
    assert!(two.tell(move |net| net.send(NodeId(1), &frame)).await);
    assert_eq!(one.heard().await, "2 says RosterDigest(7)");

    assert!(
        one.tell(|net| net.send_datagram(NodeId(2), vec![1, 2]))
            .await
    );
    assert_eq!(two.heard().await, "1 gossips [1, 2]");
    let longest = vec![0; PACKET_BYTES_MAX];
    assert!(two.tell(|net| net.send_datagram(NodeId(1), longest)).await);
    assert!(one.heard().await.starts_with("2 gossips"));
    assert!(
        !one.tell(|net| net.send_datagram(NodeId(2), vec![0; 60_000]))
            .await
    );

    let round_trips = one.tell(|net| net.round_trips()).await;
    assert!(matches!(&round_trips[..], [(NodeId(2), it)] if !it.is_zero()));
    let stranger = PeerFrame::RosterDigest(1);
    assert!(!one.tell(move |net| net.send(NodeId(9), &stranger)).await);
    let counts = two.counts().await;
    assert_eq!((counts.frames_received, counts.frames_sent), (500, 1));
    assert_eq!((counts.datagrams_received, counts.sessions), (1, 1));
}

#[tokio::test]
async fn a_node_that_nobody_has_named_is_dialled_back() {
    let authority = Authority::create("test").unwrap();
    let mut one = TestNode::start(&authority, 1);
    let mut two = TestNode::start(&authority, 2);
    two.knows(&[&one]).await;
    assert_eq!(one.heard().await, "connected 2");
    assert_eq!(two.heard().await, "connected 1");
    // It is forgotten when it goes.
    two.stop().await;
    assert_eq!(one.heard().await, "lost 2");
}

#[tokio::test]
async fn a_node_finds_others_by_seeds_of_which_one_is_itself_and_one_is_nobody() {
    let authority = Authority::create("test").unwrap();
    let mut one = TestNode::start(&authority, 1);
    let mut two = TestNode::start(&authority, 2);
    let port = one.address.host_and_port().1;
    let by_name = format!("localhost:{port}");
    let seeds = vec![
        free_address(),
        two.address.clone(),
        Address::new(&by_name).unwrap(),
    ];
    two.tell(|net| net.set_seeds(seeds)).await;
    assert_eq!(two.heard().await, "connected 1");
    assert_eq!(one.heard().await, "connected 2");
    assert_eq!(two.tell(|net| net.connected().count()).await, 1);
    assert_eq!(two.counts().await.wrong_identity, 0);
}

#[tokio::test]
async fn a_restarted_node_begins_a_new_session_under_its_new_life() {
    let authority = Authority::create("test").unwrap();
    let (mut one, two) = couple(&authority).await;
    let address = two.address.clone();
    two.stop().await;
    assert_eq!(one.heard().await, "lost 2");
    let frame = PeerFrame::RosterDigest(1);
    assert!(!one.tell(move |net| net.send(NodeId(2), &frame)).await);

    let mut two = TestNode::start_at(&authority, (2, 2), &address, Roster::default());
    let PeerEvent::Connected { peer, .. } = one.event().await else {
        panic!("not connected");
    };
    assert_eq!(peer, two.identity());
    // One has dialled it; it has dialled back.
    assert_eq!(two.heard().await, "connected 1");
    let frame = PeerFrame::RosterDigest(2);
    assert!(one.tell(move |net| net.send(NodeId(2), &frame)).await);
    assert_eq!(two.heard().await, "1 says RosterDigest(2)");
}

#[tokio::test]
async fn a_node_that_has_moved_is_followed() {
    let authority = Authority::create("test").unwrap();
    let (mut one, two) = couple(&authority).await;
    two.stop().await;
    assert_eq!(one.heard().await, "lost 2");
    let elsewhere = free_address();
    let mut two = TestNode::start_at(&authority, (2, 2), &elsewhere, Roster::default());
    two.knows(&[&one]).await;
    assert_eq!(one.heard().await, "connected 2");
    assert_eq!(two.heard().await, "connected 1");
}

#[tokio::test]
async fn a_node_that_is_no_target_any_more_is_lost() {
    let authority = Authority::create("test").unwrap();
    let (mut one, mut two) = couple(&authority).await;
    two.knows(&[]).await;
    assert_eq!(two.heard().await, "lost 1");
    assert_eq!(one.heard().await, "lost 2");
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_connected_anew_and_its_queue_is_gone() {
    let authority = Authority::create("test").unwrap();
    let (mut one, mut two) = couple(&authority).await;
    let groups = vec![u64::MAX; 64];
    let long = PeerFrame::Ownership(WireMessage::Digest { groups });
    let long = &long;
    let mut sent = 0;
    loop {
        let frame = long.clone();
        if !one.tell(move |net| net.send(NodeId(2), &frame)).await {
            break;
        }
        sent += 1;
        assert!(sent < 100_000, "the queue has no bound");
        if sent % 32 == 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(one.counts().await.queues_full, 1);
    // It reads again: what it has been sent, then the end of the session, then a new one.
    let listening = async {
        let mut heard = 0;
        while two.heard().await != "lost 1" {
            heard += 1;
        }
        assert!(heard < sent);
        assert_eq!(two.heard().await, "connected 1");
        let next = two.heard().await;
        assert_eq!(next, "1 says RosterDigest(1)");
    };
    let talking = async {
        assert_eq!(one.heard().await, "lost 2");
        assert_eq!(one.heard().await, "connected 2");
        let frame = PeerFrame::RosterDigest(1);
        assert!(one.tell(move |net| net.send(NodeId(2), &frame)).await);
    };
    tokio::join!(listening, talking);
}

#[tokio::test]
async fn three_nodes_that_start_at_once_are_all_in_session() {
    let authority = Authority::create("test").unwrap();
    let mut nodes = [1, 2, 3].map(|id| TestNode::start(&authority, id));
    for n in 0..3 {
        let (before, rest) = nodes.split_at_mut(n);
        let (node, after) = rest.split_first_mut().unwrap();
        let others: Vec<&TestNode> = before.iter().chain(after.iter()).collect();
        node.knows(&others).await;
    }
    let [one, two, three] = &mut nodes;
    for node in [one, two, three] {
        let mut heard = [node.heard().await, node.heard().await];
        heard.sort();
        let others = [1, 2, 3].into_iter().filter(|id| NodeId(*id) != node.id);
        let expected: Vec<_> = others.map(|id| format!("connected {id}")).collect();
        assert_eq!(heard.as_slice(), expected);
    }
}

#[tokio::test]
async fn a_node_that_comes_to_ask_is_served_like_a_client() {
    let authority = Authority::create("test").unwrap();
    let one = TestNode::start(&authority, 1);
    let two = Own {
        cluster: CLUSTER,
        identity: Identity::new(NodeId(2), free_address(), BootCounter(1)),
        in_flight_max: 1,
    };
    let config = peer_config(&credentials(&authority, Role::Node, &name(2))).unwrap();
    let to = one.address.as_str().parse().unwrap();
    let endpoint = client_endpoint(to).unwrap();
    let connecting = endpoint.connect_with(config, to, "127.0.0.1").unwrap();
    let (mut send, mut receive) = connecting.await.unwrap().open_bi().await.unwrap();
    let request = Request {
        id: 5,
        deadline_ms: 60_000,
        body: RequestBody::Check(vec![Ask {
            target: Target {
                policy: PolicyRef::Named("free"),
                key: "k",
            },
            cost: 1,
        }]),
    };
    let mut bytes = two.requests_hello();
    encode(&request, &mut bytes).unwrap();
    send.write_all(&bytes).await.unwrap();
    let mut buffer = FrameBuffer::default();
    let mut frames = Vec::new();
    while frames.len() < 2 {
        let piece = receive.read_chunk(usize::MAX, true).await.unwrap().unwrap();
        buffer.push(&piece.bytes);
        while let Some(frame) = buffer.take().unwrap() {
            frames.push(frame.to_vec());
        }
    }
    let welcome = requests_answer(&frames[0]).unwrap().unwrap();
    assert_eq!((welcome.node, welcome.in_flight_max), (1, 100));
    assert_eq!(welcome.key_secret, [0; 16]);
    let response: Response = decode(&frames[1]).unwrap();
    assert_eq!(response.id, 5);
    assert!(matches!(response.body, ResponseBody::Decisions(answers) if answers[0].is_ok()));

    let refusal = PeerRefusal::OtherCluster { cluster: 77 };
    let mut answer = Vec::new();
    encode(&PeerAnswer::Err(refusal), &mut answer).unwrap();
    let told = requests_answer(&answer[4..]).unwrap().unwrap_err();
    assert!(told.to_string().contains("[cluster] join"), "{told}");
}
