use std::sync::Arc;

use proptest::prelude::*;

use super::rule::*;
use super::versioned::*;

/// The set that allows `permits` a minute, as this version.
fn set(version: u64, permits: u64) -> VersionedSet {
    let text = format!("policy.api.limit = \"{permits}/min\"");
    VersionedSet::parse(version, "f", &text).unwrap()
}

/// What effects say, in short: S store, E enforce, A spread to all, D the file differs, F it is the
/// same, B it is broken; with the version of a set.
fn short(effects: &[PolicyEffect]) -> String {
    let one = |effect: &PolicyEffect| match effect {
        PolicyEffect::Store(set) => format!("S{}", set.version),
        PolicyEffect::Enforce(_) => "E".to_owned(),
        PolicyEffect::Spread(set) => format!("A{}", set.version),
        PolicyEffect::TellFile(FileState::Differs) => "D".to_owned(),
        PolicyEffect::TellFile(FileState::Same) => "F".to_owned(),
        PolicyEffect::TellFile(FileState::Broken(_)) => "B".to_owned(),
    };
    effects.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_bytes_of_a_set_stay_as_they_are() {
    let set = VersionedSet::parse(3, "f", "policy.a.limit = \"5/min\"\n").unwrap();
    let bytes = set.encode();
    let golden: Vec<u8> = (0..GOLDEN.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&GOLDEN[at..at + 2], 16).unwrap())
        .collect();
    assert_eq!(bytes, golden);
    assert_eq!(VersionedSet::decode(&bytes).unwrap(), set);
}

const GOLDEN: &str = "ea1fc642010300000000000000218d04c42ab8e2e0190000007\
                      06f6c6963792e612e6c696d6974203d2022352f6d696e220a";

#[test]
fn damaged_bytes_are_no_set() {
    let bytes = set(7, 100).encode();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(VersionedSet::decode(&damaged).is_err(), "byte {at}");
        assert!(VersionedSet::decode(&bytes[..at]).is_err(), "{at} bytes");
    }
    let with_crc = |body: &[u8]| [&crc32fast::hash(body).to_le_bytes(), body].concat();
    let mut later = bytes[4..].to_vec();
    later[0] = 2;
    let found = VersionedSet::decode(&with_crc(&later));
    assert!(
        matches!(found, Err(BadPolicySet::Format { found: 2 })),
        "{found:?}"
    );
    let unknown = VersionedSet {
        text: "policy.a.limits = 5".into(),
        ..set(1, 1)
    };
    let found = VersionedSet::decode(&unknown.encode());
    assert!(matches!(found, Err(BadPolicySet::Text(_))), "{found:?}");
}

#[test]
fn the_hash_is_of_what_a_set_means_and_not_of_how_it_is_written() {
    let hash = |text: &str| VersionedSet::parse(1, "f", text).unwrap().hash;
    let plain = hash("policy.a.limit = \"60/min\"");
    for same in [
        "# a comment\n[policy.a]\nlimits = [\"60/1min\"]",
        "[policy.a]\nshadow = false\nlimit = \"60/60s\"",
    ] {
        assert_eq!(hash(same), plain, "{same}");
    }
    for other in [
        "policy.a.limit = \"61/min\"",
        "policy.b.limit = \"60/min\"",
        "policy.a = { limit = \"60/min\", durability = \"none\" }",
        "max_policies = 5\npolicy.a.limit = \"60/min\"",
        "policy.a.limit = \"60/min\"\n[[envoy]]\ndomain = \"edge\"",
    ] {
        assert_ne!(hash(other), plain, "{other}");
    }
}

#[test]
fn a_node_starts_with_its_file_if_it_is_alone_and_with_the_stored_set_if_not() {
    use Peers::{Alone, Several};
    for (peers, stored, file, effects, version, permits) in [
        // The first start of a cluster, and of a node that joins one.
        (Alone, None, 10, "S1 E A1", 1, 10),
        (Several, None, 10, "E", 0, 10),
        // A restart: the file as it was, and changed meanwhile.
        (Alone, Some((5, 10)), 10, "E", 5, 10),
        (Several, Some((5, 10)), 10, "E", 5, 10),
        (Alone, Some((5, 10)), 20, "S6 E A6", 6, 20),
        (Several, Some((5, 10)), 20, "E D", 5, 10),
    ] {
        let stored = stored.map(|(version, permits)| set(version, permits));
        let (sets, done) = PolicySets::start(peers, stored.clone(), set(0, file));
        let case = format!("{peers:?}, {stored:?}, {file}");
        assert_eq!(short(&done), effects, "{case}");
        assert_eq!(sets.in_force(), &set(version, permits), "{case}");
    }
}

