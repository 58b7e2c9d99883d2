//! Slots as the engine carries out what is decided about them: served, frozen, installed, dropped.
//!
//! What may be done when is the ownership's to decide; here each step is made durable and then true
//! in the table, in the order that a crash in between leaves nothing that may be served.

use super::engine::Engine;
use crate::limiter::codec::quarantine_row;
use crate::limiter::installed::{Installed, SlotMark};
use crate::limiter::positions;
use crate::limiter::table::{LoadError, NotInstalled, Prepared, StoredRows, Table};
use crate::limiter::transfer::{CHUNK_BYTES_MAX, Row};
use crate::storage::checkpoint::POSITIONS;
use crate::storage::fence::StorageFailed;
use crate::storage::replace;
use crate::storage::store::{SlotInstall, Store, StoreError};
use crate::types::{Epoch, Position, Slot, SlotSet, SlotTime, StateId};

/// A slot whose state is to be installed.
#[derive(Debug)]
pub(crate) struct Installation {
    /// Which slot.
    pub(crate) slot: Slot,
    /// The commits of the epoch that are part of its state.
    pub(crate) n: u64,
    /// Written with it.
    pub(crate) register: Vec<u8>,
    /// The highest slot time that the state has seen.
    pub(crate) clock: SlotTime,
    /// The state.
    pub(crate) state: NewState,
}

/// Where the state of an [`Installation`] comes from.
#[derive(Debug)]
pub(crate) enum NewState {
    /// It is here.
    Own,
    /// These rows are all of it.
    Rows(Vec<Row>),
    /// Nobody has it: it is empty, and all its keys are denied for one window.
    Lost,
}

/// Why slots were not installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    /// The node is fenced off.
    #[error(transparent)]
    Storage(#[from] StorageFailed),
    /// Rows cannot be taken in. Nothing has changed.
    #[error("the rows of slot {slot} cannot be taken in")]
    Rows {
        /// Of which slot.
        slot: Slot,
        /// Why.
        #[source]
        source: LoadError,
    },
}

impl Engine {
    /// Stops granting in these slots at once, then commits and syncs what was granted. Of each slot
    /// it says how far its state is and the highest slot time that it has seen. A slot that is not
    /// served is just reported.
    ///
    /// # Errors
    /// [`StorageFailed`]; the slots stay frozen.
    pub(crate) async fn freeze(
        &self,
        slots: &SlotSet,
    ) -> Result<Vec<(Slot, Position, SlotTime)>, StorageFailed> {
        let now = self.now();
        let since = self.quarantined(now);
        for slot in slots.iter() {
            // Whoever gets the state must deny its keys as this node would have.
            if let Some(since) = since {
                let ago_ms = now.ms_since(since);
                let since = self.table.slot_now(slot, now).minus_ms(ago_ms);
                self.table.quarantine_slot(slot, since);
            }
        }
        self.table.freeze(slots, now);
        self.committer.flush().await?;
        let report = |slot| {
            let at = self.table.position(slot);
            (slot, at, self.table.slot_now(slot, now))
        };
        Ok(slots.iter().map(report).collect())
    }

    /// Makes these states the node's own at `(epoch, n)`, each replacing all that was here of its
    /// slot, written and synced with its register. Each slot is installed whole or not at all, also
    /// by a crash. They are served once [`Engine::serve`] says so. Blocks.
    ///
    /// Whoever owned the slots before has stopped by the time this is called: their clocks run on
    /// from here.
    ///
    /// # Errors
    /// [`InstallError`].
    pub(crate) fn install(
        &self,
        epoch: Epoch,
        slots: Vec<Installation>,
    ) -> Result<(), InstallError> {
        let now = self.now();
        let mut writes = Vec::with_capacity(slots.len());
        let mut taken_in = Vec::with_capacity(slots.len());
        for installation in slots {
            // The rows of one state must not be judged by the clock of another.
            self.table.unfollow(installation.slot);
            let (write, prepared, installed) = self.prepare(epoch, now, installation)?;
            taken_in.push((write.slot, prepared, installed));
            writes.push(write);
        }
        let storage = (&*self.store, &self.row_turn, &*self.fence);
        replace::install(storage, &writes, || {
            for (slot, prepared, installed) in taken_in {
                match prepared {
                    Some(prepared) => self.table.install(prepared, &installed),
                    None => self.table.install_own(slot, &installed),
                }
            }
        })?;
        Ok(())
    }

