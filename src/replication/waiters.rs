//! Who waits until a commit is on a majority.
//!
//! The watermarks are raised under the lock, and a wait looks at them under the lock before it rests:
//! none is missed. The lock is a parameter, so that `shuttle` can run every line of it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use super::marks::{Goal, Marks};

/// A lock around a value; real ones and `shuttle`'s.
pub(crate) trait Guarded<T>: Send + Sync {
    /// A lock around `value`.
    fn new(value: T) -> Self;
    /// Runs `f` under the lock.
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R;
}

impl<T: Send> Guarded<T> for parking_lot::Mutex<T> {
    fn new(value: T) -> Self {
        Self::new(value)
    }

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.lock())
    }
}

/// All waits, by their tickets and the order in which they came. Bounded by the answers that wait.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    appended: BTreeMap<Place, Waker>,
    synced: BTreeMap<Place, Waker>,
    arrivals: u64,
}

/// A ticket, and a number that no other wait has.
type Place = (u64, u64);

/// The watermarks, and who waits for them.
pub(crate) struct Waiters<G> {
    /// Written under the lock only.
    appended: AtomicU64,
    /// Written under the lock only.
    synced: AtomicU64,
    queue: G,
}

/// The future of [`Waiters::reached`]. Cancel safe.
pub(crate) struct Reached<'a, G: Guarded<Queue>> {
    waiters: &'a Waiters<G>,
    ticket: u64,
    goal: Goal,
    place: Option<Place>,
}

impl<G: Guarded<Queue>> Waiters<G> {
    /// Nobody waits, and nothing is replicated.
    pub(crate) fn new() -> Self {
        Self {
            appended: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            queue: G::new(Queue::default()),
        }
    }

    /// The watermarks.
    pub(crate) fn marks(&self) -> Marks {
        Marks {
            appended: self.mark(Goal::Appended).load(Ordering::Acquire),
            synced: self.mark(Goal::Synced).load(Ordering::Acquire),
        }
    }

    /// Waits until the watermark of `goal` is at `ticket` or above.
    pub(crate) const fn reached(&self, ticket: u64, goal: Goal) -> Reached<'_, G> {
        Reached {
            waiters: self,
            ticket,
            goal,
            place: None,
        }
    }

    /// Raises the watermarks and wakes who waited for that. `wake` is scratch space.
    pub(crate) fn publish(&self, marks: Marks, wake: &mut Vec<Waker>) {
        let now = self.marks();
        if marks.appended <= now.appended && marks.synced <= now.synced {
            return;
        }
        self.queue.with(|queue| {
            for goal in [Goal::Appended, Goal::Synced] {
                let mark = marks.of(goal);
                self.mark(goal).fetch_max(mark, Ordering::AcqRel);
                let waits = queue.of(goal);
                while let Some(first) = waits.first_entry()
                    && first.key().0 <= mark
                {
                    wake.push(first.remove());
                }
            }
        });
        wake.drain(..).for_each(Waker::wake);
    }

    /// Whether somebody waits for `goal`.
    #[cfg(test)]
    pub(crate) fn is_waited_for(&self, goal: Goal) -> bool {
        self.queue.with(|queue| !queue.of(goal).is_empty())
    }

    fn is_over(&self, ticket: u64, goal: Goal) -> bool {
        self.mark(goal).load(Ordering::Acquire) >= ticket
    }

    const fn mark(&self, goal: Goal) -> &AtomicU64 {
        match goal {
            Goal::Appended => &self.appended,
            Goal::Synced => &self.synced,
        }
    }
}

impl Queue {
    const fn of(&mut self, goal: Goal) -> &mut BTreeMap<Place, Waker> {
        match goal {
            Goal::Appended => &mut self.appended,
            Goal::Synced => &mut self.synced,
        }
    }
}

impl<G: Guarded<Queue>> Reached<'_, G> {
    fn leave(&mut self) {
        if let Some(place) = self.place.take() {
            let goal = self.goal;
            // Dropped behind the lock: a waker may run anything.
            let waker = self
                .waiters
                .queue
                .with(|queue| queue.of(goal).remove(&place));
            drop(waker);
        }
    }
}

impl<G: Guarded<Queue>> Future for Reached<'_, G> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let (waiters, ticket, goal) = (self.waiters, self.ticket, self.goal);
        if !waiters.is_over(ticket, goal) {
            let waker = cx.waker().clone();
            let place = self.place;
            let place = waiters.queue.with(|queue| {
                if waiters.is_over(ticket, goal) {
                    return None;
                }
                let place = place.unwrap_or_else(|| {
                    queue.arrivals = queue.arrivals.wrapping_add(1);
                    (ticket, queue.arrivals)
                });
                Some((place, queue.of(goal).insert(place, waker)))
            });
            if let Some((place, _replaced)) = place {
                self.place = Some(place);
                return Poll::Pending;
            }
        }
        self.leave();
        Poll::Ready(())
    }
}

impl<G: Guarded<Queue>> Drop for Reached<'_, G> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<G: Guarded<Queue>> fmt::Debug for Waiters<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiters")
            .field("marks", &self.marks())
            .finish_non_exhaustive()
    }
}

impl<G: Guarded<Queue>> fmt::Debug for Reached<'_, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reached")
            .field("ticket", &self.ticket)
            .field("goal", &self.goal)
            .finish_non_exhaustive()
    }
}
