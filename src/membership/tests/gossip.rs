//! SWIM over a simulated network: who is found dead, who is not, and what bad packets do.

use proptest::prelude::*;

use super::network::{Network, SECOND, identity};
use crate::membership::identity::{Address, Identity};
use crate::membership::swim::{
    Liveness, MEMBERS_MAX, Swim, SwimConfig, SwimEffect, SwimEvent, SwimRefusals,
};
use crate::types::{BootCounter, MonoTime, NodeId};

#[test]
fn nodes_that_announce_to_one_soon_know_each_other() {
    for (count, loss) in [(2, 0), (3, 300), (10, 50), (30, 50)] {
        let mut network = Network::new(count, loss, 7);
        assert!(network.run(15, Network::agrees), "{count} nodes");
    }
}

#[test]
fn a_killed_node_is_known_to_all_within_ten_seconds() {
    for (count, seeds) in [(2, 20), (3, 20), (5, 20), (10, 20), (30, 5)] {
        for seed in 1..=seeds {
            let mut network = Network::new(count, 50, seed);
            assert!(network.run(60, Network::agrees));
            network.run(2, |_| false);
            network.kill(count);
            assert!(
                network.run(10, Network::agrees),
                "{count} nodes, seed {seed}"
            );
        }
    }
}

#[test]
fn a_lost_connection_shortens_the_wait_and_accuses_nobody_wrongly() {
    let mut network = Network::new(3, 0, 5);
    assert!(network.run(15, Network::agrees));
    // The node lives: it hears of the suspicion, and says so.
    network.step(NodeId(1), SwimEvent::Doubt { node: NodeId(3) });
    assert_eq!(network.node(1).liveness(NodeId(3)), Some(Liveness::Suspect));
    assert!(network.run(3, |it| {
        it.node(1).liveness(NodeId(3)) == Some(Liveness::Up)
    }));
    network.run(20, |_| false);
    assert_eq!(network.downs, []);
    // It does not.
    network.kill(3);
    network.step(NodeId(1), SwimEvent::Doubt { node: NodeId(3) });
    let told = |it: &Network| it.node(2).liveness(NodeId(3)) == Some(Liveness::Down);
    assert!(network.run(4, told));
}

#[test]
fn a_node_that_connects_again_in_time_is_not_declared_down() {
    let pairs = [(NodeId(1), NodeId(2)), (NodeId(2), NodeId(1))];
    for seed in 1..=10 {
        let mut network = Network::new(2, 0, seed);
        assert!(network.run(15, Network::agrees));
        network.cut.extend(pairs);
        for (node, lost) in pairs {
            network.step(node, SwimEvent::Doubt { node: lost });
        }
        // Longer than news are passed on, so that neither hears what the other thinks.
        assert!(!network.run(2, |it| !it.downs.is_empty()));
        network.cut.clear();
        for (node, to) in pairs {
            let to = identity(to.0, 1);
            network.step(node, SwimEvent::Announce { to });
        }
        network.run(20, |_| false);
        assert_eq!(network.downs, [], "seed {seed}");
        for (node, other) in pairs {
            let seen = network.node(node.0).liveness(other);
            assert_eq!(seen, Some(Liveness::Up), "seed {seed}");
            assert_eq!(network.node(node.0).identity().renewal, 0);
        }
    }
}

#[test]
fn no_healthy_node_is_declared_down_while_one_message_in_twenty_is_lost() {
    for seed in 1..=3 {
        let mut network = Network::new(10, 50, seed);
        assert!(network.run(30, Network::agrees));
        network.run(600, |_| false);
        assert_eq!(network.downs, [], "seed {seed}");
        assert!(network.agrees());
        // It was close: some were suspected, and said in time that they live.
        assert!(network.suspicions > 0, "seed {seed}");
        for node in 1..=10 {
            assert_eq!(network.node(node).identity().renewal, 0);
        }
    }
}

