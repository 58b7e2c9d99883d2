//! The buckets of up to four limits: in 40 bytes while they are few; when they are not, as a run
//! with a ring if they are one limit's, else in one vector.
//!
//! Only a container: it keeps each limit's buckets in order of start and none with zero permits.
//! What they mean is [`super::window`]'s and [`super::key_state`]'s.

#![expect(
    clippy::inline_always,
    reason = "they are part of the one run of code that is a check under a single limit"
)]

mod cell;
mod edit;
mod list;
mod lists;
mod run;
#[cfg(test)]
mod tests;

pub(super) use lists::BucketLists;
