//! What the clones of a client, its calls and its tasks share: the places with their lanes, what is
//! known of the cluster, the denials, and who watches deadlines.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::aim::{Aim, Secret};
use super::attempt::Attempt;
use super::check::encode_body;
use super::clock::Clock;
use super::denials::Denials;
use super::error::CheckError;
use super::health::Health;
use super::holders::SharedHolders;
use super::lane::Lane;
use super::patience::Patience;
use super::place::{Place, Shape};
use super::pool::Known;
use super::rest::Resting;
use super::seats::{NODES_MAX, SEEDS};
use super::stream::Spread;
use crate::protocol::client::{RequestBody, ResponseBody};
use crate::protocol::hello::Welcome;
use crate::types::SLOT_COUNT;

/// Least time between two looks at the deadlines: so much later than its deadline a call may end.
const DEADLINE_SLACK: Duration = Duration::from_millis(2);

/// See the module.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) shape: Shape,
    /// [`SEEDS`], and one for each node of its own.
    pub(super) places: Box<[Place]>,
    /// For each slot who holds it. Written under the lock of `known`, read without it.
    pub(super) slots: Box<[SharedHolders]>,
    /// Whether any owner is known.
    pub(super) routed: AtomicBool,
    /// Whether there are several nodes to ask.
    pub(super) spread: AtomicBool,
    pub(super) secret: Secret,
    pub(super) known: Mutex<Known>,
    pub(super) denials: Denials,
    /// There is a place whose links are to be started, or were to be.
    pub(super) wanted: Notify,
    /// There is a new connection.
    pub(super) connected: Notify,
    pub(super) next_lane: AtomicUsize,
    pub(super) closed: AtomicBool,
    /// Calls that were turned away and come again.
    pub(super) resting: Resting,
    /// How long peeks wait before they ask somebody else too.
    pub(super) patience: Mutex<Patience>,
    clock: Clock,
    /// When the timekeeper looks at the deadlines next, in ns; `u64::MAX` while it looks or if
    /// nobody waits.
    next_look_ns: AtomicU64,
    sooner: Notify,
}

impl Core {
    /// Places of this shape, without streams yet, in the cluster that welcomed the client.
    pub(super) fn new(shape: Shape, denials_max: usize, welcome: &Welcome) -> Self {
        let places: Box<[Place]> = (0..=NODES_MAX).map(|_| Place::vacant()).collect();
        if let Some(seeds) = places.get(SEEDS) {
            seeds.open(shape);
            seeds.want();
        }
        Self {
            shape,
            places,
            slots: (0..SLOT_COUNT).map(|_| SharedHolders::none()).collect(),
            routed: AtomicBool::new(false),
            spread: AtomicBool::new(false),
            secret: Secret::new(&welcome.key_secret),
            known: Mutex::new(Known::new(welcome.cluster, shape.connections)),
            denials: Denials::new(denials_max),
            wanted: Notify::new(),
            connected: Notify::new(),
            next_lane: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            resting: Resting::default(),
            patience: Mutex::default(),
            clock: Clock::start(),
            next_look_ns: AtomicU64::new(u64::MAX),
            sooner: Notify::new(),
        }
    }

    /// Time since the client was made.
    pub(super) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Among how many nodes callers take turns.
    pub(super) fn spread(&self) -> Spread {
        if self.spread.load(Ordering::Relaxed) {
            Spread::Several
        } else {
            Spread::One
        }
    }

    /// The place of this number.
    pub(super) fn place(&self, place: usize) -> &Place {
        static NONE: Place = Place::vacant();
        self.places.get(place).unwrap_or(&NONE)
    }

    /// Whether any lane has a stream.
    pub(super) fn is_connected(&self) -> bool {
        let mut lanes = self.places.iter().flat_map(Place::lanes);
        lanes.any(|lane| matches!(lane.health(), Health::Up | Health::Quiet))
    }

    /// Ends everything that waits, for good.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        // Whoever opens a place holds this lock, and looks first whether the client is closed.
        let _known = self.known.lock();
        let lanes = self.places.iter().flat_map(Place::lanes);
        lanes.for_each(Lane::close);
        self.resting.wake_all();
    }

    /// Asks, of the owner that `aim` names, what is not sent twice; waits for the answer.
    ///
    /// Cancel safe: a dropped request is not sent, if it was not yet, and its answer is dropped.
    pub(super) async fn request(
        &self,
        aim: Option<Aim>,
        body: &RequestBody<'_>,
        after: Duration,
    ) -> Result<ResponseBody, CheckError> {
        let body = encode_body(body)?;
        let mut attempt = Attempt::new(self.now(), aim, 1, after);
        match self.ask(&mut attempt, &body, 1).await? {
            ResponseBody::Failed(error) => Err(error.into()),
            other => Ok(other),
        }
    }

    /// Sees to it that the timekeeper looks by `deadline`.
    pub(super) fn watch(&self, deadline: Duration) {
        if as_ns(deadline) < self.next_look_ns.load(Ordering::SeqCst) {
            self.sooner.notify_one();
        }
    }

    /// Ends calls at their deadlines, for ever; gives up connections whose nodes answer nothing.
    pub(super) async fn keep_time(&self) {
        loop {
            // Who comes while this looks sees the highest number, and asks for another look.
            self.next_look_ns.store(u64::MAX, Ordering::SeqCst);
            let now = self.now();
            let Some(next) = self.expire(now) else {
                self.sooner.notified().await;
                continue;
            };
            let next = next.max(now.saturating_add(DEADLINE_SLACK));
            self.next_look_ns.store(as_ns(next), Ordering::SeqCst);
            tokio::select! {
                // Both arms are cancel safe.
                () = tokio::time::sleep(next.saturating_sub(now)) => {}
                () = self.sooner.notified() => {}
            }
        }
    }

    /// Ends the calls whose deadline has passed; says when to look again.
    fn expire(&self, now: Duration) -> Option<Duration> {
        let mut next = self.resting.wake(now);
        for place in &self.places {
            for (n, lane) in place.lanes().iter().enumerate() {
                let expiry = lane.expire(now);
                if expiry.silent {
                    place.give_up(n);
                }
                next = [next, expiry.next].into_iter().flatten().min();
            }
        }
        next
    }
}

fn as_ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
