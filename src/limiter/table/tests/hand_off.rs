//! Slots that move between two tables, at any point of a copy and between all else that happens:
//! no answer changes, no count is lost, and the slot's clock never outruns real time.

use std::collections::BTreeMap;

use super::cluster::{Cluster, Node, slots};
use super::*;
use crate::limiter::installed::Installed;
use crate::limiter::reservation::Open;
use crate::types::SlotSet;

#[derive(Debug, Clone)]
enum Do {
    Same(Step),
    BeginCopy(usize),
    CopyChunk,
    HandOff,
    TakeBack,
    Restart(usize),
}

fn act() -> impl Strategy<Value = Do> {
    prop_oneof![
        20 => step().prop_map(Do::Same),
        3 => (0..2usize).prop_map(Do::BeginCopy),
        4 => Just(Do::CopyChunk),
        2 => Just(Do::HandOff),
        1 => Just(Do::TakeBack),
        1 => (0..2usize).prop_map(Do::Restart),
    ]
}

type Model = BTreeMap<u8, (KeyState, Reservations, Option<Grant>)>;

impl Cluster {
    fn act(&mut self, model: &mut Model, act: Do) {
        match act {
            Do::BeginCopy(n) => self.begin_copy(n),
            Do::CopyChunk => self.copy_chunk(),
            Do::HandOff => self.hand_off(false),
            Do::TakeBack => self.hand_off(true),
            Do::Restart(n) => self.restart(n),
            Do::Same(step) => self.step(model, &step),
        }
    }

    fn step(&mut self, model: &mut Model, step: &Step) {
        let real_us = self.real_us;
        match *step {
            Step::Wait(ms) => self.real_us += ms * 997,
            Step::Commit => self
                .nodes
                .iter_mut()
                .for_each(|n| n.commit(n.clock(real_us))),
            Step::Checkpoint => self.nodes.iter_mut().for_each(Node::checkpoint),
            Step::Sweep | Step::Restart => {
                for node in &self.nodes {
                    node.table.sweep(node.clock(real_us));
                    node.table.make_room(node.clock(real_us));
                }
            }
            Step::Check { key, cost } => self.check(model, key, cost),
            Step::Refund { key, cost } => {
                let now = self.slot_now(state_id(key).slot());
                let (state, _, last) = model.entry(key).or_default();
                let Some(grant) = last.take() else { return };
                let cost = cost.min(grant.cost);
                let grant = Grant { cost, ..grant };
                let expected = state.refund(&self.limits, grant, now);
                let refund = Change::Refund(grant);
                let got = self.ask(key, 0, |t, now, asked| change(t, now, asked, refund));
                assert_eq!(got, Ok(expected));
            }
            Step::Reserve { key, cost } => self.reserve(model, key, cost),
            Step::Settle { key, actual } => {
                let now = self.slot_now(state_id(key).slot());
                let id = ReservationId(u64::from(key));
                let (state, open, _) = model.entry(key).or_default();
                let expected = open.settle(state, &self.limits, id, actual, now);
                let settle = Change::Settle(id, actual);
                let got = self.ask(key, 0, |t, now, asked| change(t, now, asked, settle));
                assert_eq!(got.is_ok(), expected.is_ok());
            }
            Step::Reset { key } => {
                model.remove(&key);
                let got = self.ask(key, 0, |t, now, asked| change(t, now, asked, Change::Reset));
                assert!(got.is_ok());
            }
        }
    }

    fn check(&mut self, model: &mut Model, key: u8, cost: u64) {
        let now = self.slot_now(state_id(key).slot());
        let (state, _, last) = model.entry(key).or_default();
        let expected = state.check(&self.limits, cost, now).unwrap();
        let got = self.ask(key, cost, |t, now, asked| outcome(t.check(now, asked)));
        let Outcome::Decided { verdict, at, .. } = got else {
            panic!("{got:?}")
        };
        assert_eq!((verdict, at), (expected, now));
        if verdict.granted && cost > 0 {
            *last = Some(Grant { at: now, cost });
        }
    }

    fn reserve(&mut self, model: &mut Model, key: u8, cost: u64) {
        let now = self.slot_now(state_id(key).slot());
        let reserve = Reserve {
            id: ReservationId(u64::from(key)),
            ttl_ms: 300,
        };
        let (state, open, _) = model.entry(key).or_default();
        if open.open_at(now).count() > 0 {
            return;
        }
        let expected = state.check(&self.limits, cost, now).unwrap();
        if expected.granted {
            let entry = Open {
                id: reserve.id,
                grant: Grant { at: now, cost },
                expires_at: now.plus_ms(300),
            };
            open.remember(entry, now);
        }
        let got = self.ask(key, cost, |t, now, asked| {
            outcome(t.reserve(now, asked, reserve).unwrap())
        });
        let Outcome::Decided { verdict, .. } = got else {
            panic!("{got:?}")
        };
        assert_eq!(verdict, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_hand_off_changes_an_answer_or_lets_a_clock_gain_on_real_time(
        acts in prop::collection::vec(act(), 1..200),
        two_limits in any::<bool>(),
        keys_max in 2..14u64,
        slow in prop::array::uniform2(0..50u64),
    ) {
        let mut all = vec![Limit::new(70, 600).unwrap()];
        if two_limits {
            all.push(Limit::new(20, 150).unwrap());
        }
        let limits = Limits::new(all).unwrap();
        let mut cluster = Cluster::new(&limits, keys_max, slow);
        let mut model = Model::new();
        for act in acts {
            cluster.act(&mut model, act);
        }
        for (key, (state, ..)) in model {
            let now = cluster.slot_now(state_id(key).slot());
            let got = cluster.ask(key, 0, |t, now, asked| outcome(t.peek(now, asked)));
            let Outcome::Decided { verdict, .. } = got else { panic!("{got:?}") };
            prop_assert_eq!(verdict, state.peek(&limits, 0, now).unwrap());
        }
    }

    #[test]
    fn a_clock_that_is_handed_on_again_and_again_gains_nothing(
        moves in prop::collection::vec((0..3usize, 0..2500u64), 1..60),
        starts_at_us in prop::array::uniform3(0..10_000_000u64),
    ) {
        let show = |n: usize, real_us: u64| SlotTime::from_ms((starts_at_us[n] + real_us) / 1000);
        let [slot, _] = slots();
        let capacity = Capacity { keys_max: 1, bytes_max: 1, evicts: true };
        let tables = [1, 2, 3].map(|n| Table::new(capacity, 1, NodeId(n), Arc::default()));
        let (mut real_us, mut clock, mut owner) = (0, SlotTime::ZERO, None::<usize>);
        for (counter, (to, waits_us)) in moves.into_iter().enumerate() {
            if let Some(from) = owner {
                let frozen: SlotSet = [slot].into_iter().collect();
                tables[from].freeze(&frozen, show(from, real_us));
                let before = clock;
                clock = tables[from].slot_now(slot, show(from, real_us));
                prop_assert!(clock >= before);
                prop_assert!(clock.as_ms() * 1000 <= real_us, "{clock} after {real_us} us");
            }
            let epoch = Epoch { counter: counter as u64, node: NodeId(to as u128 + 1) };
            let installed = Installed::new(start_of(epoch), start_of(epoch), clock, show(to, real_us));
            tables[to].install(tables[to].prepare(slot, &[]).unwrap(), &installed);
            tables[to].serve(slot, epoch).unwrap();
            owner = Some(to);
            real_us += waits_us;
        }
    }
}
