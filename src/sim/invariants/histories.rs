//! Every invariant against a good history and bad ones.

use super::super::judge::{Decided, Fact, Judge};
use super::super::state::{Key, SlotState};
use crate::limiter::policy::{Limit, Limits};
use crate::ownership::record::Register;
use crate::types::{Configuration, Epoch, NodeId, Position, Replicas, Slot, SlotTime};

const MS: u64 = 1_000_000;

/// A history under judgement; each step tells a fact.
struct History {
    judge: Judge,
    limits: Limits,
    /// Whose grants come next.
    reign: Epoch,
}

fn slot() -> Slot {
    Slot::new(9).unwrap()
}

fn key() -> Key {
    Key { slot: slot(), n: 1 }
}

fn epoch(counter: u64) -> Epoch {
    Epoch {
        counter,
        node: NodeId(1),
    }
}

fn configuration(version: u64, counter: u64, owner: u128) -> Configuration {
    Configuration {
        version,
        epoch: epoch(counter),
        owner: NodeId(owner),
        replicas: Replicas::one(NodeId(owner)),
    }
}

impl History {
    fn new() -> Self {
        Self {
            judge: Judge::new(),
            limits: Limits::from(Limit::new(5, 1000).unwrap()),
            reign: epoch(1),
        }
    }

    fn tell(&mut self, at_ms: u64, fact: &Fact<'_>) -> &mut Self {
        self.judge.see(at_ms * MS, fact);
        self
    }

    /// Grants at a true time and a slot time, and acknowledges it.
    fn grant(&mut self, at_ms: u64, slot_ms: u64, cost: u64) -> &mut Self {
        let grant = self.judge.next_grant();
        let (limits, epoch) = (self.limits.clone(), self.reign);
        self.tell(
            at_ms,
            &Fact::Decided(Decided {
                key: key(),
                epoch,
                at_slot: SlotTime::from_ms(slot_ms),
                cost,
                limits: &limits,
            }),
        );
        self.tell(at_ms, &Fact::Acknowledged { grant, key: key() })
    }

    fn serve(&mut self, node: usize, life: u64, state: &SlotState) -> &mut Self {
        let epoch = state.at.epoch;
        self.reign = epoch;
        self.tell(
            100,
            &Fact::Served {
                node,
                life,
                slot: slot(),
                epoch,
                alone: true,
                state,
            },
        )
    }

    fn broken(&self) -> Option<&'static str> {
        self.judge.violation().map(|it| it.invariant)
    }

    fn breaks(&self, start: &str) {
        let broken = self.broken().unwrap_or("nothing");
        assert!(broken.starts_with(start), "{broken} is broken, not {start}");
    }
}

/// A state at `counter` and `n` that counts `cost` at each of the slot times.
fn state(counter: u64, n: u64, grants: &[(u64, u64)]) -> SlotState {
    let mut state = SlotState {
        at: Position {
            epoch: epoch(counter),
            n,
        },
        ..SlotState::default()
    };
    let limits = Limits::from(Limit::new(5, 1000).unwrap());
    for &(at_ms, cost) in grants {
        state.clock = SlotTime::from_ms(at_ms);
        state.keys[1].check(&limits, cost, state.clock).unwrap();
    }
    state
}

#[test]
fn what_completes_when_a_later_reign_has_begun_without_it_is_found() {
    let mut history = History::new();
    history.serve(0, 1, &state(1, 0, &[]));
    let stopped = Fact::Stopped {
        node: 0,
        slot: slot(),
    };
    history.tell(150, &stopped).serve(1, 1, &state(2, 0, &[]));
    history.reign = epoch(1);
    history.grant(200, 150, 3).breaks("I2");
}

#[test]
fn a_good_history_breaks_nothing() {
    let mut history = History::new();
    history.serve(0, 1, &state(1, 0, &[]));
    history.grant(200, 150, 3).grant(400, 350, 2);
    let held = state(1, 2, &[(150, 3), (350, 2)]);
    history.tell(
        401,
        &Fact::Held {
            slot: slot(),
            state: &held,
            all: true,
        },
    );
    history.tell(
        500,
        &Fact::Stopped {
            node: 0,
            slot: slot(),
        },
    );
    history.serve(1, 1, &state(2, 0, &[(150, 3), (350, 2)]));
    history.grant(1201, 1151, 3);
    assert_eq!(history.broken(), None);
}

#[test]
fn six_of_five_within_a_second_break_i1() {
    History::new()
        .grant(200, 200, 3)
        .grant(1199, 1199, 3)
        .breaks("I1");
    let mut refunded = History::new();
    refunded.grant(200, 200, 3);
    refunded.tell(300, &Fact::GivenBack { grant: 0 });
    refunded.grant(1199, 1199, 3);
    assert_eq!(refunded.broken(), None);
}

