//! A distributed rate limiter that never lets more through than the limit: true sliding windows,
//! counts that outlive the process and move with their owner, over QUIC.
//!
//! This page is the map. It tells the way of one check, which room answers which question, and
//! what always holds. `README.md` tells how to use it.
//!
//! # Promises
//!
//! 1. **Never over-admits.** The permits granted to a key in *any* real interval as long as the
//!    window are at most the limit, through crashes, restarts, hand-offs, cut networks and retries.
//!    Over-counting is always safe, under-counting never: that settles most doubts about failures.
//! 2. **Wastes little.** At a steady rate above the limit at least 98 % of the limit is granted; a
//!    limit of at most 64 is exact to a millisecond.
//! 3. **Remembers.** A granted permit is kept as the policy's durability says before its answer
//!    leaves.
//! 4. **Always answers**, with a decision or a typed error, before the deadline.
//! 5. **Says what it did**: every decision carries its limit, what is left, when to come back, and
//!    who decided.
//!
//! # The way of a check
//!
//! 1. [`server`] reads all frames that are there, decodes them ([`protocol`]) and hands their
//!    checks on as one batch.
//! 2. The engine (`node/engine.rs`) finds each check's policy, hashes its key, and
//! 3. [`limiter`]'s table, for each, locks the key's stripe and, if its slot is served here, decides
//!    by the sliding window. What is granted is marked dirty and gets a *ticket*: the number of the
//!    commit it will be in. What is not served here is passed on to its owner (`node/forward`), as
//!    [`routing`]'s slot map names it, or waits a moment while its slot moves.
//!    A key that another node owns is passed on to it: [`routing`] says to whom, `node/forward` asks
//!    it over a connection of the [`client`]'s kind, and nobody passes it on again.
//! 4. [`storage`]'s committer sweeps all that is dirty into one commit record and writes it; the
//!    first task that waits does it for all.
//! 5. When the ticket's commit is kept as the policy asks, [`server`] sends the answers, many in
//!    one write. Denials wait for nothing.
//!
//! # The way of a grant with replicas
//!
//! Where a slot is on three nodes, a grant waits for one thing more than its own commit.
//! 1. The committer hands the commit record to `node/replication` before it writes it; the tracker
//!    ([`replication`]) says which peer gets which of its groups, and `node/links` sends them.
//! 2. The replica applies each group to its table if it is the next one of the reign that it follows,
//!    appends what it applied to its own journal as one record, and then acknowledges.
//! 3. The tracker counts: a commit is *replicated* when each of its slots is on a majority. The answer
//!    leaves when the ticket's commit is kept here and replicated; a slot that has had no majority for
//!    too long is left out, and what waits for it is told to be lost.
//!
//! A replica that lacks something is *behind*: it copies the slot while the owner goes on serving it
//! (`node/cluster/pull.rs`), applies what came meanwhile, and is then *in sync*. When an owner is
//! silent, a replica asks the others, and runs the procedure on its slots.
//!
//! # The way of a slot
//!
//! 1. [`membership`] says which nodes there are (the roster) and which answer (gossip); the ring
//!    ([`routing`]) says by that who *should* own each slot. Both are advice.
//! 2. [`ownership`] of a node that should own a slot runs the procedure *seal, install, accept* with
//!    the slot's owner: copy while it serves, freeze, fetch the rest, install, and serve once the
//!    old owner has accepted, synced, that it does not own the slot any more.
//! 3. `node/cluster` carries out what they want: one thread, one step after the other. The table and
//!    the store do the work, and every client that asked for routes is told of the new owner.
//!
//! # Rooms
//!
//! | room | question | kind |
//! |---|---|---|
//! | [`types`] | what are the words? | pure |
//! | [`protocol`] | what is said? | pure |
//! | [`server`] | how does a request come in? | edge |
//! | [`routing`] | whose is it? key to slot to owner; the ring | pure; its map has a lock |
//! | [`limiter`] | may it pass? | pure; its table has locks |
//! | [`storage`] | is it written? | edge |
//! | [`ownership`] | who may decide? | pure |
//! | [`replication`] | is it on enough nodes? | pure; who waits has a lock |
//! | [`membership`] | who is there? | pure |
//! | [`transport`] | QUIC endpoints, TLS, certificates, roles | edge |
//! | [`client`] | how do programs ask? | edge |
//! | [`config`] | what does the operator want? | edge |
//! | [`telemetry`] | what do logs show? | edge |
//! | [`node`] | the one place that knows every room, the clock, and all tasks | edge |
//! | [`testing`] | an in-process server for users' tests | edge |
//! | `sim` | does it hold when everything goes wrong? (tests, and the binary `simulator`) | pure |
//!
//! Pure rooms use [`types`] and nothing else of ours, no clock, socket, disk, thread or random
//! number: time comes in as an argument. Edges turn the outside into types and back. Edges do not
//! use each other, but for [`server`] and [`client`] using [`transport`]. A test keeps these rules
//! (`tests/it/tidy.rs`).
//!
//! # What always holds
//!
//! - One lock at a time: a stripe's. Nothing waits, writes or calls back under it.
//! - A state is changed only under its stripe's lock, and is then dirty until a commit took it.
//! - A ticket is read under the same lock, so the commit of that number, or an earlier one, holds
//!   the change.
//! - A slot is served only under an epoch that its register, synced, has chosen, and never again
//!   once a higher one was promised.
//! - A row in the store is never newer than the journal behind it lets it be: the journal is
//!   dropped only up to the commit that was complete before the checkpoint began.
//! - What another node has committed is in the table before it is in the journal, so that this holds
//!   of it too (`limiter/table/follow.rs`).
//! - How far a slot is said to be after a restart is never more than the store has of it.
//!
//! # Reading order
//!
//! `limiter/window.rs`, `limiter/key_state`, `limiter/table/mod.rs`, `storage/committer.rs`,
//! `node/engine.rs`, `server/round.rs`; then `ownership/mod.rs`, `ownership/attempt.rs`,
//! `node/cluster/control.rs`, `node/forward/checks.rs`.

pub mod client;
#[cfg(feature = "server")]
pub mod config;
#[cfg(all(feature = "internals", feature = "server"))]
#[doc(hidden)]
pub mod internals;
pub mod limiter;
#[cfg(feature = "server")]
mod membership;
#[cfg(feature = "server")]
pub mod node;
#[cfg(feature = "server")]
mod ownership;
mod protocol;
#[cfg(feature = "server")]
mod replication;
mod routing;
#[cfg(feature = "server")]
mod server;
#[cfg(all(feature = "server", any(test, feature = "internals")))]
mod sim;
#[cfg(feature = "server")]
mod storage;
#[cfg(feature = "server")]
pub mod telemetry;
#[cfg(feature = "server")]
pub mod testing;
pub mod transport;
mod types;

pub use protocol::error::WireError;
pub use types::{
    Decision, Grant, KEY_BYTES_MAX, KeyError, MonoTime, ReservationId, SlotTime, Source,
};

/// The programs that the README shows, compiled by the documentation tests.
#[cfg(all(doctest, feature = "server"))]
#[doc = include_str!("../README.md")]
struct Readme;
