//! A lock and a number that stop for `shuttle`'s scheduler before each use, so that it can run the
//! table's own code in any order. Outside of its runs they are just `parking_lot`'s and std's.

use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use shuttle::current::try_get_current_task;

fn is_scheduled() -> bool {
    try_get_current_task().is_some()
}

/// As `parking_lot::Mutex`.
#[derive(Debug, Default)]
pub(in crate::limiter::table) struct Mutex<T> {
    /// Taken first, so that the other is never waited for: all runs on one thread of the system.
    turn: shuttle::sync::Mutex<()>,
    value: parking_lot::Mutex<T>,
}

impl<T> Mutex<T> {
    pub(in crate::limiter::table) const fn new(value: T) -> Self {
        Self {
            turn: shuttle::sync::Mutex::new(()),
            value: parking_lot::Mutex::new(value),
        }
    }

    pub(in crate::limiter::table) fn lock(&self) -> MutexGuard<'_, T> {
        let turn = || self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = is_scheduled().then(turn);
        MutexGuard {
            value: self.value.lock(),
            _turn: turn,
        }
    }
}

/// As `parking_lot::MutexGuard`.
pub(in crate::limiter::table) struct MutexGuard<'a, T> {
    /// Given back first; see [`Mutex::turn`].
    value: parking_lot::MutexGuard<'a, T>,
    _turn: Option<shuttle::sync::MutexGuard<'a, ()>>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

/// As `std::sync::atomic::AtomicU64`.
#[derive(Debug, Default)]
pub(in crate::limiter::table) struct Word {
    value: std::sync::atomic::AtomicU64,
    /// Read for the scheduler to come in between.
    stop: shuttle::sync::atomic::AtomicBool,
}

impl Word {
    pub(in crate::limiter::table) fn new(value: u64) -> Self {
        Self {
            value: std::sync::atomic::AtomicU64::new(value),
            stop: shuttle::sync::atomic::AtomicBool::default(),
        }
    }

    fn stopped(&self) -> &std::sync::atomic::AtomicU64 {
        if is_scheduled() {
            self.stop.load(Ordering::SeqCst);
        }
        &self.value
    }

    pub(in crate::limiter::table) fn load(&self, order: Ordering) -> u64 {
        self.stopped().load(order)
    }

    pub(in crate::limiter::table) fn swap(&self, value: u64, order: Ordering) -> u64 {
        self.stopped().swap(value, order)
    }

    pub(in crate::limiter::table) fn fetch_or(&self, bits: u64, order: Ordering) -> u64 {
        self.stopped().fetch_or(bits, order)
    }

    pub(in crate::limiter::table) fn fetch_add(&self, more: u64, order: Ordering) -> u64 {
        self.stopped().fetch_add(more, order)
    }
}
