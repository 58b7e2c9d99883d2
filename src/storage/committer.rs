//! Group commit: who decided waits here until the commit that holds the change is kept.
//!
//! A decision takes its ticket under its stripe's lock. [`Committer::kept`] then returns once the
//! commit of that number is kept as the policy's durability says. The task that finds nobody
//! committing commits itself, after letting the other ready tasks decide first (one yield); what
//! they decided goes along. Tasks that come while a commit runs wait, and one of them commits next
//! (see [`super::tickets`]). Syncs have a thread of their own ([`super::syncer`]).
//!
//! Records of other nodes' commits ([`Replicated`]) queue up and are appended at the beginning of the
//! next turn, whoever has it, before its own commit: so neither waits for more than one turn, and
//! one sync serves both.
//!
//! The invariant: no answer that waits for `Process` is released before the record that holds its
//! change has been appended, none that waits for `Fsync` before it has been synced.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::Mutex;

use super::fence::{Fence, HalfWay, StorageFailed};
use super::record;
use super::replicated::{self, Queue, Replicated};
use super::store::{Operation, Store, StoreError};
use super::syncer::Syncer;
use super::tickets::{Goal, Places, Step, Tickets, Turn};
use super::timings::{Clock, Timed, Timings};
use crate::limiter::policy::Durability;

/// A commit record's buffer above this size is given back after use.
const RECORD_BYTES_KEPT: usize = 1 << 20;

/// The table: what has changed since the last commit.
pub(crate) trait CommitSource: Send + Sync + 'static {
    /// Closes the open commit: later tickets get a higher number. *Appends* to `record` all that
    /// changed under a ticket up to the closed number (and maybe more). Never called twice at once.
    fn take_commit(&self, record: &mut Vec<u8>) -> TakenCommit;

    /// A number for a record that is not the source's own. Tickets may carry it too, so whoever takes
    /// one calls [`CommitSource::take_commit`] before anything of either is published.
    fn take_number(&self) -> u64;
}

impl<C: CommitSource> CommitSource for Arc<C> {
    fn take_commit(&self, record: &mut Vec<u8>) -> TakenCommit {
        C::take_commit(self, record)
    }

    fn take_number(&self) -> u64 {
        C::take_number(self)
    }
}

/// What [`CommitSource::take_commit`] took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TakenCommit {
    /// Number of the commit.
    pub(crate) number: u64,
    /// Nothing had changed; the commit is not written.
    pub(crate) empty: bool,
}

/// Commits what the source holds, syncs it, and tells who waits.
pub(crate) struct Committer<C, S: ?Sized> {
    source: C,
    /// Taken out for use by the owner of the turn, never locked for long.
    buffer: Mutex<Buffer>,
    replicated: Queue,
    appended: AtomicU64,
    appended_bytes: AtomicU64,
    shared: Arc<Shared<S>>,
    /// Ends the sync thread when dropped.
    syncer: Mutex<Option<Syncer>>,
}

/// What the commits and the sync thread share.
pub(super) struct Shared<S: ?Sized> {
    pub(super) store: Arc<S>,
    pub(super) fence: Arc<Fence>,
    pub(super) tickets: Arc<Tickets<Mutex<Places>>>,
    /// Number of the last commit record that was written, empty commits left out.
    pub(super) written: AtomicU64,
    pub(super) timings: Timings,
}

#[derive(Debug, Default)]
struct Buffer {
    record: Vec<u8>,
    wake: Vec<Waker>,
}