#[test]
fn what_a_power_loss_may_cost_is_forgiven_unless_in_quarantine() {
    for quarantined in [false, true] {
        let mut history = History::new();
        history.grant(200, 200, 3);
        let lost = Fact::LostWithPower {
            grant: 0,
            quarantined,
        };
        history.tell(300, &lost).grant(1199, 1199, 3);
        assert_eq!(history.broken().is_some(), quarantined);
    }
}

#[test]
fn a_state_that_lacks_a_grant_breaks_i2() {
    let mut history = History::new();
    history.grant(200, 150, 3);
    history.serve(1, 1, &state(2, 0, &[(150, 2)])).breaks("I2");
    let mut history = History::new();
    history.grant(200, 150, 3);
    let held = state(1, 4, &[(150, 2)]);
    let held = Fact::Held {
        slot: slot(),
        state: &held,
        all: true,
    };
    history.tell(300, &held).breaks("I2");
}

#[test]
fn two_configurations_of_a_version_break_i4() {
    let chosen = |history: &mut History, it: Configuration| {
        let fact = Fact::Chosen {
            slot: slot(),
            chosen: &it,
        };
        history.tell(1, &fact);
    };
    let mut history = History::new();
    chosen(&mut history, configuration(2, 5, 1));
    chosen(&mut history, configuration(2, 6, 2));
    history.breaks("I4");
    let mut history = History::new();
    chosen(&mut history, configuration(2, 5, 1));
    chosen(&mut history, configuration(3, 4, 2));
    history.breaks("I4");
}

#[test]
fn a_promise_or_version_that_falls_breaks_i4() {
    let later = [
        (epoch(4), Some(configuration(2, 2, 1))),
        (epoch(5), Some(configuration(1, 1, 1))),
    ];
    for (promised, chosen) in later {
        let mut history = History::new();
        for (promised, chosen) in [(epoch(5), Some(configuration(2, 2, 1))), (promised, chosen)] {
            let register = Register {
                promised,
                chosen,
                accepted: None,
                complete: true,
            };
            let fact = Fact::Registered {
                node: 3,
                slot: slot(),
                register: &register,
            };
            history.tell(1, &fact);
        }
        history.breaks("I4");
    }
}

#[test]
fn two_contents_of_a_position_break_i5() {
    let mut history = History::new();
    for grants in [&[(100, 2)][..], &[(100, 3)]] {
        let held = state(1, 1, grants);
        let fact = Fact::Held {
            slot: slot(),
            state: &held,
            all: true,
        };
        history.tell(1, &fact);
    }
    history.breaks("I5");
}

#[test]
fn a_clock_that_outruns_real_time_or_falls_breaks_i6() {
    History::new()
        .grant(1000, 1000, 1)
        .grant(1100, 1102, 1)
        .breaks("I6");
    History::new()
        .grant(1000, 1000, 1)
        .grant(1100, 999, 1)
        .breaks("I6");
    // an answer that comes late is judged by when it was decided
    let mut history = History::new();
    history.grant(1000, 1000, 1).grant(1100, 1101, 1);
    assert_eq!(history.broken(), None);
}

#[test]
fn two_owners_of_a_slot_or_an_epoch_are_found() {
    let at = |counter| state(counter, 0, &[]);
    History::new()
        .serve(0, 1, &at(1))
        .serve(1, 1, &at(2))
        .breaks("one owner");
    let stopped = Fact::Stopped {
        node: 0,
        slot: slot(),
    };
    History::new()
        .serve(0, 1, &at(1))
        .tell(1, &stopped)
        .serve(0, 2, &at(1))
        .breaks("one owner");
}

#[test]
fn an_answer_to_another_request_is_found() {
    let mut history = History::new();
    history.grant(1, 1, 1);
    let twice = Fact::Acknowledged {
        grant: 0,
        key: key(),
    };
    history.tell(2, &twice).breaks("an answer");
    let mut history = History::new();
    history.grant(1, 1, 1);
    let other = Fact::Acknowledged {
        grant: 0,
        key: Key { n: 2, ..key() },
    };
    history.tell(2, &other).breaks("an answer");
}

#[test]
fn a_denial_of_an_older_version_is_found() {
    let told = Fact::Told {
        client: 1,
        version: 3,
    };
    let denied = |version| Fact::DeniedFromCache { client: 1, version };
    let mut history = History::new();
    history.tell(1, &told).tell(2, &denied(3));
    assert_eq!(history.broken(), None);
    history.tell(3, &denied(2)).breaks("a raised limit");
}
