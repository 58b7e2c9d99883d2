//! Slots that other nodes own, as the engine follows them: their commits taken in and journaled, and
//! their states made those of a new reign.
//!
//! What may be followed when is the ownership's to decide. What is acknowledged when is the links':
//! what [`Engine::take_in`] has taken in counts for a majority once it is kept.

use super::engine::Engine;
use super::journal::Journal;
use crate::limiter::commit_record::{Group, write_groups};
use crate::limiter::installed::SlotMark;
use crate::limiter::table::{Applied, LoadError, NotInstalled};
use crate::storage::fence::StorageFailed;
use crate::storage::replace;
use crate::storage::replicated::{Replicated, Waiting};
use crate::types::{Epoch, NodeId, Position, Slot, SlotSet, SlotTime};

/// Why a group was not taken in, and is not known either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// See [`Applied::Gap`].
    Gap,
    /// See [`Applied::Closed`].
    Closed,
    /// See [`Applied::Full`]. Room is being made.
    Full,
    /// The group, or what is here of the slot, cannot be used: its state must be copied anew.
    Unusable,
}

/// Groups that are in the table, on their way to the journal.
struct Taken {
    journal: Journal,
    owner: NodeId,
    stamp: SlotTime,
    /// Whole groups, back to back.
    bytes: Vec<u8>,
    /// What each of them brings its slot to.
    at: Vec<(Slot, Position)>,
}

impl Replicated for Taken {
    fn owner(&self) -> NodeId {
        self.owner
    }

    fn groups(&self) -> &[u8] {
        &self.bytes
    }

    fn pack(&self, number: u64, behind: &[Waiting], record: &mut Vec<u8>) {
        let behind = behind.iter().map(|(taken, _)| taken.groups());
        let groups = std::iter::once(self.groups()).chain(behind);
        write_groups(record, (number, self.stamp, self.owner), groups);
    }

    fn appended(&self) {
        for &(slot, at) in &self.at {
            self.journal.table.journaled(slot, at);
        }
    }
}

impl Engine {
    /// R1: takes in groups that `owner` has committed, in order. What is new is in the table and in the
    /// queue of the journal when this returns. The future resolves when all of them that were not
    /// refused are appended, known groups included, with the number up to which a sync must reach to
    /// cover it. Cancel safe: they are appended all the same. Besides it, what was refused: the places
    /// of the groups, in order, and why.
    ///
    /// Blocks for rows of evicted states that the store has. To be called by one task at a time for
    /// an owner.
    pub(crate) fn take_in<'e>(
        &'e self,
        owner: NodeId,
        groups: &[Group<'_>],
    ) -> (
        Vec<(usize, Refused)>,
        impl Future<Output = Result<u64, StorageFailed>> + Send + use<'e>,
    ) {
        let mut taken = Taken {
            journal: self.committer.source().clone(),
            owner,
            // Not the owner's, which would move this node's clock when it is read back.
            stamp: self.now(),
            bytes: Vec::with_capacity(groups.iter().map(|group| group.raw().len()).sum()),
            at: Vec::with_capacity(groups.len()),
        };
        let (mut known, mut refused, mut place) = (false, Vec::new(), 0_usize);
        self.table
            .apply_all(groups, &self.stored_rows(), |group, applied| {
                match applied {
                    Ok(Applied::Done) => {
                        taken.bytes.extend_from_slice(group.raw());
                        taken.at.push((group.slot, group.at));
                    }
                    Ok(Applied::Known) => known = true,
                    Ok(Applied::Gap { .. }) => refused.push((place, Refused::Gap)),
                    Ok(Applied::Closed { .. }) => refused.push((place, Refused::Closed)),
                    Ok(Applied::Full) => {
                        self.upkeep.make_room();
                        refused.push((place, Refused::Full));
                    }
                    Err(error) => {
                        tell_unusable(group.slot, owner, error);
                        self.table.unfollow(group.slot);
                        refused.push((place, Refused::Unusable));
                    }
                }
                place = place.saturating_add(1);
            });
        let appended =
            (!taken.bytes.is_empty()).then(|| self.committer.append_replicated(Box::new(taken)));
        (refused, async move {
            match appended {
                // What was known is in the queue before it, if it is not appended.
                Some(appended) => appended.await,
                None if known => self.committer.commit_all().await,
                None => Ok(self.committer.committed()),
            }
        })
    }

    /// Has slots, each held at an epoch of another node, take in that node's commits.
    ///
    /// # Errors
    /// [`NotInstalled`] for the first that cannot; the others are followed.
    pub(crate) fn follow(&self, slots: &[(Slot, Epoch)]) -> Result<(), NotInstalled> {
        let followed = slots.iter();
        let followed = followed.map(|(slot, epoch)| self.table.follow(*slot, *epoch));
        followed.fold(Ok(()), Result::and)
    }

    /// R2 where nothing need be copied: makes the states that are exactly at these positions, all of
    /// them in the journal, those of `(epoch, 0)`, with clocks that show these times; written and
    /// synced. Which those are: all others are as they were. Registers are not written. Blocks.
    ///
    /// # Errors
    /// [`StorageFailed`].
    pub(crate) fn become_epoch(
        &self,
        epoch: Epoch,
        slots: &[(Slot, Position, SlotTime)],
    ) -> Result<SlotSet, StorageFailed> {
        let (now, committed) = (self.now(), self.committer.committed());
        let marks = slots.iter().filter_map(|&(slot, at, clock)| {
            let told = (slot, at, clock);
            let installed = self.table.mark_if_at(told, epoch, now, committed)?;
            Some((slot, installed))
        });
        let marks: Vec<_> = marks.collect();
        let encoded: Vec<_> = marks
            .iter()
            .map(|(slot, installed)| (*slot, SlotMark::Installed(*installed).encode()))
            .collect();
        if !encoded.is_empty() {
            let storage = (&*self.store, &self.row_turn, &*self.fence);
            replace::mark(storage, &encoded, || {
                for (slot, installed) in &marks {
                    self.table.install_own(*slot, installed);
                }
            })?;
        }
        Ok(marks.into_iter().map(|(slot, _)| slot).collect())
    }
}

fn tell_unusable(slot: Slot, owner: NodeId, error: LoadError) {
    tracing::warn!(%slot, %owner, %error, "a commit cannot be taken in; the slot's state is copied anew");
}

#[cfg(test)]
#[path = "follow_tests.rs"]
pub(super) mod tests;