impl<C: CommitSource, S: Store + ?Sized> Committer<C, S> {
    /// Starts to commit; the source's first number is above `recovered`, the last commit that
    /// recovery found. Marks the store as not cleanly closed, and starts the sync thread, which
    /// syncs at least every `sync_interval`. How long it all takes is measured by `clock`.
    ///
    /// # Errors
    /// [`StoreError`] if the watermark cannot be written or the thread cannot be started.
    pub(crate) fn start(
        source: C,
        store: Arc<S>,
        fence: Arc<Fence>,
        recovered: u64,
        sync_interval: Duration,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        store.put_mark(recovered, false)?;
        let (ask, asked): (Sender<()>, Receiver<()>) = bounded(1);
        let ask_sync = move || match ask.try_send(()) {
            // A full channel holds a request already; a closed one's thread has closed the fence.
            Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
        };
        let tickets = Arc::new(Tickets::new(recovered, Box::new(ask_sync)));
        let shared = Arc::new(Shared {
            store,
            fence,
            tickets: Arc::clone(&tickets),
            written: AtomicU64::new(recovered),
            timings: Timings::new(clock),
        });
        shared.fence.on_close(move || tickets.close());
        let syncer = Syncer::start(Arc::clone(&shared), asked, sync_interval)?;
        Ok(Self {
            source,
            buffer: Mutex::default(),
            replicated: Queue::default(),
            appended: AtomicU64::new(0),
            appended_bytes: AtomicU64::new(0),
            shared,
            syncer: Mutex::new(Some(syncer)),
        })
    }

    /// Resolves when the commit numbered `ticket` is kept as `durability` says. Cancel safe: what
    /// was decided is then kept by a later commit.
    ///
    /// # Errors
    /// [`StorageFailed`]; the change may or may not have been kept.
    pub(crate) async fn kept(
        &self,
        ticket: u64,
        durability: Durability,
    ) -> Result<(), StorageFailed> {
        let goal = match durability {
            Durability::None => return Ok(()),
            Durability::Process => Goal::Committed,
            Durability::Fsync => Goal::Synced,
        };
        self.shared.fence.check()?;
        let tickets = &self.shared.tickets;
        tickets.kept(ticket, goal, |turn| self.commit(turn)).await
    }

    /// Appends all that has changed or waits until now; the number of the commit.
    ///
    /// # Errors
    /// [`StorageFailed`].
    pub(crate) async fn commit_all(&self) -> Result<u64, StorageFailed> {
        let turn = self.turn().await?;
        self.commit(turn)?;
        Ok(self.committed())
    }

    /// Commits all that has changed until now and syncs it. For shutdown and admin requests.
    ///
    /// # Errors
    /// [`StorageFailed`].
    pub(crate) async fn flush(&self) -> Result<(), StorageFailed> {
        let turn = self.turn().await?;
        self.commit(turn)?;
        self.shared.sync()
    }

    /// Commits and syncs what is left, marks the store as cleanly closed, and ends the sync
    /// thread. Later waits fail unless their commit is kept already. The store itself stays open.
    ///
    /// # Errors
    /// [`StorageFailed`] if the fence is closed; the store is then not marked as clean.
    pub(crate) async fn close(&self) -> Result<(), StorageFailed> {
        let turn = self.turn().await?;
        let closed = self.append();
        // The turn is still out, so nothing is appended behind this commit.
        self.shared.tickets.close();
        let syncer = self.syncer.lock().take();
        drop(syncer);
        turn.end(closed?, &mut Vec::new());
        self.shared.sync()?;
        self.shared.put_mark(true)
    }

    /// Commits written since the start.
    pub(crate) fn commits(&self) -> u64 {
        self.appended.load(Ordering::Relaxed)
    }

    /// Bytes of commit records written since the start.
    pub(crate) fn bytes(&self) -> u64 {
        self.appended_bytes.load(Ordering::Relaxed)
    }

    /// How long commits took since the start.
    pub(crate) fn timings(&self) -> &Timings {
        &self.shared.timings
    }

    /// Number of the last commit that was appended.
    pub(crate) fn committed(&self) -> u64 {
        self.shared.tickets.committed()
    }

    /// Number of the last commit that was synced.
    pub(crate) fn synced(&self) -> u64 {
        self.shared.tickets.synced()
    }

    /// Where the changes come from.
    pub(crate) fn source(&self) -> &C {
        &self.source
    }