#[test]
fn a_node_that_stood_still_accuses_nobody_and_comes_back() {
    for seed in 1..=10 {
        let mut network = Network::new(5, 0, seed);
        assert!(network.run(15, Network::agrees));
        network.run(5, |_| false);
        network.pause(5);
        network.run(20, |_| false);
        assert_eq!(network.living(1), [2, 3, 4]);
        let before = network.downs.len();
        network.resume(5);
        assert!(network.run(20, Network::agrees), "seed {seed}");
        let accused: Vec<_> = network.downs[before..].iter().map(|it| it.2).collect();
        assert!(
            accused.iter().all(|it| *it == NodeId(5)),
            "seed {seed}: {accused:?}"
        );
        assert!(network.node(5).identity().renewal > 0);
    }
}

#[test]
fn a_network_that_was_cut_in_two_is_whole_again() {
    let mut network = Network::new(6, 20, 11);
    assert!(network.run(15, Network::agrees));
    for a in 1..=3 {
        for b in 4..=6 {
            network
                .cut
                .extend([(NodeId(a), NodeId(b)), (NodeId(b), NodeId(a))]);
        }
    }
    network.run(60, |_| false);
    assert_eq!(network.living(1), [2, 3]);
    assert_eq!(network.living(6), [4, 5]);
    network.cut.clear();
    assert!(network.run(30, Network::agrees));
}

#[test]
fn a_restarted_node_replaces_itself_and_one_that_leaves_is_down_at_once() {
    let mut network = Network::new(4, 0, 3);
    assert!(network.run(15, Network::agrees));
    network.kill(4);
    network.start(4, 2);
    network.step(NodeId(4), SwimEvent::Announce { to: identity(2, 1) });
    let fresh = |it: &Network| {
        let known = |n| it.node(n).members().any(|(id, _)| *id == identity(4, 2));
        (1..=3).all(known) && it.agrees()
    };
    assert!(network.run(5, fresh));
    network.step(NodeId(4), SwimEvent::Leave);
    network.kill(4);
    assert!(network.run(2, Network::agrees));
}

#[test]
fn a_node_says_when_it_is_alone() {
    let mut one = Swim::new(identity(1, 1), SwimConfig::default(), 1);
    let mut two = Swim::new(identity(2, 1), SwimConfig::default(), 2);
    let now = MonoTime::from_ns(SECOND);
    let hello = two.step(now, SwimEvent::Announce { to: identity(1, 1) });
    let [SwimEffect::Send { to, bytes }, SwimEffect::WakeAt(_)] = &hello[..] else {
        panic!("{hello:?}");
    };
    assert_eq!(*to, identity(1, 1));
    let from = NodeId(2);
    let bytes = bytes.clone();
    let answer = one.step(now, SwimEvent::Datagram { from, bytes });
    assert!(answer.contains(&SwimEffect::MemberUp {
        member: identity(2, 1)
    }));
    assert!(answer.contains(&SwimEffect::Joined));
    let gone = one.step(now, SwimEvent::Doubt { node: from });
    assert!(gone.contains(&SwimEffect::MemberSuspect {
        member: identity(2, 1)
    }));
    let mut told = Vec::new();
    let mut now = now;
    for _ in 0..200 {
        now = now.plus(std::time::Duration::from_millis(100));
        told.extend(one.step(now, SwimEvent::Tick));
    }
    assert!(told.contains(&SwimEffect::Alone));
    assert!(told.contains(&SwimEffect::MemberDown {
        member: identity(2, 1)
    }));
}

/// A node that knows of one other, and a packet of that other one to it.
fn acquainted() -> (Swim, Vec<u8>) {
    let mut one = Swim::new(identity(1, 1), SwimConfig::default(), 1);
    let mut two = Swim::new(identity(2, 1), SwimConfig::default(), 2);
    let now = MonoTime::from_ns(SECOND);
    let hello = two.step(now, SwimEvent::Announce { to: identity(1, 1) });
    let bytes = sent(&hello);
    let from = NodeId(2);
    let feed = one.step(now, SwimEvent::Datagram { from, bytes });
    let bytes = sent(&feed);
    let from = NodeId(1);
    two.step(now, SwimEvent::Datagram { from, bytes });
    let gossip = two.step(now, SwimEvent::Doubt { node: NodeId(1) });
    assert!(gossip.contains(&SwimEffect::MemberSuspect {
        member: identity(1, 1)
    }));
    let mut later = now;
    loop {
        later = later.plus(std::time::Duration::from_millis(100));
        let effects = two.step(later, SwimEvent::Tick);
        if effects
            .iter()
            .any(|it| matches!(it, SwimEffect::Send { .. }))
        {
            return (one, sent(&effects));
        }
    }
}