#[test]
fn a_changed_file_is_followed_by_a_node_that_is_alone_and_only_reported_by_others() {
    let (mut alone, _) = PolicySets::start(Peers::Alone, None, set(0, 10));
    assert_eq!(short(&alone.file_changed(set(0, 20))), "S2 E A2");
    assert_eq!(short(&alone.file_changed(set(0, 20))), "");
    assert_eq!(alone.file_state(), FileState::Same);

    let (mut one, _) = PolicySets::start(Peers::Several, Some(set(2, 10)), set(0, 10));
    assert_eq!(short(&one.file_changed(set(0, 20))), "D");
    assert_eq!(short(&one.file_changed(set(0, 30))), "", "told once");
    assert_eq!(
        short(&one.peers(Peers::Alone)),
        "",
        "leaving changes no policy"
    );
    assert_eq!(one.in_force(), &set(2, 10));
    assert_eq!(short(&one.file_changed(set(0, 10))), "F");
    assert_eq!(short(&one.file_changed(set(0, 20))), "S3 E A3");
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing_until_it_can() {
    for (peers, mended) in [(Peers::Alone, "S5 E A5 F"), (Peers::Several, "D")] {
        let (mut sets, done) = PolicySets::start_without_file(peers, set(4, 10), "line 2".into());
        assert_eq!(short(&done), "E B");
        assert_eq!(sets.in_force(), &set(4, 10));
        assert_eq!(sets.file_state(), FileState::Broken("line 2".into()));
        assert_eq!(short(&sets.file_broken("line 2".into())), "", "told once");
        assert_eq!(short(&sets.file_broken("line 3".into())), "B");
        assert_eq!(short(&sets.file_changed(set(0, 20))), mended);
        assert_eq!(short(&sets.file_broken("line 1".into())), "B");
        assert_eq!(short(&sets.peers(Peers::Alone)), "");
    }
    // What a node began with while it joined holds if all others leave.
    let (mut joins, _) = PolicySets::start(Peers::Several, None, set(0, 10));
    assert_eq!(short(&joins.file_broken("line 2".into())), "B");
    assert_eq!(short(&joins.peers(Peers::Alone)), "S1 E A1");
    assert_eq!(joins.in_force(), &set(1, 10));
}

#[test]
fn a_text_is_applied_as_the_next_version_or_not_at_all() {
    let (mut sets, _) = PolicySets::start(Peers::Several, Some(set(4, 10)), set(0, 10));
    let error = sets.apply("policy.api.limt = 3").unwrap_err();
    assert!(
        error.to_string().contains("did you mean `limit`?"),
        "{error}"
    );
    let same = sets
        .apply("[policy.api] # as it is\nlimit = \"10/min\"")
        .unwrap();
    assert_eq!((short(&same).as_str(), sets.in_force().version), ("", 4));
    let applied = sets.apply("policy.api.limit = \"20/min\"").unwrap();
    assert_eq!(short(&applied), "S5 E A5 D");
    assert_eq!(short(&sets.file_changed(set(0, 20))), "F");

    let long = format!("#{}", " ".repeat(SPREAD_BYTES_MAX));
    let error = sets.apply(&long).unwrap_err();
    assert!(matches!(error, ApplyError::TooLong { .. }), "{error}");
}

#[test]
fn a_node_that_joins_takes_the_clusters_set_and_gives_none() {
    let (mut sets, _) = PolicySets::start(Peers::Several, None, set(0, 10));
    assert!(matches!(sets.apply("").unwrap_err(), ApplyError::NotJoined));
    assert!(sets.lacks(1, 1));
    assert_eq!(short(&sets.received(set(1, 20))), "S1 E A1 D");
    let (mut left, _) = PolicySets::start(Peers::Several, None, set(0, 10));
    assert_eq!(short(&left.file_changed(set(0, 30))), "D");
    assert_eq!(short(&left.peers(Peers::Alone)), "S1 E A1");
    assert_eq!(left.in_force(), &set(1, 30));
}

#[test]
fn of_two_sets_the_later_wins_and_of_one_version_the_higher_hash() {
    let (low, high) = match (set(3, 10), set(3, 20)) {
        (a, b) if a.hash < b.hash => (a, b),
        (a, b) => (b, a),
    };
    let start = |stored: &VersionedSet| {
        PolicySets::start(Peers::Several, Some(stored.clone()), stored.clone()).0
    };
    let mut sets = start(&low);
    assert!(sets.lacks(high.version, high.hash) && !sets.lacks(low.version, low.hash));
    assert_eq!(short(&sets.received(high.clone())), "S3 E A3 D");
    assert_eq!(short(&sets.received(low.clone())), "", "never back");
    assert_eq!(short(&sets.received(high.clone())), "", "once");
    assert_eq!(short(&start(&high).received(low.at(2))), "");
    assert_eq!(short(&start(&high).received(low.at(4))), "S4 E A4 D");
    // Of the same meaning: kept, since all must have the same text, but not enforced again.
    let commented = VersionedSet {
        text: format!("{} # z", high.text).into(),
        ..high.clone()
    };
    assert_eq!(short(&start(&high).received(commented)), "S3 A3");
}

#[derive(Debug, Clone)]
enum Step {
    Apply(usize, u64),
    File(usize, u64),
    Tell(usize, usize),
    Restart(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0..3_usize;
    prop_oneof![
        (node.clone(), 1..4_u64).prop_map(|(node, permits)| Step::Apply(node, permits)),
        (node.clone(), 1..4_u64).prop_map(|(node, permits)| Step::File(node, permits)),
        (node.clone(), node.clone()).prop_map(|(from, to)| Step::Tell(from, to)),
        node.prop_map(Step::Restart),
    ]
}

/// A node as its edge would run it: what is stored, and what decides.
struct Run {
    sets: PolicySets,
    stored: VersionedSet,
    enforced: Arc<crate::limiter::policy::PolicySet>,
    file: u64,
}

impl Run {
    fn carry_out(&mut self, effects: Vec<PolicyEffect>) {
        for effect in effects {
            match effect {
                PolicyEffect::Store(set) => {
                    self.stored = VersionedSet::decode(&set.encode()).unwrap();
                }
                PolicyEffect::Enforce(set) => self.enforced = set,
                PolicyEffect::Spread(_) | PolicyEffect::TellFile(_) => {}
            }
        }
    }

    fn restart(&mut self) {
        let file = set(0, self.file);
        let (sets, effects) = PolicySets::start(Peers::Several, Some(self.stored.clone()), file);
        self.sets = sets;
        self.carry_out(effects);
    }
}

proptest! {
    #[test]
    fn all_nodes_come_to_the_same_set_whatever_happens(steps in prop::collection::vec(step(), 0..40)) {
        let born = || {
            let (sets, _) = PolicySets::start(Peers::Several, Some(set(1, 1)), set(0, 1));
            Run { sets, stored: set(1, 1), enforced: set(1, 1).set, file: 1 }
        };
        let mut nodes = [born(), born(), born()];
        for step in steps {
            let before: Vec<_> = nodes.iter().map(|it| it.sets.in_force().clone()).collect();
            match step {
                Step::Apply(node, permits) => {
                    let text = format!("policy.api.limit = \"{permits}/min\"");
                    let effects = nodes[node].sets.apply(&text).unwrap();
                    nodes[node].carry_out(effects);
                }
                Step::File(node, permits) => {
                    nodes[node].file = permits;
                    let effects = nodes[node].sets.file_changed(set(0, permits));
                    nodes[node].carry_out(effects);
                }
                Step::Tell(from, to) => {
                    let told = nodes[from].sets.in_force().clone();
                    let effects = nodes[to].sets.received(told);
                    nodes[to].carry_out(effects);
                }
                Step::Restart(node) => nodes[node].restart(),
            }
            for (node, before) in nodes.iter().zip(before) {
                prop_assert!(node.sets.in_force().rank(&before).is_ge());
                prop_assert_eq!(&node.stored, node.sets.in_force());
                prop_assert_eq!(&node.enforced, &node.sets.in_force().set);
            }
        }
        let all: Vec<_> = nodes.iter().map(|it| it.sets.in_force().clone()).collect();
        for node in &mut nodes {
            for told in &all {
                let effects = node.sets.received(told.clone());
                node.carry_out(effects);
            }
        }
        prop_assert_eq!(nodes[0].sets.in_force(), nodes[1].sets.in_force());
        prop_assert_eq!(nodes[1].sets.in_force(), nodes[2].sets.in_force());
    }
}
