//! The store in memory: the model that RocksDB is held against, and what a limiter without a
//! directory runs on.
//!
//! It knows which writes have been synced, so a test can let the process die (`kill`)
//! or the power fail (`power_loss`) and go on with what would be left. It can fail
//! any write or sync. A [`MemoryStore::volatile`] one keeps no journal and no history.

mod image;

use std::fmt;

use parking_lot::Mutex;
#[cfg(test)]
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use image::{Image, Write};

use super::meta;
use super::store::{Found, Operation, Scan, SlotInstall, StateRow, Store, StoreError, writes_of};
use super::watermark::{BootId, Mark};
use crate::types::{Slot, SlotSet, StateId};

/// A store that lives as long as its process, or as a test wants it to.
pub(crate) struct MemoryStore {
    found: Found,
    keeps_journal: bool,
    disk: Mutex<Disk>,
}

/// What the machine holds.
#[derive(Debug, Default)]
struct Disk {
    /// What survives power loss for certain.
    synced: Image,
    /// What was written since; a power loss leaves a prefix of it.
    unsynced: Vec<Write>,
    /// Both together: what reads see.
    current: Image,
    mark: Option<Mark>,
    closed: bool,
    /// Writes and syncs to come until the one that fails, itself included; 0 for never.
    writes_to_failure: u64,
    syncs_to_failure: u64,
}

impl MemoryStore {
    /// An empty store that keeps everything it is given.
    pub(crate) fn new() -> Self {
        Self::holding(Image::default(), None, BootId::default(), true)
    }

    /// An empty store for a limiter that is lost with its process: it takes commits but forgets
    /// them, so that it never grows with the traffic.
    pub(crate) fn volatile() -> Self {
        let mut store = Self::new();
        store.keeps_journal = false;
        store
    }

    /// The store that a new process finds after this one was killed: all writes are there.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn kill(&self) -> Self {
        let mut disk = self.disk.lock();
        disk.closed = true;
        Self::holding(disk.current.clone(), disk.mark, self.found.boot, false)
    }

    /// The store that is found after a power loss: all that was synced, and of the other writes a
    /// prefix that `seed` chooses.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn power_loss(&self, seed: u64) -> Self {
        let mut disk = self.disk.lock();
        disk.closed = true;
        let kept = StdRng::seed_from_u64(seed).random_range(0..=disk.unsynced.len());
        let mut image = disk.synced.clone();
        for write in disk.unsynced.iter().take(kept) {
            image.apply(write.clone());
        }
        let boot = BootId(self.found.boot.0.wrapping_add(1));
        Self::holding(image, disk.mark, boot, false)
    }

    /// Lets the `nth` write from now on fail; 1 is the next.
    #[cfg(test)]
    pub(crate) fn fail_write(&self, nth: u64) {
        self.disk.lock().writes_to_failure = nth;
    }

    /// Lets the `nth` sync from now on fail; 1 is the next.
    #[cfg(test)]
    pub(crate) fn fail_sync(&self, nth: u64) {
        self.disk.lock().syncs_to_failure = nth;
    }

    /// The watermark as it is now.
    #[cfg(test)]
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.disk.lock().mark
    }

    fn holding(image: Image, mark: Option<Mark>, boot: BootId, created: bool) -> Self {
        let disk = Disk {
            synced: image.clone(),
            current: image,
            mark,
            ..Disk::default()
        };
        Self {
            found: Found {
                created,
                mark,
                boot,
                salvaged: false,
            },
            keeps_journal: true,
            disk: Mutex::new(disk),
        }
    }

    fn write(&self, operation: Operation, write: Write) -> Result<(), StoreError> {
        let mut disk = self.disk.lock();
        disk.check_open()?;
        if counts_down_to_zero(&mut disk.writes_to_failure) {
            return Err(injected(operation));
        }
        disk.current.apply(write.clone());
        if self.keeps_journal {
            disk.unsynced.push(write);
        }
        Ok(())
    }

    fn read<T>(&self, read: impl FnOnce(&Image) -> T) -> Result<T, StoreError> {
        let disk = self.disk.lock();
        disk.check_open()?;
        Ok(read(&disk.current))
    }

    fn put_values(&self, prefix: &str, values: &[(Slot, Vec<u8>)]) -> Result<(), StoreError> {
        let named = values.iter();
        let named = named.map(|(slot, value)| (meta::slot_name(prefix, *slot), value.clone()));
        self.write(Operation::PutMeta, Write::Metas(named.collect()))?;
        self.sync_as(Operation::PutMeta)
    }

    fn sync_as(&self, operation: Operation) -> Result<(), StoreError> {
        let mut disk = self.disk.lock();
        disk.check_open()?;
        if counts_down_to_zero(&mut disk.syncs_to_failure) {
            return Err(injected(operation));
        }
        for write in std::mem::take(&mut disk.unsynced) {
            disk.synced.apply(write);
        }
        Ok(())
    }
}

