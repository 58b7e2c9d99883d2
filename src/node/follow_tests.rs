use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::AfterPowerLoss;
use crate::limiter::commit_record::{cut, groups};
use crate::limiter::policy::{Durability, Limit, Policy, PolicySet};
use crate::limiter::table::ServedCopy;
use crate::node::batch::OnCold;
use crate::node::peers::ClusterIdentity;
use crate::node::slots::{Installation, NewState};
use crate::node::start::{Birth, EngineOptions};
use crate::node::upkeep::write_checkpoint;
use crate::protocol::client::{Ask, PolicyRef, Target};
use crate::server::Mode;

fn policies() -> PolicySet {
    let mut policy = Policy::new("3/hour".parse::<Limit>().unwrap());
    policy.durability = Durability::Process;
    let mut set = PolicySet::default();
    set.policies.insert("api".to_owned(), policy);
    set
}

pub(in crate::node) fn open(dir: &Path, birth: Birth) -> Arc<Engine> {
    let options = EngineOptions {
        data_dir: Some(dir.to_owned()),
        create: true,
        keys_max: 1000,
        bytes_max: u64::MAX,
        sync_interval: Duration::from_secs(1),
        max_clock_error: None,
        after_power_loss: AfterPowerLoss::Accept,
        in_flight_max: 0,
        birth,
    };
    Engine::open(&options, &policies()).unwrap()
}

/// An owner of all slots and a replica that follows, of one cluster, with what the one commits.
#[expect(
    clippy::type_complexity,
    reason = "what `Engine::take_in` returns, told by slots"
)]
/// Has a replica take in whole frames; what was refused, of which slot and position.
fn take_in<'e>(
    replica: &'e Engine,
    owner: NodeId,
    frames: &[&[u8]],
) -> (
    Vec<(Slot, Position, Refused)>,
    impl Future<Output = Result<u64, StorageFailed>> + use<'e>,
) {
    let groups = frames.iter().flat_map(|frame| cut(owner, frame));
    let groups: Vec<_> = groups.map(Result::unwrap).collect();
    let (refused, appended) = replica.take_in(owner, &groups);
    let refused = refused.into_iter();
    let told = refused.map(|(place, why)| (groups[place].slot, groups[place].at, why));
    (told.collect(), appended)
}

struct Pair {
    dirs: [tempfile::TempDir; 2],
    owner: Arc<Engine>,
    replica: Arc<Engine>,
    epoch: Epoch,
}

fn all() -> impl Iterator<Item = Slot> {
    Slot::all()
}

fn joins(owner: &Engine) -> Birth {
    Birth::Joins {
        node: NodeId(77),
        cluster: ClusterIdentity {
            cluster: owner.about.cluster,
            key_secret: owner.about.key_secret,
            slot_count: crate::types::SLOT_COUNT,
        },
    }
}

fn install(engine: &Engine, epoch: Epoch, n: u64, state: impl Fn() -> NewState) {
    let installations = all().map(|slot| Installation {
        slot,
        n,
        register: Vec::new(),
        clock: engine.table.slot_now(slot, engine.now()),
        state: state(),
    });
    engine.install(epoch, installations.collect()).unwrap();
}

impl Pair {
    fn new() -> Self {
        let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let owner = open(dirs[0].path(), Birth::Founder);
        let replica = open(dirs[1].path(), joins(&owner));
        let epoch = Epoch {
            counter: 5,
            node: owner.about.node,
        };
        install(&owner, epoch, 0, || NewState::Own);
        let slots: Vec<_> = all().map(|slot| (slot, epoch)).collect();
        owner.serve(&slots).unwrap();
        install(&replica, epoch, 0, || NewState::Rows(Vec::new()));
        replica.follow(&slots).unwrap();
        Self {
            dirs,
            owner,
            replica,
            epoch,
        }
    }

    /// Grants a permit of each key; the groups of the commit.
    fn grant(&self, keys: std::ops::Range<usize>) -> Vec<u8> {
        let keys: Vec<String> = keys.map(|n| format!("key-{n}")).collect();
        let asks = keys.iter().map(|key| Ask {
            target: Target {
                policy: PolicyRef::Named("api"),
                key,
            },
            cost: 1,
        });
        let asks: Vec<_> = asks.collect();
        let mut answers = Vec::new();
        self.owner
            .batch(&asks, (Mode::Count, OnCold::Read), &mut answers);
        assert!(
            answers
                .iter()
                .all(|it| it.decision.as_ref().unwrap().allowed)
        );
        let mut record = Vec::new();
        self.owner.table.take_commit(self.owner.now(), &mut record);
        let (_, groups) = groups(&record).unwrap();
        let raw = groups.map(|group| group.unwrap().raw().to_vec());
        raw.collect::<Vec<_>>().concat()
    }