    async fn turn(&self) -> Result<Turn<'_, Mutex<Places>>, StorageFailed> {
        self.shared.fence.check()?;
        match self.shared.tickets.wait(u64::MAX, Goal::Committed).await? {
            Step::Turn(turn) => Ok(turn),
            // No commit reaches this ticket.
            Step::Kept => Err(StorageFailed),
        }
    }

    fn commit(&self, turn: Turn<'_, Mutex<Places>>) -> Result<(), StorageFailed> {
        let number = self.append()?;
        let mut wake = std::mem::take(&mut self.buffer.lock().wake);
        turn.end(number, &mut wake);
        self.buffer.lock().wake = wake;
        Ok(())
    }

    /// Has a record appended that is not the source's own, and that is in the table already; resolves
    /// when it is, with its number, for [`Committer::kept`]. It is in the queue when this returns, so
    /// records are appended in the order of the calls. Cancel safe: it is appended all the same.
    ///
    /// # Errors
    /// [`StorageFailed`]; it may or may not have been appended.
    pub(crate) fn append_replicated(
        &self,
        replicated: Box<dyn Replicated>,
    ) -> impl Future<Output = Result<u64, StorageFailed>> {
        let queued = self.replicated.push(replicated);
        async move {
            loop {
                self.shared.fence.check()?;
                if let Some(number) = queued.number() {
                    return Ok(number);
                }
                // A turn that began before it was in the queue may still end; the next takes it.
                let tickets = &self.shared.tickets;
                let next = tickets.committed().saturating_add(1);
                let turn = |turn| self.commit(turn);
                tickets.kept(next, Goal::Committed, turn).await?;
            }
        }
    }

    /// Appends what waits in the queue, then takes what has changed and appends it; the number of
    /// that commit. The caller has the turn.
    fn append(&self) -> Result<u64, StorageFailed> {
        self.shared.fence.check()?;
        let mut record = std::mem::take(&mut self.buffer.lock().record);
        let half_way = HalfWay::new(&self.shared.fence, Operation::Append);
        let appended = self.append_all(&mut record);
        half_way.done();
        let number = appended.map_err(|error| self.shared.fence.close(error))?;
        record.shrink_to(RECORD_BYTES_KEPT);
        self.buffer.lock().record = record;
        Ok(number)
    }

    fn append_all(&self, record: &mut Vec<u8>) -> Result<u64, StoreError> {
        let timings = &self.shared.timings;
        let (begun, before) = (timings.begin(), self.commits());
        let waiting = self.replicated.take();
        let mut waiting = &waiting[..];
        while let Some(((first, _), more)) = waiting.split_first() {
            let run = replicated::run(waiting);
            record::begin(record);
            let number = self.source.take_number();
            first.pack(
                number,
                more.get(..run.saturating_sub(1)).unwrap_or_default(),
                record,
            );
            self.append_one(number, record)?;
            let (appended, later) = waiting.split_at(run.min(waiting.len()));
            for (replicated, queued) in appended {
                replicated.appended();
                queued.set(number);
            }
            waiting = later;
        }
        record::begin(record);
        let taken = self.source.take_commit(record);
        if !taken.empty {
            self.append_one(taken.number, record)?;
        }
        if self.commits() != before {
            timings.done(Timed::Commit, begun);
        }
        Ok(taken.number)
    }

    fn append_one(&self, number: u64, record: &mut [u8]) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let previous = shared.written.load(Ordering::Relaxed);
        record::seal(record, number, previous);
        let begun = shared.timings.begin();
        shared.store.append_commit(number, record)?;
        shared.timings.done(Timed::Write, begun);
        shared.written.store(number, Ordering::Release);
        self.appended.fetch_add(1, Ordering::Relaxed);
        let bytes = u64::try_from(record.len()).unwrap_or(u64::MAX);
        self.appended_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl<C, S: ?Sized> fmt::Debug for Committer<C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committer")
            .field("tickets", &self.shared.tickets)
            .finish_non_exhaustive()
    }
}
