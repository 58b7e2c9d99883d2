//! A place of the pool: the lanes and connections to one node, or to the seeds.
//!
//! There is a fixed number of places, each used by one node after the other, so that calls can
//! borrow lanes and nothing is allocated for one. A place goes round: vacant, idle (a node's, but
//! nobody has asked it yet), wanted (its links run), retiring (the node is gone from the routes;
//! what was asked is still answered), vacant.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;
use quinn::Connection;
use tokio::sync::Notify;

use super::health::Health;
use super::lane::Lane;
use super::settings::Routing;
use crate::transport::CloseCode;

/// How many lanes a place has, and for how many callers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Connections to a node.
    pub(super) connections: usize,
    /// Lanes on each.
    pub(super) streams: usize,
    /// Callers who may wait on each lane at once.
    pub(super) waiting_max: usize,
    /// Whose lanes are taken for a key.
    pub(super) routing: Routing,
}

/// Where a place is on its round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stage {
    Vacant = 0,
    Idle = 1,
    Wanted = 2,
    Retiring = 3,
}

impl Stage {
    /// Whether its links run, and stay.
    pub(super) const fn is_running(self) -> bool {
        match self {
            Self::Wanted => true,
            Self::Vacant | Self::Idle | Self::Retiring => false,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Place {
    stage: AtomicU8,
    retiring: Notify,
    /// Made when the place is first used, and kept.
    parts: OnceLock<Parts>,
}

/// A connection, and what is spoken on it.
#[derive(Debug, Clone)]
pub(super) struct Spoken {
    pub(super) connection: Connection,
    /// The protocol's version.
    pub(super) version: u16,
}

#[derive(Debug)]
struct Parts {
    /// The lanes of a connection stand together.
    lanes: Box<[Lane]>,
    connections: Box<[Mutex<Option<Spoken>>]>,
    streams: usize,
}

impl Place {
    /// A place that no node has.
    pub(super) const fn vacant() -> Self {
        Self {
            stage: AtomicU8::new(Stage::Vacant as u8),
            retiring: Notify::const_new(),
            parts: OnceLock::new(),
        }
    }

    /// Where it was on its round a moment ago.
    pub(super) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            1 => Stage::Idle,
            2 => Stage::Wanted,
            3 => Stage::Retiring,
            _vacant => Stage::Vacant,
        }
    }

    /// A node has the vacant place now.
    pub(super) fn open(&self, shape: Shape) {
        let parts = self.parts.get_or_init(|| Parts::new(shape));
        parts.lanes.iter().for_each(Lane::reopen);
        self.stage.store(Stage::Idle as u8, Ordering::Release);
    }

    /// Somebody asks its node. Whether that is the first time.
    pub(super) fn want(&self) -> bool {
        self.stage.load(Ordering::Relaxed) == Stage::Idle as u8
            && self.change(Stage::Idle, Stage::Wanted)
    }

    /// Its node is gone from the routes. Whether the place is vacant at once, since nobody had asked
    /// it.
    pub(super) fn retire(&self) -> bool {
        if self.change(Stage::Idle, Stage::Retiring) {
            self.vacate();
            return true;
        }
        self.change(Stage::Wanted, Stage::Retiring);
        self.retiring.notify_waiters();
        false
    }

    /// Its links have ended.
    pub(super) fn vacate(&self) {
        self.lanes().iter().for_each(Lane::vacate);
        self.stage.store(Stage::Vacant as u8, Ordering::Release);
    }

    /// Waits until its node is gone from the routes.
    pub(super) async fn retired(&self) {
        loop {
            let mut told = std::pin::pin!(self.retiring.notified());
            told.as_mut().enable();
            match self.stage() {
                Stage::Retiring | Stage::Vacant => return,
                Stage::Idle | Stage::Wanted => told.await,
            }
        }
    }

    /// All lanes; none if the place was never used.
    pub(super) fn lanes(&self) -> &[Lane] {
        self.parts.get().map_or(&[], |parts| &parts.lanes)
    }

    /// Whether a lane has a stream to a node that is not silent.
    pub(super) fn is_up(&self) -> bool {
        self.lanes().iter().any(|lane| lane.health() == Health::Up)
    }

    /// The lanes of connection `n`.
    pub(super) fn lanes_of(&self, n: usize) -> &[Lane] {
        let Some(parts) = self.parts.get() else {
            return &[];
        };
        let mut lanes = parts.lanes.chunks(parts.streams);
        lanes.nth(n).unwrap_or(&[])
    }

    /// There is a connection `n`, or none any more.
    pub(super) fn set_connection(&self, n: usize, connection: Option<Spoken>) {
        if let Some(place) = self.connection_place(n) {
            *place.lock() = connection;
        }
    }

    /// Takes connection `n` out, if there is one.
    pub(super) fn take_connection(&self, n: usize) -> Option<Spoken> {
        self.connection_place(n)?.lock().take()
    }

    /// All connections that there are.
    pub(super) fn connections(&self) -> impl Iterator<Item = Spoken> + '_ {
        let parts = self.parts.get().into_iter();
        parts
            .flat_map(|parts| parts.connections.iter())
            .filter_map(|connection| connection.lock().clone())
    }

    /// Gives up the connection of lane `n`, so that another one is made: its node answers nothing.
    pub(super) fn give_up(&self, lane: usize) {
        let Some(parts) = self.parts.get() else {
            return;
        };
        if let Some(Spoken { connection, .. }) = self.take_connection(lane / parts.streams) {
            connection.close(CloseCode::Done.number(), b"the node answers nothing");
        }
    }

    fn connection_place(&self, n: usize) -> Option<&Mutex<Option<Spoken>>> {
        self.parts.get()?.connections.get(n)
    }

    fn change(&self, from: Stage, to: Stage) -> bool {
        let (from, to) = (from as u8, to as u8);
        let changed = self
            .stage
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed);
        changed.is_ok()
    }
}

impl Parts {
    fn new(shape: Shape) -> Self {
        let streams = shape.streams.max(1);
        let lanes = shape.connections.saturating_mul(streams);
        Self {
            lanes: (0..lanes).map(|_| Lane::new(shape.waiting_max)).collect(),
            connections: (0..shape.connections).map(|_| Mutex::new(None)).collect(),
            streams,
        }
    }
}
