//! Waits until a node has given all its slots away.

use std::io::{self, IsTerminal};
use std::time::Duration;

use distributed_rate_limiter::client::{Admin, CheckError, Ring};
use tokio::time::sleep;

use crate::cluster::short;
use crate::outcome::{Exit, Failure};
use crate::output::{self, bytes, number};

/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Looks without any change after which it is said that nothing moves: a minute. The longest that a
/// healthy hand-off stands still is one bounded step of a few seconds.
const LOOKS_MAX: u32 = 240;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// The node owns nothing.
    Drained,
    /// The same, or it does not answer any more, since it has left.
    Gone,
}

/// How the wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The node owns nothing.
    Done,
    /// It was not waited for.
    NotAwaited {
        /// Slots that the node owned when it was told.
        slots: u32,
    },
    /// Nothing has moved for long.
    Stuck {
        /// Slots that the node still owns.
        slots: u32,
    },
}

/// Whether somebody is there to take the slots of the node that gave this answer.
pub(super) fn possible(ring: &Ring) -> Result<(), Failure> {
    let takes = |state: &str| !["down", "draining", "left", "removed"].contains(&state);
    let mut others = ring.nodes.iter().filter(|node| node.node != ring.node);
    if others.any(|node| takes(&node.state)) {
        return Ok(());
    }
    let node = short(ring.node);
    let alone = anyhow::anyhow!("no other node is there to take the slots of {node}");
    let hint = "a node that is stopped keeps its counts and serves them again after its restart";
    Err(Failure::new(Exit::Refused, alone).hint(hint))
}

/// Waits until the node owns nothing, with a line that tells how far it is. `began` is how it was
/// when it was told.
pub(super) async fn wait(
    admin: &Admin,
    began: &Ring,
    no_wait: bool,
    until: Until,
) -> Result<End, Failure> {
    let total = began.load.slots;
    if no_wait {
        return Ok(End::NotAwaited { slots: total });
    }
    let shown = io::stderr().is_terminal();
    let mut still = Still::default();
    let end = loop {
        let ring = match admin.ring().await {
            Ok(ring) => ring,
            Err(CheckError::ConnectionLost) if until == Until::Gone => break End::Done,
            Err(error) => {
                clear(shown);
                return Err(error.into());
            }
        };
        if ring.load.slots == 0 && ring.hand_offs.iter().all(|it| it.from != ring.node) {
            break End::Done;
        }
        if shown {
            output::say_over(&line(&ring, total));
        }
        if still.for_looks(&ring) >= LOOKS_MAX {
            break End::Stuck {
                slots: ring.load.slots,
            };
        }
        sleep(LOOK_INTERVAL).await;
    };
    clear(shown);
    Ok(end)
}

fn clear(shown: bool) {
    if shown {
        output::say_over("");
    }
}

/// How far it is.
fn line(ring: &Ring, total: u32) -> String {
    let (left, total) = (u64::from(ring.load.slots), u64::from(total));
    let moving = ring.hand_offs.iter().filter(|it| it.from == ring.node);
    let (mut count, mut moved) = (0_u64, 0_u64);
    for hand_off in moving {
        count += 1;
        moved = moved.saturating_add(hand_off.bytes);
    }
    let word = if count == 1 { "hand-off" } else { "hand-offs" };
    format!(
        "{}: {} of {} slots left; {count} {word}, {} moved",
        short(ring.node),
        number(left),
        number(total.max(left)),
        bytes(moved)
    )
}

/// Counts the looks in which nothing has changed.
#[derive(Debug, Default)]
struct Still {
    last: Option<(u32, u64)>,
    looks: u32,
}

impl Still {
    fn for_looks(&mut self, ring: &Ring) -> u32 {
        let moved = ring
            .hand_offs
            .iter()
            .fold(0_u64, |sum, it| sum.saturating_add(it.bytes));
        let now = Some((ring.load.slots, moved));
        self.looks = if self.last == now { self.looks + 1 } else { 0 };
        self.last = now;
        self.looks
    }
}

#[cfg(test)]
mod tests {
    use distributed_rate_limiter::client::HandOff;

    use super::*;
    use crate::cluster::tests::ring;

    #[test]
    fn a_node_can_only_be_drained_if_another_takes_its_slots() {
        let own = 1 << 96;
        for (states, can) in [
            (&[][..], false),
            (&["alive"], true),
            (&["suspect"], true),
            (&["down", "draining", "left", "removed"], false),
            (&["down", "alive"], true),
        ] {
            let ids: Vec<u128> = (1..)
                .take(states.len() + 1)
                .map(|n: u128| n << 96)
                .collect();
            let mut ring = ring(own, &ids, &[]);
            for (line, state) in ring.nodes[1..].iter_mut().zip(states) {
                line.state = (*state).into();
            }
            assert_eq!(possible(&ring).is_ok(), can, "{states:?}");
        }
    }

    #[test]
    fn the_line_tells_how_far_it_is_and_a_wait_without_change_ends() {
        let mut ring = ring(1 << 96, &[1 << 96], &[(1365, 0, 0)]);
        let mut hand_off = HandOff::default();
        (hand_off.from, hand_off.bytes) = (1 << 96, 2048);
        ring.hand_offs = vec![hand_off; 2];
        assert_eq!(
            line(&ring, 2000),
            "00000001: 1,365 of 2,000 slots left; 2 hand-offs, 4.0 KiB moved"
        );
        let mut still = Still::default();
        assert_eq!([0; 3].map(|_: u8| still.for_looks(&ring)), [0, 1, 2]);
        ring.hand_offs[0].bytes += 1;
        assert_eq!(still.for_looks(&ring), 0);
    }
}
