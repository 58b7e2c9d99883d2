//! A copy of slots that go on being served, and the commits behind the position that was noted first:
//! together they are the state, whatever happens while the copy is taken.

use super::*;
use crate::limiter::table::ServedCopy;
use crate::limiter::transfer::{Row, Staging};
use crate::types::SlotSet;

#[derive(Debug, Clone)]
enum Do {
    Same(Step),
    Chunk,
}

fn act() -> impl Strategy<Value = Do> {
    prop_oneof![2 => step().prop_map(Do::Same), 1 => Just(Do::Chunk)]
}

/// Copies for two replicas.
struct Copying {
    copies: Vec<(ServedCopy, Vec<Row>, bool)>,
    /// The last commit before.
    behind: u64,
}

impl Copying {
    /// Two copies at once, which do not disturb each other.
    fn begin(world: &World) -> Self {
        let slots: SlotSet = [0, 1].map(|n| Slot::new(n).unwrap()).into_iter().collect();
        let copy = || (ServedCopy::new(slots.clone()), Vec::new(), true);
        Self {
            copies: vec![copy(), copy()],
            behind: world.table.open_commit.load(Ordering::SeqCst) - 1,
        }
    }

    fn chunk(&mut self, world: &World, n: usize) {
        let (copy, rows, more) = &mut self.copies[n];
        let from = rows.len();
        *more = world.table.copy_served(copy, &world.disk, rows).unwrap();
        assert_eq!(*more, rows.len() > from);
    }

    /// The state of the replica that has taken all in.
    fn caught_up(&mut self, world: &mut World) -> Vec<World> {
        for n in 0..self.copies.len() {
            while self.copies[n].2 {
                self.chunk(world, n);
            }
        }
        world.commit();
        let log: BTreeMap<_, _> = world.disk.log.clone().split_off(&(self.behind + 1));
        let copies = self.copies.drain(..);
        let replicas = copies.map(|(copy, rows, _)| {
            let mut replica = World::new(world.limits.clone(), 100);
            replica.now = world.now;
            replica.disk.rows = staged(&copy, rows, world.now);
            replica.disk.journal = log.clone();
            replica.restart();
            replica
        });
        replicas.collect()
    }
}

/// What a replica makes of rows as they came.
fn staged(copy: &ServedCopy, rows: Vec<Row>, clock: SlotTime) -> BTreeMap<StateId, Vec<u8>> {
    let mut of_slots: BTreeMap<Slot, Staging> = BTreeMap::new();
    for (id, row) in rows {
        let staging = of_slots.entry(id.slot());
        let staging = staging.or_insert_with(|| Staging::new(id.slot(), 1 << 20));
        staging.take(id, row).unwrap();
    }
    let finish = |(slot, staging): (Slot, Staging)| {
        let rows = staging.finish_served(clock, copy.count(slot));
        rows.unwrap()
    };
    of_slots.into_iter().flat_map(finish).collect()
}

/// A step of a world that does not restart.
fn act_on(world: &mut World, act: &Step) {
    match *act {
        Step::Wait(ms) => world.now = world.now.plus_ms(ms),
        Step::Check { key, cost } | Step::Reserve { key, cost } => {
            world.ask(key, cost, |t, now, asked| outcome(t.check(now, asked)));
        }
        Step::Refund { key, cost } => {
            let grant = Grant {
                at: world.now,
                cost,
            };
            let refund = Change::Refund(grant);
            world
                .ask(key, 0, |t, now, asked| change(t, now, asked, refund))
                .ok();
        }
        Step::Settle { key, .. } | Step::Reset { key } => {
            let reset = world.ask(key, 0, |t, now, asked| change(t, now, asked, Change::Reset));
            assert!(reset.is_ok());
        }
        Step::Commit => world.commit(),
        Step::Checkpoint | Step::Restart => world.checkpoint(),
        Step::Sweep => {
            world.table.sweep(world.now);
            world.table.make_room(world.now);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_copy_taken_while_served_and_the_commits_behind_it_are_the_state(
        before in prop::collection::vec(step(), 0..60),
        during in prop::collection::vec(act(), 0..80),
        keys_max in 2..14u64,
    ) {
        let limits = Limits::new(vec![Limit::new(70, 600).unwrap()]).unwrap();
        let mut world = World::new(limits.clone(), keys_max);
        for step in before {
            act_on(&mut world, &step);
        }
        let mut copying = Copying::begin(&world);
        for act in during {
            match act {
                Do::Same(step) => act_on(&mut world, &step),
                Do::Chunk => (0..2).for_each(|n| copying.chunk(&world, n)),
            }
        }
        for mut replica in copying.caught_up(&mut world) {
            for key in 0..12 {
                let peek = |world: &mut World| {
                    let outcome = world.ask(key, 0, |t, now, asked| outcome(t.peek(now, asked)));
                    let Outcome::Decided { verdict, .. } = outcome else {
                        panic!("{outcome:?}");
                    };
                    verdict
                };
                prop_assert_eq!(peek(&mut replica), peek(&mut world), "key {}", key);
            }
        }
    }
}
