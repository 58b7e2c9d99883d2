//! What the ticket protocol of [`super`] is made of: a stripe's lock, and the numbers behind the
//! open commit and the bitmap.
//!
//! In tests they are `tests::scheduled`: the same, but that `shuttle` decides who goes on
//! at each of them, where it runs the test.

#[cfg(not(test))]
pub(super) use parking_lot::{Mutex, MutexGuard};
#[cfg(not(test))]
pub(super) use std::sync::atomic::AtomicU64 as Word;

#[cfg(test)]
pub(super) use super::tests::scheduled::{Mutex, MutexGuard, Word};