    /// Restarts the replica: after a crash, or cleanly.
    async fn restart(&mut self, clean: bool) {
        if clean {
            self.replica.close().await.unwrap();
        }
        let birth = joins(&self.owner);
        // The directory is free once the old engine is gone.
        let spare = tempfile::tempdir().unwrap();
        self.replica = open(spare.path(), birth);
        self.replica = open(self.dirs[1].path(), birth);
    }

    fn positions(&self) -> Vec<(Position, SlotTime)> {
        let now = SlotTime::from_ms(u64::MAX / 4);
        let table = &self.replica.table;
        all()
            .map(|slot| (table.position(slot), table.slot_now(slot, now)))
            .collect()
    }

    fn owner_positions(&self) -> Vec<Position> {
        all().map(|slot| self.owner.table.position(slot)).collect()
    }
}

#[tokio::test]
async fn positions_and_clocks_of_followed_slots_survive_checkpoints_and_restarts() {
    for (checkpoints, clean) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut pair = Pair::new();
        for _ in 0..3 {
            let frame = pair.grant(0..40);
            let (refused, appended) = take_in(&pair.replica, pair.epoch.node, &[&frame]);
            assert!(refused.is_empty());
            appended.await.unwrap();
            if checkpoints {
                pair.replica.committer.flush().await.unwrap();
                write_checkpoint(&pair.replica).unwrap();
            }
        }
        let told = SlotTime::from_ms(99_000_000);
        pair.replica
            .table
            .note_clock(Slot::new(9).unwrap(), pair.epoch, told);
        let before = pair.positions();
        assert!(before.iter().any(|(at, _)| at.n == 3));
        assert!(before.iter().map(|it| it.0).eq(pair.owner_positions()));
        pair.restart(clean).await;
        let after = pair.positions();
        for slot in all() {
            let (before, after) = (before[slot.index()], after[slot.index()]);
            assert_eq!(after.0, before.0, "{checkpoints} {clean} {slot}");
            if clean || slot.number() != 9 {
                assert_eq!(after.1, before.1, "{checkpoints} {clean} {slot}");
            }
            assert!(!pair.replica.table.is_followed(slot));
        }
        let counts = pair.replica.table.counters().keys;
        assert_eq!(counts, 40);
        let slots: Vec<_> = all().map(|slot| (slot, pair.epoch)).collect();
        pair.replica.follow(&slots).unwrap();
        let frame = pair.grant(40..50);
        let (refused, appended) = take_in(&pair.replica, pair.epoch.node, &[&frame]);
        assert!(refused.is_empty());
        appended.await.unwrap();
    }
}

#[tokio::test]
async fn an_owners_own_position_survives_a_checkpoint() {
    let pair = Pair::new();
    for _ in 0..3 {
        let asks = [Ask {
            target: Target {
                policy: PolicyRef::Named("api"),
                key: "one",
            },
            cost: 1,
        }];
        pair.owner
            .batch(&asks, (Mode::Count, OnCold::Read), &mut Vec::new());
        pair.owner.committer.flush().await.unwrap();
    }
    let slot = pair.owner.slot_of("one");
    assert_eq!(pair.owner.table.position(slot).n, 3);
    write_checkpoint(&pair.owner).unwrap();
    pair.owner.close().await.unwrap();
    let Pair { dirs, owner, .. } = pair;
    drop(owner);
    let owner = open(dirs[0].path(), Birth::Founder);
    let at = owner.table.position(slot);
    assert_eq!((at.epoch, at.n), (pair_epoch(&owner), 3));
}

fn pair_epoch(owner: &Engine) -> Epoch {
    Epoch {
        counter: 5,
        node: owner.about.node,
    }
}

