//! Slots that other nodes own, as the engine follows them: their commits taken in and journaled, and
//! their states made those of a new reign.
//!
//! What may be followed when is the ownership's to decide. What is acknowledged when is the links':
//! what [`Engine::take_in`] has taken in counts for a majority once it is kept.

use super::engine::Engine;
use super::journal::Journal;
use crate::limiter::commit_record::{cut, write_groups};
use crate::limiter::installed::SlotMark;
use crate::limiter::table::{Applied, LoadError, NotInstalled};
use crate::storage::fence::StorageFailed;
use crate::storage::replace;
use crate::storage::replicated::Replicated;
use crate::types::{Epoch, NodeId, Position, Slot, SlotSet, SlotTime};

/// Why a group was not taken in, and is not known either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// See [`Applied::Gap`].
    Gap {
        /// How far the state is.
        at: Position,
    },
    /// See [`Applied::Closed`].
    Closed {
        /// How far the state is.
        at: Position,
    },
    /// See [`Applied::Full`]. Room is being made.
    Full,
    /// The group, or what is here of the slot, cannot be used: its state must be copied anew.
    Unusable,
}

/// What was taken in of some groups.
#[derive(Debug, Default)]
pub(crate) struct TakenIn {
    /// Each group that was refused: its slot and position, in order.
    pub(crate) refused: Vec<(Slot, Position, Refused)>,
    /// The bytes could not even be cut into groups, from some point on: whoever sent them does not
    /// speak the protocol.
    pub(crate) malformed: bool,
}

/// Groups that are in the table, on their way to the journal.
struct Groups {
    journal: Journal,
    owner: NodeId,
    stamp: SlotTime,
    /// Whole groups, back to back.
    bytes: Vec<u8>,
    /// What the last of them brings each slot to.
    at: Vec<(Slot, Position)>,
    /// There were others that are in the table already.
    known: bool,
}

impl Replicated for Groups {
    fn pack(&self, number: u64, record: &mut Vec<u8>) {
        let head = (number, self.stamp, self.owner);
        write_groups(record, head, std::iter::once(self.bytes.as_slice()));
    }

    fn appended(&self) {
        for &(slot, at) in &self.at {
            self.journal.table.journaled(slot, at);
        }
    }
}

impl Engine {
    /// R1: takes in groups that `owner` has committed, each of `frames` some of them back to back.
    /// What is new is in the table and in the queue of the journal when this returns. The future
    /// resolves when all that is in `frames` and was not refused is appended, known groups included,
    /// with the number up to which a sync must reach to cover it. Cancel safe: it is appended all the
    /// same.
    ///
    /// Blocks for rows of evicted states that the store has. To be called by one task at a time for
    /// an owner.
    pub(crate) fn take_in<'e>(
        &'e self,
        owner: NodeId,
        frames: &[&[u8]],
    ) -> (
        TakenIn,
        impl Future<Output = Result<u64, StorageFailed>> + Send + use<'e>,
    ) {
        let mut taken = TakenIn::default();
        let mut groups = Groups {
            journal: self.committer.source().clone(),
            owner,
            // Not the owner's, which would move this node's clock when it is read back.
            stamp: self.now(),
            bytes: Vec::new(),
            at: Vec::new(),
            known: false,
        };
        for frame in frames {
            self.take_frame(frame, &mut groups, &mut taken);
        }
        let known = groups.known;
        let appended =
            (!groups.bytes.is_empty()).then(|| self.committer.append_replicated(Box::new(groups)));
        (taken, async move {
            match appended {
                // What was known is in the queue before it, if it is not appended.
                Some(appended) => appended.await,
                None if known => self.committer.commit_all().await,
                None => Ok(self.committer.committed()),
            }
        })
    }

    fn take_frame(&self, frame: &[u8], groups: &mut Groups, taken: &mut TakenIn) {
        let stored = self.stored_rows();
        for group in cut(groups.owner, frame) {
            let Ok(group) = group else {
                taken.malformed = true;
                return;
            };
            let refused = match self.table.apply(&group, &stored) {
                Ok(Applied::Done) => {
                    groups.bytes.extend_from_slice(group.raw());
                    groups.at.push((group.slot, group.at));
                    continue;
                }
                Ok(Applied::Known) => {
                    groups.known = true;
                    continue;
                }
                Ok(Applied::Gap { at }) => Refused::Gap { at },
                Ok(Applied::Closed { at }) => Refused::Closed { at },
                Ok(Applied::Full) => {
                    self.upkeep.make_room();
                    Refused::Full
                }
                Err(error) => {
                    tell_unusable(group.slot, groups.owner, error);
                    self.table.unfollow(group.slot);
                    Refused::Unusable
                }
            };
            taken.refused.push((group.slot, group.at, refused));
        }
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
