//! Who waits, under `shuttle`: many schedules of waits, watermarks and waits that are given up. A
//! schedule in which somebody waits for ever ends as a deadlock.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use shuttle::sync::Mutex;
use shuttle::{future, thread};

use crate::replication::waiters::Guarded;
use crate::replication::{Goal, Marks, Queue, Waiters};

struct Shuttled<T>(Mutex<T>);

impl<T: Send> Guarded<T> for Shuttled<T> {
    fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap())
    }
}

type Shared = Arc<Waiters<Shuttled<Queue>>>;

async fn waits(waiters: Shared, ticket: u64, goal: Goal) {
    waiters.reached(ticket, goal).await;
    assert!(waiters.marks().of(goal) >= ticket, "released too early");
}

/// Looks at the wait once or twice, and goes away.
async fn gives_up(waiters: Shared, ticket: u64, looks: usize) {
    let mut reached = Box::pin(waiters.reached(ticket, Goal::Appended));
    for _ in 0..looks {
        poll_fn(|cx| Poll::Ready(reached.as_mut().poll(cx).is_ready())).await;
        future::yield_now().await;
    }
}

fn explore(scenario: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(scenario.clone(), 2000);
    shuttle::check_pct(scenario, 2000, 3);
}

#[test]
fn every_wait_ends_once_its_mark_is_reached_and_none_before() {
    explore(|| {
        let waiters: Shared = Arc::new(Waiters::new());
        let tasks = [
            (1, Goal::Appended),
            (2, Goal::Synced),
            (2, Goal::Appended),
            (3, Goal::Appended),
        ];
        let threads = tasks.map(|(ticket, goal)| {
            let waiters = Arc::clone(&waiters);
            thread::spawn(move || {
                let other = future::spawn(gives_up(Arc::clone(&waiters), ticket, 2));
                future::block_on(waits(waiters, ticket, goal));
                future::block_on(other).unwrap();
            })
        });
        let publishers = [(2, 1), (1, 0), (3, 3)].map(|(appended, synced)| {
            let waiters = Arc::clone(&waiters);
            thread::spawn(move || waiters.publish(Marks { appended, synced }, &mut Vec::new()))
        });
        for it in publishers {
            it.join().unwrap();
        }
        for it in threads {
            it.join().unwrap();
        }
        assert!(!waiters.is_waited_for(Goal::Appended) && !waiters.is_waited_for(Goal::Synced));
    });
}
