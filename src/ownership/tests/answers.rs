//! What follows from the answers to a seal (T2 to T5).

use super::super::candidate::{Candidate, Next, Wanted};
use super::super::event::Origin;
use super::super::message::SealedSlot;
use super::world::{epoch, node, slot};
use crate::types::{Configuration, Epoch, NodeId, Position, Replicas, SlotTime};

const ME: NodeId = NodeId(1);

fn configuration(version: u64, epoch: Epoch) -> Configuration {
    Configuration {
        version,
        epoch,
        owner: epoch.node,
        replicas: Replicas::of(&[node(1), node(2), node(3)]),
    }
}

/// An answer at an epoch (counter, 1) with n and a clock.
fn answer(counter: u64, n: u64, clock: u64) -> SealedSlot {
    SealedSlot {
        slot: slot(0),
        chosen: None,
        accepted: None,
        at: Position {
            epoch: epoch(counter, 1),
            n,
        },
        clock: SlotTime::from_ms(clock),
        complete: true,
    }
}

fn incomplete(answer: &SealedSlot) -> SealedSlot {
    SealedSlot {
        complete: false,
        ..*answer
    }
}

fn found(answer: &SealedSlot, ballot: u64, version: u64) -> SealedSlot {
    let accepted = configuration(version, epoch(ballot, 2));
    SealedSlot {
        accepted: Some((epoch(ballot, 2), accepted)),
        ..*answer
    }
}

fn next(answers: &[(u128, SealedSlot)]) -> Next {
    let base = configuration(5, epoch(9, 1));
    let mut candidate = Candidate::new(base, Wanted::Same);
    for (from, answer) in answers {
        candidate.answer(node(*from), answer);
    }
    candidate.next(ME)
}

fn own(clock: u64) -> Next {
    Next::Install {
        origin: Origin::Own,
        at: answer(9, 4, 0).at,
        clock: SlotTime::from_ms(clock),
    }
}

fn fetch(from: u128, answer: &SealedSlot) -> Next {
    Next::Fetch {
        from: node(from),
        at: answer.at,
        clock: answer.clock,
    }
}

#[test]
fn answers_of_a_majority_decide() {
    let best = answer(9, 4, 70);
    let lost = Next::Install {
        origin: Origin::Lost,
        at: Position::default(),
        clock: SlotTime::from_ms(70),
    };
    #[rustfmt::skip]
    let cases = [
        ("T2: one of three is no majority", vec![(1, best)], Next::Wait),
        ("T2: a stranger does not count", vec![(1, best), (7, best)], Next::Wait),
        ("T5: the own state will do", vec![(1, best), (2, answer(9, 3, 60))], own(70)),
        ("T5: the highest n is fetched", vec![(1, answer(9, 3, 60)), (2, best)], fetch(2, &best)),
        ("T5: the epoch comes before n", vec![(1, answer(8, 99, 60)), (2, best)], fetch(2, &best)),
        ("T5: no clock of a lower epoch", vec![(1, answer(8, 99, 900)), (2, best)], fetch(2, &best)),
        ("T5: the highest clock of the epoch", vec![(1, best), (2, answer(9, 3, 80))], own(80)),
        ("T5: one complete of two", vec![(1, best), (2, incomplete(&best))], Next::Wait),
        ("T5: two complete of three", vec![(1, incomplete(&best)), (2, best), (3, best)], fetch(2, &best)),
        ("T5: all have answered, too few know", vec![(1, incomplete(&best)), (2, incomplete(&best)), (3, best)], lost),
        ("T4: what was found is finished", vec![(1, best), (2, found(&best, 11, 6))],
            Next::Finish(configuration(6, epoch(11, 2)))),
        ("T4: that of the highest ballot", vec![(1, found(&best, 12, 6)), (2, found(&best, 11, 6))],
            Next::Finish(configuration(6, epoch(12, 2)))),
        ("T4: not what is behind the base already", vec![(1, found(&best, 4, 5)), (2, best)], own(70)),
        ("T4: not before a majority has answered", vec![(1, found(&best, 11, 6))], Next::Wait),
    ];
    for (name, answers, expected) in cases {
        assert_eq!(next(&answers), expected, "{name}");
    }
}

#[test]
fn a_late_answer_to_one_proposal_does_not_count_for_the_next() {
    let base = configuration(5, epoch(9, 1));
    let mut candidate = Candidate::new(base, Wanted::Same);
    candidate.ask(node(3), 6);
    candidate.ask(node(3), 7);
    assert_eq!(candidate.answered_proposal(node(3)), Some(6));
    assert_eq!(candidate.answered_proposal(node(3)), Some(7));
    assert_eq!(
        candidate.answered_proposal(node(3)),
        None,
        "nothing more was asked"
    );
}
