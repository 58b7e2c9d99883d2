//! The same with a node's own table and log.

use super::*;

/// A node that owns all slots; it keeps its counts in the directory, if any.
fn alone(data_dir: Option<&Path>) -> Arc<Engine> {
    let mut set = PolicySet::default();
    let mut policy = Policy::new("2/hour".parse::<Limit>().unwrap());
    policy.durability = Durability::Process;
    set.policies.insert("api".to_owned(), policy);
    let options = EngineOptions {
        data_dir: data_dir.map(Path::to_owned),
        create: true,
        keys_max: 100,
        bytes_max: 1 << 20,
        sync_interval: std::time::Duration::from_secs(1),
        max_clock_error: None,
        after_power_loss: AfterPowerLoss::Accept,
        in_flight_max: 0,
        birth: Birth::Alone,
    };
    Engine::open(&options, &set).unwrap()
}

#[test]
fn a_record_of_the_table_leaves_as_its_groups() {
    let dir = tempfile::tempdir().unwrap();
    let engine = alone(Some(dir.path()));
    for key in ["one", "two", "one", "three"] {
        engine.one("api", key, 1).decision.unwrap();
    }
    let mut record = Vec::new();
    let stamp = SlotTime::from_ms(55);
    let taken = engine.table.take_commit(stamp, &mut record);
    let owner = engine.about.node;
    let [one, two, three] = ["one", "two", "three"].map(|key| engine.slot_of(key));
    let at = |slot| engine.table.position(slot);
    let replication = Replication::new(owner);
    let links = Arc::new(Links::default());
    replication.attach(Arc::clone(&links) as Arc<dyn Outgoing>);
    replication.connected(A, 5);
    for (slot, nodes) in [
        (one, &[owner, A][..]),
        (two, &[owner]),
        (three, &[owner, A]),
    ] {
        let epoch = at(slot).epoch;
        let chosen = Configuration {
            version: 1,
            epoch,
            owner,
            replicas: Replicas::of(nodes),
        };
        replication.serve(slot, &chosen, &nodes[1..]);
    }
    replication.commit(taken.number, &record, taken.empty);
    let sent = links.sent.lock();
    let [(A, 5, frame)] = &sent[..] else {
        panic!("{sent:?}");
    };
    let OwnerFrame::Commit {
        number,
        stamp_ms,
        last,
        groups,
    } = crate::protocol::frame::decode(&frame[4..]).unwrap()
    else {
        panic!("{frame:?}");
    };
    assert_eq!((number, stamp_ms, last), (taken.number, 55, true));
    let groups = commit_record::cut(owner, groups).map(Result::unwrap);
    let told: Vec<_> = groups
        .map(|it| (it.slot, it.at, it.entries().count()))
        .collect();
    let mut expected = [one, three].map(|slot| (slot, at(slot), 1));
    expected.sort_unstable_by_key(|it| it.0);
    assert_eq!(told, expected);
}

#[tokio::test]
async fn without_a_majority_nothing_is_counted_and_what_is_over_the_limit_is_denied() {
    let engine = alone(None);
    let one = |key| engine.one("api", key, 1).decision.unwrap();
    assert!(one("full").allowed && one("full").allowed && one("half").allowed);
    let serve = |key, others: &[NodeId]| {
        let owner = engine.about.node;
        let chosen = Configuration {
            version: 1,
            epoch: EPOCH,
            owner,
            replicas: Replicas::of(&[&[owner], others].concat()),
        };
        engine.replication.serve(engine.slot_of(key), &chosen, &[]);
    };
    for key in ["full", "half"] {
        serve(key, &[A, B]);
    }
    engine.replication.tick(MonoTime::from_ns(1));
    engine.replication.tick(MonoTime::from_ns(600_000_000));
    let (full, half) = (one("full"), one("half"));
    assert_eq!((full.allowed, full.source), (false, WireSource::Owner));
    assert_eq!((half.allowed, half.source), (false, WireSource::Degraded));
    let target = Target {
        policy: PolicyRef::Named("api"),
        key: "full",
    };
    let (body, wait) = engine
        .command(&RequestBody::Reset { target }, OnCold::Read)
        .unwrap();
    assert_eq!(
        (body, wait),
        (ResponseBody::Failed(WireError::Unavailable), None)
    );
    for key in ["full", "half"] {
        serve(key, &[]);
    }
    assert_eq!(
        [one("full"), one("half"), one("half")].map(|it| it.allowed),
        [false, true, false]
    );
}
