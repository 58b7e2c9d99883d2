//! Who is let in: counts of what is in progress, node-wide, and what is turned away because of
//! them.
//!
//! Counts go down by dropping what was handed out, so that no path can forget it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::bounds::Bounds;
use crate::protocol::error::WireError;

/// What is in progress on a node, over all its runtimes.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) bounds: Bounds,
    connections: Count,
    handshakes: Count,
    in_flight: Count,
    unread_bytes: Count,
}

type Count = Arc<AtomicUsize>;

/// What to do with somebody who knocks.
#[derive(Debug)]
pub(super) enum Knock {
    /// Let in; the handshake and the connection are counted until these are dropped.
    Come {
        /// Held until the handshake is done.
        handshake: Counted,
        /// Held until the connection is closed.
        connection: Counted,
    },
    /// Ask to come again from an address that was shown to be real.
    ComeAgain,
    /// Turn away.
    Refuse,
}

/// A number that is counted until it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    count: Count,
    number: usize,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.count.fetch_sub(self.number, Ordering::Relaxed);
    }
}

impl Admission {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            connections: Count::default(),
            handshakes: Count::default(),
            in_flight: Count::default(),
            unread_bytes: Count::default(),
        }
    }

    /// Decides about a newcomer; `validated` if its address was shown to be real.
    pub(super) fn knock(&self, validated: bool) -> Knock {
        let handshakes = self.handshakes.load(Ordering::Relaxed);
        if !validated && handshakes >= self.bounds.handshakes_before_retry {
            return Knock::ComeAgain;
        }
        let handshake = take(&self.handshakes, 1, self.bounds.handshakes_max);
        let connection = take(&self.connections, 1, self.bounds.connections_max);
        match (handshake, connection) {
            (Some(handshake), Some(connection)) => Knock::Come {
                handshake,
                connection,
            },
            (Some(_) | None, None) | (None, Some(_)) => Knock::Refuse,
        }
    }

    /// Open connections, those in their handshakes included.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Whether answers to more checks may be made to wait.
    pub(super) fn may_wait(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) < self.bounds.in_flight_total_max
    }

    /// Counts checks whose answers have to wait, although there may be too many by now: they are
    /// decided already.
    pub(super) fn waiting(&self, checks: usize) -> Counted {
        self.in_flight.fetch_add(checks, Ordering::Relaxed);
        Counted {
            count: Arc::clone(&self.in_flight),
            number: checks,
        }
    }

    /// Counts bytes of answers that their reader does not take; `None` if there are too many.
    pub(super) fn unread(&self, bytes: usize) -> Option<Counted> {
        take(&self.unread_bytes, bytes, self.bounds.unread_total_max)
    }

    /// The error for who comes when there is too much.
    pub(super) fn overloaded(&self) -> WireError {
        WireError::Overloaded {
            retry_ms: u32::try_from(self.bounds.overloaded_retry.as_millis()).unwrap_or(u32::MAX),
        }
    }
}

/// Adds `number` unless that makes more than `max`.
fn take(count: &Count, number: usize, max: usize) -> Option<Counted> {
    let before = count.fetch_add(number, Ordering::Relaxed);
    let counted = Counted {
        count: Arc::clone(count),
        number,
    };
    (before.saturating_add(number) <= max).then_some(counted)
}
