//! Group commit under `shuttle`: many schedules of threads that decide, commit, sync and give up.
//!
//! The journal and the sync thread are models. The real [`Table`] decides, marks its stripes, gives
//! out tickets and packs commits, and who waits and whose turn it is are the real [`Tickets`]. A
//! schedule in which somebody waits for ever ends as a deadlock.
//!
//! Each of these changes of the table's order was tried and is found: the ticket read before the
//! stripe is locked; the ticket read before the stripe is marked; the marks read before the number
//! is raised; a stripe's mark cleared after it was swept.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::sync::{Condvar, Mutex};
use shuttle::{future, thread};

use crate::limiter::SlotClocks;
use crate::limiter::commit_record;
use crate::limiter::policy::{Limit, Limits};
use crate::limiter::shape::{Shape, ShapeId};
use crate::limiter::table::{Asked, Capacity, Outcome, Table};
use crate::storage::fence::StorageFailed;
use crate::storage::tickets::{Goal, Guarded, Places, Tickets, Turn};
use crate::types::{Epoch, NodeId, Slot, SlotTime, StateId};

/// All that is decided is decided at this time, so that a state has one bucket.
const NOW: SlotTime = SlotTime::from_ms(1000);

/// More than is ever asked for.
const PERMITS: u64 = 1000;

/// Slots of three stripes, two of which share a word of the bitmap.
const SLOTS: [u16; 3] = [3, 16, 3000];

struct Shuttled<T>(Mutex<T>);

impl<T: Send> Guarded<T> for Shuttled<T> {
    fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap())
    }
}

/// A state and its permits, by what a decision counted or a commit wrote.
type Count = (StateId, u64);

/// Changes are dirty, then appended, then synced.
struct World {
    table: Table,
    limits: Limits,
    shape: ShapeId,
    /// What the commits wrote, in order.
    journal: Mutex<Vec<Count>>,
    /// The next commit, as far as is known outside of the table.
    commits: AtomicU64,
    synced: Mutex<usize>,
    tickets: Tickets<Shuttled<Places>>,
    calls: Arc<Calls>,
    fail_commit: Option<u64>,
}

/// What the sync thread is told.
#[derive(Default)]
struct Calls {
    pending: Mutex<(bool, bool)>,
    called: Condvar,
}

impl Calls {
    fn ask(&self) {
        self.pending.lock().unwrap().0 = true;
        self.called.notify_one();
    }

    fn stop(&self) {
        self.pending.lock().unwrap().1 = true;
        self.called.notify_one();
    }

    /// Waits for a call; false when told to stop.
    fn next(&self) -> bool {
        let mut pending = self.pending.lock().unwrap();
        while *pending == (false, false) {
            pending = self.called.wait(pending).unwrap();
        }
        let stopped = pending.1;
        pending.0 = false;
        !stopped
    }
}

impl World {
    fn new(fail_commit: Option<u64>) -> Arc<Self> {
        let calls = Arc::new(Calls::default());
        let ask = Arc::clone(&calls);
        let limits = Limits::new(vec![Limit::new(PERMITS, 60_000).unwrap()]).unwrap();
        let table = table();
        let shape = table.shapes.intern(Shape::of(&limits)).unwrap();
        Arc::new(Self {
            table,
            limits,
            shape,
            journal: Mutex::default(),
            commits: AtomicU64::new(1),
            synced: Mutex::default(),
            tickets: Tickets::new(0, Box::new(move || ask.ask())),
            calls,
            fail_commit,
        })
    }

    /// Has the table count `change`; the state's count with it, and the ticket.
    fn decide(&self, change: u64) -> (Count, u64) {
        let id = state_of(change);
        let asked = Asked {
            id,
            limits: &self.limits,
            shape: self.shape,
            cost: 1,
            journaled: true,
            absent_at: None,
        };
        let outcome = match self.table.check_near(NOW, &asked) {
            Some(outcome) => outcome,
            None => self.table.check(NOW, &asked),
        };
        let Outcome::Decided {
            verdict,
            ticket: Some(ticket),
            ..
        } = outcome
        else {
            panic!("{outcome:?}");
        };
        ((id, PERMITS - verdict.remaining), ticket)
    }

    fn commit(&self, turn: Turn<'_, Shuttled<Places>>) -> Result<(), StorageFailed> {
        let mut record = Vec::new();
        let taken = self.table.take_commit(NOW, &mut record);
        self.commits.store(taken.number + 1, Ordering::SeqCst);
        if self.fail_commit.is_some_and(|first| taken.number >= first) {
            self.tickets.close();
            return Err(StorageFailed);
        }
        let mut journal = self.journal.lock().unwrap();
        let read = commit_record::read(&record, |entry| {
            let permits = entry.state.buckets.all().iter();
            journal.push((entry.id, permits.map(|bucket| bucket.permits).sum()));
        });
        drop(journal);
        assert_eq!(read.unwrap().number, taken.number);
        turn.end(taken.number, &mut Vec::new());
        Ok(())
    }

    fn sync_until_stopped(&self) {
        while self.calls.next() {
            let committed = self.tickets.committed();
            let length = self.journal.lock().unwrap().len();
            *self.synced.lock().unwrap() = length;
            self.tickets.publish_synced(committed, &mut Vec::new());
        }
    }