impl Disk {
    fn check_open(&self) -> Result<(), StoreError> {
        if self.closed {
            return Err(StoreError::Closed);
        }
        Ok(())
    }
}

/// True for the call that brings `left` from 1 to 0.
fn counts_down_to_zero(left: &mut u64) -> bool {
    let fails = *left == 1;
    *left = left.saturating_sub(1);
    fails
}

fn injected(operation: Operation) -> StoreError {
    StoreError::Failed {
        operation,
        source: "injected by a test".into(),
    }
}

impl Store for MemoryStore {
    fn found(&self) -> Found {
        self.found
    }

    fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|image| image.meta.get(name).cloned())
    }

    fn put_meta(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        let write = Write::Meta(name.to_owned(), value.to_vec());
        self.write(Operation::PutMeta, write)?;
        self.sync_as(Operation::PutMeta)
    }

    fn append_commit(&self, number: u64, record: &[u8]) -> Result<(), StoreError> {
        if !self.keeps_journal {
            return Ok(());
        }
        self.write(Operation::Append, Write::Commit(number, record.to_vec()))
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.sync_as(Operation::Sync)
    }

    fn put_states(&self, rows: &[StateRow]) -> Result<(), StoreError> {
        self.write(Operation::PutStates, Write::States(rows.to_vec()))
    }

    fn state(&self, id: StateId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|image| image.states.get(&id).cloned())
    }

    fn surely_lacks(&self, id: StateId) -> bool {
        self.read(|image| !image.states.contains_key(&id))
            .unwrap_or(false)
    }

    fn put_registers(&self, registers: &[(Slot, Vec<u8>)]) -> Result<(), StoreError> {
        self.put_values(meta::REGISTER, registers)
    }

    fn registers(&self) -> Result<Vec<(Slot, Vec<u8>)>, StoreError> {
        self.read(|image| image.of_slots(meta::REGISTER))
    }

    fn slot_marks(&self) -> Result<Vec<(Slot, Vec<u8>)>, StoreError> {
        self.read(|image| image.of_slots(meta::SLOT))
    }

    fn put_marks(&self, marks: &[(Slot, Vec<u8>)]) -> Result<(), StoreError> {
        self.put_values(meta::SLOT, marks)
    }

    fn install(&self, slots: &[SlotInstall]) -> Result<(), StoreError> {
        for slots in writes_of(slots) {
            self.write(Operation::ReplaceSlots, Write::Install(slots.to_vec()))?;
        }
        self.sync_as(Operation::ReplaceSlots)
    }

    fn drop_slots(&self, slots: &SlotSet, mark: &[u8]) -> Result<(), StoreError> {
        let write = Write::DropSlots(Box::new(slots.clone()), mark.to_vec());
        self.write(Operation::ReplaceSlots, write)?;
        self.sync_as(Operation::ReplaceSlots)
    }

    fn slot_rows(
        &self,
        slot: Slot,
        after: Option<StateId>,
        bytes_max: usize,
    ) -> Result<Vec<StateRow>, StoreError> {
        self.read(|image| image.slot_rows(slot, after, bytes_max))
    }

    fn scan_states(
        &self,
        visit: &mut dyn FnMut(StateId, &[u8]),
    ) -> Result<Scan<StateId>, StoreError> {
        let states = self.read(|image| image.states.clone())?;
        for (id, row) in &states {
            visit(*id, row);
        }
        Ok(Scan::Whole)
    }

    fn scan_journal(&self, visit: &mut dyn FnMut(u64, &[u8])) -> Result<Scan<u64>, StoreError> {
        let journal = self.read(|image| image.journal.clone())?;
        for (number, record) in &journal {
            visit(*number, record);
        }
        Ok(Scan::Whole)
    }

    fn drop_journal(&self, through: u64) -> Result<(), StoreError> {
        if through <= self.journal_floor()? {
            return Ok(());
        }
        self.write(Operation::DropJournal, Write::Drop(through))?;
        self.sync_as(Operation::DropJournal)
    }

    fn journal_floor(&self) -> Result<u64, StoreError> {
        self.read(|image| image.floor)
    }

    fn mend_states(&self, rows: &[StateRow]) -> Result<(), StoreError> {
        self.write(Operation::Mend, Write::States(rows.to_vec()))?;
        self.sync_as(Operation::Mend)
    }

    fn mend_journal(&self) -> Result<(), StoreError> {
        self.sync_as(Operation::Mend)
    }

    fn put_mark(&self, synced: u64, clean: bool) -> Result<(), StoreError> {
        let mut disk = self.disk.lock();
        disk.check_open()?;
        if counts_down_to_zero(&mut disk.writes_to_failure) {
            return Err(injected(Operation::PutMark));
        }
        let boot = self.found.boot;
        disk.mark = Some(Mark {
            synced,
            clean,
            boot,
        });
        Ok(())
    }

    fn close(&self) -> Result<(), StoreError> {
        let synced = self.sync();
        self.disk.lock().closed = true;
        match synced {
            Err(StoreError::Closed) => Ok(()),
            synced => synced,
        }
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("found", &self.found)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