    fn prepare(
        &self,
        epoch: Epoch,
        now: SlotTime,
        installation: Installation,
    ) -> Result<(SlotInstall, Option<Prepared>, Installed), InstallError> {
        let Installation {
            slot,
            n,
            register,
            clock,
            state,
        } = installation;
        let rows = match state {
            NewState::Own if self.table.holds(slot) => None,
            NewState::Own => Some(Vec::new()),
            NewState::Rows(rows) => Some(rows),
            NewState::Lost => {
                let id = StateId::first_of(slot);
                Some(vec![(id, quarantine_row(id, clock))])
            }
        };
        let prepared = rows.as_deref().map(|rows| self.table.prepare(slot, rows));
        let prepared = prepared
            .transpose()
            .map_err(|source| InstallError::Rows { slot, source })?;
        let at = Position { epoch, n };
        let longest = prepared.as_ref().map_or(0, Prepared::longest_window_ms);
        self.expect_window(longest)?;
        let installed = if rows.is_some() {
            self.table.mark(at, at, clock, now)
        } else {
            let committed = self.committer.committed();
            self.table.mark_of_own((slot, at), committed, clock, now)
        };
        // In memory only, the table holds them all.
        let rows = rows.map(|rows| if self.about.keeps { rows } else { Vec::new() });
        let write = SlotInstall {
            slot,
            register,
            mark: SlotMark::Installed(installed).encode(),
            rows,
        };
        Ok((write, prepared, installed))
    }

    /// Serves slots that were installed at these epochs.
    ///
    /// # Errors
    /// [`NotInstalled`] for the first that was not, or was frozen since; the others are served.
    pub(crate) fn serve(&self, slots: &[(Slot, Epoch)]) -> Result<(), NotInstalled> {
        let served = slots.iter();
        let served = served.map(|(slot, epoch)| self.table.serve(*slot, *epoch));
        served.fold(Ok(()), Result::and)
    }

    /// Deletes all that there is of these slots but their registers. Blocks.
    ///
    /// # Errors
    /// [`StorageFailed`].
    pub(crate) fn drop_slots(&self, slots: &SlotSet) -> Result<(), StorageFailed> {
        self.table.freeze(slots, self.now());
        let storage = (&*self.store, &self.row_turn, &*self.fence);
        let mark = SlotMark::Dropped.encode();
        replace::drop_slots(storage, (slots, &mark), || {
            slots.iter().for_each(|slot| self.table.drop_slot(slot));
        })
    }

    /// The rows behind the table, for copies of slots.
    pub(crate) fn stored_rows(&self) -> Stored<'_> {
        Stored(&*self.store)
    }

    /// What a node does whose slots nobody else may own: it serves all that it holds, by right of
    /// having been started, at an epoch above all that it ever had.
    ///
    /// A node of a cluster runs the ownership's procedure instead.
    pub(super) fn serve_alone(&self) {
        let counter = self.table.highest_counter().saturating_add(1);
        let epoch = Epoch {
            counter: counter.max(self.about.boots),
            node: self.about.node,
        };
        for slot in self.table.held().iter() {
            self.table.serve_own(slot, epoch);
        }
    }
}

/// Takes the slots for the node's own whose marks say so, or that have none, and how far they are.
pub(super) fn hold(table: &Table, store: &dyn Store) -> Result<(), StoreError> {
    let mut marks = store.slot_marks()?.into_iter().peekable();
    for slot in Slot::all() {
        let Some((_, mark)) = marks.next_if(|(of, _)| *of == slot) else {
            table.hold_since_ever(slot);
            continue;
        };
        match SlotMark::decode(&mark) {
            Ok(SlotMark::Installed(installed)) => table.hold(slot, &installed),
            Ok(SlotMark::Dropped) => {}
            Err(_) => {
                let name = format!("slot/{slot}");
                return Err(StoreError::MetaUnreadable { name });
            }
        }
    }
    let stored = store.meta(POSITIONS)?.unwrap_or_default();
    let stored = Some(stored).filter(|stored| !stored.is_empty());
    let positions = stored.map(|stored| positions::decode(&stored)).transpose();
    let positions = positions.map_err(|_| StoreError::MetaUnreadable {
        name: POSITIONS.to_owned(),
    })?;
    for (slot, at, clock) in positions.into_iter().flatten() {
        table.restore(slot, at, clock);
    }
    Ok(())
}

/// See [`Engine::stored_rows`].
pub(crate) struct Stored<'a>(&'a dyn Store);

impl StoredRows for Stored<'_> {
    type Error = StoreError;

    fn row(&self, id: StateId) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.state(id)
    }

    fn rows(&self, slot: Slot, after: Option<StateId>) -> Result<Vec<Row>, StoreError> {
        self.0.slot_rows(slot, after, CHUNK_BYTES_MAX)
    }
}

impl std::fmt::Debug for Stored<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stored").finish_non_exhaustive()
    }
}