    async fn kept(&self, ticket: u64, goal: Goal) -> Result<(), StorageFailed> {
        self.tickets
            .kept(ticket, goal, |turn| self.commit(turn))
            .await
    }

    /// Decides `change`, waits for it, and demands that it is kept once the wait is over.
    async fn check(&self, change: u64, goal: Goal) -> Result<(), StorageFailed> {
        let ((id, count), ticket) = self.decide(change);
        self.kept(ticket, goal).await?;
        let length = match goal {
            Goal::Committed => usize::MAX,
            Goal::Synced => *self.synced.lock().unwrap(),
        };
        let journal = self.journal.lock().unwrap();
        let mut kept = journal.iter().take(length);
        let kept = kept.any(|&(of, permits)| of == id && permits >= count);
        assert!(
            kept,
            "answer {change} was released before its change was kept for {goal:?}"
        );
        Ok(())
    }

    /// Decides `change`, looks at the wait `looks` times, and goes away.
    async fn give_up(&self, change: u64, goal: Goal, looks: usize) {
        let (_, ticket) = self.decide(change);
        let mut kept = Box::pin(self.kept(ticket, goal));
        for _ in 0..looks {
            let over = poll_fn(|cx| Poll::Ready(kept.as_mut().poll(cx).is_ready())).await;
            if over {
                return;
            }
            future::yield_now().await;
        }
    }
}

/// A table that serves [`SLOTS`].
fn table() -> Table {
    let capacity = Capacity {
        keys_max: 100,
        bytes_max: u64::MAX,
        evicts: true,
    };
    let table = Table::new(capacity, 1, NodeId(1), Arc::new(SlotClocks::default()));
    let epoch = Epoch {
        counter: 1,
        node: NodeId(1),
    };
    for slot in SLOTS.map(|number| Slot::new(number).unwrap()) {
        table.hold_since_ever(slot);
        table.serve_own(slot, epoch);
    }
    table
}

/// The state that a change counts in: two of each three changes have one of their own.
fn state_of(change: u64) -> StateId {
    let slot = SLOTS[usize::try_from(change).unwrap() % SLOTS.len()];
    let first = StateId::first_of(Slot::new(slot).unwrap());
    StateId(first.0 + u128::from(change % 2))
}

/// Runs `tasks` on two threads of their own, or more, and the sync thread beside them.
fn run<F>(world: &Arc<World>, tasks: Vec<Vec<F>>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let syncer = {
        let world = Arc::clone(world);
        thread::spawn(move || world.sync_until_stopped())
    };
    let threads: Vec<_> = tasks
        .into_iter()
        .map(|tasks| {
            thread::spawn(move || {
                let spawned: Vec<_> = tasks.into_iter().map(future::spawn).collect();
                for task in spawned {
                    future::block_on(task).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    world.calls.stop();
    syncer.join().unwrap();
}

type Task = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

fn checks(world: &Arc<World>, change: u64, goal: Goal) -> Task {
    let world = Arc::clone(world);
    Box::pin(async move { world.check(change, goal).await.unwrap() })
}

fn gives_up(world: &Arc<World>, change: u64, goal: Goal, looks: usize) -> Task {
    let world = Arc::clone(world);
    Box::pin(async move { world.give_up(change, goal, looks).await })
}

fn explore(scenario: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(scenario.clone(), 3000);
    shuttle::check_pct(scenario, 3000, 3);
}

#[test]
fn no_answer_is_released_before_its_change_is_kept_and_nobody_waits_for_ever() {
    explore(|| {
        let world = World::new(None);
        let tasks = vec![
            vec![
                checks(&world, 0, Goal::Committed),
                checks(&world, 1, Goal::Synced),
            ],
            vec![
                checks(&world, 2, Goal::Committed),
                checks(&world, 3, Goal::Committed),
            ],
            vec![checks(&world, 4, Goal::Synced)],
        ];
        run(&world, tasks);
    });
}

#[test]
fn waits_that_are_given_up_strand_nobody() {
    explore(|| {
        let world = World::new(None);
        let tasks = vec![
            vec![
                gives_up(&world, 0, Goal::Committed, 1),
                checks(&world, 1, Goal::Committed),
            ],
            vec![
                gives_up(&world, 2, Goal::Synced, 2),
                checks(&world, 3, Goal::Synced),
            ],
            vec![
                gives_up(&world, 4, Goal::Committed, 3),
                checks(&world, 5, Goal::Committed),
            ],
        ];
        run(&world, tasks);
    });
}

#[test]
fn after_a_failed_commit_every_wait_ends() {
    explore(|| {
        let world = World::new(Some(2));
        let task = |change, goal| -> Task {
            let world = Arc::clone(&world);
            Box::pin(async move {
                // Either it was kept, which `check` demands, or it failed.
                let ended = world.check(change, goal).await;
                assert!(ended.is_ok() || world.commits.load(Ordering::SeqCst) > 2);
            })
        };
        let tasks = vec![
            vec![task(0, Goal::Committed), task(1, Goal::Synced)],
            vec![task(2, Goal::Committed), task(3, Goal::Committed)],
            vec![
                task(4, Goal::Committed),
                gives_up(&world, 5, Goal::Committed, 1),
            ],
        ];
        run(&world, tasks);
    });
}