#[tokio::test]
async fn groups_come_again_with_gaps_or_as_nonsense_and_only_the_next_is_taken_in() {
    let pair = Pair::new();
    let frames = [(); 3].map(|()| pair.grant(0..1));
    let slot = pair.owner.slot_of("key-0");
    let owner = pair.epoch.node;
    let replica = &pair.replica;
    let (refused, appended) = take_in(replica, owner, &[&frames[0], &frames[0], &frames[2]]);
    let at = |n| Position {
        epoch: pair.epoch,
        n,
    };
    let gap = Refused::Gap;
    assert_eq!(refused, [(slot, at(3), gap)]);
    let number = appended.await.unwrap();
    assert_eq!(replica.table.positions(u64::MAX)[slot.index()].1, at(1));
    let (refused, appended) = take_in(replica, owner, &[&frames[0]]);
    assert!(refused.is_empty());
    assert!(appended.await.unwrap() >= number, "acknowledged again");
    let (refused, _) = take_in(replica, NodeId(3), &[&frames[1]]);
    assert!(matches!(refused[..], [(_, _, Refused::Closed)]));
    let (refused, appended) = take_in(replica, owner, &[&frames[1]]);
    assert!(refused.is_empty());
    let number = appended.await.unwrap();
    replica
        .committer
        .kept(number, Durability::Fsync)
        .await
        .unwrap();
    assert!(replica.committer.synced() >= number);
    assert_eq!(replica.table.position(slot), at(2));
}

#[tokio::test]
async fn a_known_group_is_acknowledged_only_once_it_is_appended() {
    let pair = Pair::new();
    let frame = pair.grant(0..1);
    let slot = pair.owner.slot_of("key-0");
    let (_, appended) = take_in(&pair.replica, pair.epoch.node, &[&frame]);
    drop(appended);
    let written = || pair.replica.table.positions(u64::MAX)[slot.index()].1.n;
    assert_eq!(written(), 0);
    let (refused, appended) = take_in(&pair.replica, pair.epoch.node, &[&frame]);
    assert!(refused.is_empty());
    appended.await.unwrap();
    assert_eq!(written(), 1);
}

#[tokio::test]
async fn a_replica_that_has_it_all_becomes_the_new_reigns_durably_and_others_do_not() {
    let mut pair = Pair::new();
    let frame = pair.grant(0..40);
    let (_, appended) = take_in(&pair.replica, pair.epoch.node, &[&frame]);
    appended.await.unwrap();
    let (first, second) = (pair.owner.slot_of("key-0"), Slot::new(4000).unwrap());
    let next = Epoch {
        counter: 9,
        node: NodeId(123),
    };
    let clock = SlotTime::from_ms(4_000_000);
    let at = pair.replica.table.position(first);
    let wrong = Position { n: at.n + 7, ..at };
    let became = pair
        .replica
        .become_epoch(next, &[(first, at, clock), (second, wrong, clock)])
        .unwrap();
    assert!(became.contains(first) && became.len() == 1);
    let begun = Position { epoch: next, n: 0 };
    let keys = pair.replica.table.counters().keys;
    let registers = pair.replica.store.registers().unwrap();
    pair.restart(false).await;
    let table = &pair.replica.table;
    assert_eq!(table.position(first), begun);
    assert_eq!(table.slot_now(first, pair.replica.now()), clock);
    assert_ne!(table.position(second).epoch, next);
    assert_eq!(table.counters().keys, keys, "with all of its counts");
    assert_eq!(pair.replica.store.registers().unwrap(), registers);
    pair.replica.follow(&[(first, next)]).unwrap();
}

#[tokio::test]
async fn a_copy_at_a_position_goes_on_from_there_after_a_restart() {
    let mut pair = Pair::new();
    let frames = [(); 2].map(|()| pair.grant(0..1));
    let slot = pair.owner.slot_of("key-0");
    let owner = pair.epoch.node;
    let (_, appended) = take_in(&pair.replica, owner, &[&frames[0]]);
    appended.await.unwrap();
    // A copy of all that the owner has at its second commit, and a little more.
    let mut copy = ServedCopy::new([slot].into_iter().collect());
    let (mut rows, stored) = (Vec::new(), pair.owner.stored_rows());
    while pair
        .owner
        .table
        .copy_served(&mut copy, &stored, &mut rows)
        .unwrap()
    {}
    let installation = Installation {
        slot,
        n: 2,
        register: Vec::new(),
        clock: SlotTime::from_ms(1234),
        state: NewState::Rows(rows),
    };
    pair.replica
        .install(pair.epoch, vec![installation])
        .unwrap();
    pair.restart(false).await;
    // The first commit is in the journal still, and part of the copy.
    let at = pair.replica.table.position(slot);
    assert_eq!((at.epoch, at.n), (pair.epoch, 2));
    assert_eq!(
        pair.replica
            .table
            .slot_now(slot, pair.replica.now())
            .as_ms(),
        1234
    );
    pair.replica.follow(&[(slot, pair.epoch)]).unwrap();
    let (refused, _) = take_in(&pair.replica, owner, &[&frames[1], &pair.grant(0..1)]);
    assert!(refused.is_empty());
    assert_eq!(pair.replica.table.position(slot).n, 3);
}