fn sent(effects: &[SwimEffect]) -> Vec<u8> {
    let send = effects.iter().find_map(|effect| {
        if let SwimEffect::Send { bytes, .. } = effect {
            Some(bytes.clone())
        } else {
            None
        }
    });
    send.unwrap()
}

fn members(swim: &Swim) -> Vec<(Identity, Liveness)> {
    swim.members().map(|(id, it)| (id.clone(), it)).collect()
}

#[test]
fn a_forged_sender_is_refused_and_counted() {
    let (mut swim, bytes) = acquainted();
    let before = members(&swim);
    let now = MonoTime::from_ns(2 * SECOND);
    let from = NodeId(3);
    let effects = swim.step(now, SwimEvent::Datagram { from, bytes });
    assert!(
        !effects
            .iter()
            .any(|it| matches!(it, SwimEffect::MemberUp { .. }))
    );
    assert_eq!(members(&swim), before);
    let refused = SwimRefusals {
        forged: 1,
        ..SwimRefusals::default()
    };
    assert_eq!(swim.refusals(), refused);
}

#[test]
fn who_speaks_of_too_many_nodes_is_refused() {
    let (mut swim, _) = acquainted();
    let now = MonoTime::from_ns(2 * SECOND);
    for node in 3..=600 {
        let address = Address::new("10.0.0.9:1").unwrap();
        let stranger = Identity::new(NodeId(node), address, BootCounter(1));
        let mut stranger = Swim::new(stranger, SwimConfig::default(), 1);
        let hello = stranger.step(now, SwimEvent::Announce { to: identity(1, 1) });
        let (from, bytes) = (NodeId(node), sent(&hello));
        swim.step(now, SwimEvent::Datagram { from, bytes });
    }
    assert_eq!(swim.members().count(), MEMBERS_MAX);
    assert_eq!(swim.refusals().crowded, 600 - 1 - 256);
}

#[test]
fn a_packet_keeps_its_bytes() {
    let mut two = Swim::new(identity(2, 1), SwimConfig::default(), 2);
    let hello = two.step(
        MonoTime::from_ns(SECOND),
        SwimEvent::Announce { to: identity(1, 3) },
    );
    let mut expected = vec![2, 13];
    expected.extend_from_slice(b"10.0.0.2:7400");
    expected.extend_from_slice(&[1, 0, 0, 1, 13]);
    expected.extend_from_slice(b"10.0.0.1:7400");
    expected.extend_from_slice(&[3, 0, 6]);
    assert_eq!(sent(&hello), expected);
}

proptest! {
    #[test]
    fn random_bytes_change_no_member(bytes in proptest::collection::vec(any::<u8>(), 0..1300)) {
        let (mut swim, _) = acquainted();
        let before = members(&swim);
        let now = MonoTime::from_ns(2 * SECOND);
        swim.step(now, SwimEvent::Datagram { from: NodeId(2), bytes });
        prop_assert_eq!(members(&swim), before);
        let refused = swim.refusals();
        prop_assert_eq!(refused.unreadable + refused.forged + refused.senseless, 1);
    }

    #[test]
    fn a_damaged_packet_is_no_panic(
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut swim, mut bytes) = acquainted();
        let at = at.index(bytes.len());
        bytes[at] = with;
        bytes.truncate(cut.index(bytes.len()) + 1);
        let now = MonoTime::from_ns(2 * SECOND);
        swim.step(now, SwimEvent::Datagram { from: NodeId(2), bytes });
        for n in 0..100 {
            swim.step(now.plus(std::time::Duration::from_millis(n * 100)), SwimEvent::Tick);
        }
        prop_assert!(swim.members().count() <= MEMBERS_MAX);
    }
}
