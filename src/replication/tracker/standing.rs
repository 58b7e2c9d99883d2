//! How slots stand, and what follows when the replicas that are in sync for one change.

use std::time::Duration;

use super::served::{Served, Standing};
use super::tracker::Tracker;
use crate::replication::marks::Marks;
use crate::types::{MonoTime, Slot};

/// How long a slot may be without a majority before its outstanding grants are given up. A replica
/// that is made the new reign's, or whose link is made anew, is back sooner.
pub(super) const GRACE: Duration = Duration::from_millis(500);

impl Tracker {
    /// Finds out anew how a slot stands: a replica came into sync, or fell out of it.
    pub(super) fn rank(&mut self, slot: Slot) {
        let Some(Some(served)) = self.slots.get_mut(slot.index()) else {
            return;
        };
        let voters = served.voters();
        let was = served.standing;
        served.standing = match (was, voters.are_enough()) {
            (Standing::Alone, _) => Standing::Alone,
            (Standing::Majority(class), _) if self.classes.voters(class) == voters => was,
            (Standing::Majority(class), is_enough) => {
                let floor = self.classes.reached(class, &self.peers);
                let floor = floor.min(Marks::both(self.number));
                self.classes.leave(class);
                if is_enough {
                    let last = outstanding(served, floor);
                    Standing::Majority(self.classes.enter(voters, last))
                } else {
                    self.missing.insert(slot);
                    self.missing_floor = None;
                    Standing::Missing { floor, since: None }
                }
            }
            (Standing::Missing { floor, .. }, true) => {
                self.missing.remove(slot);
                self.missing_floor = None;
                let last = outstanding(served, floor);
                Standing::Majority(self.classes.enter(voters, last))
            }
            (Standing::Without, true) => {
                // What was outstanding is lost already; the next commits are not. The last one told
                // may hold a change whose ticket is the number after it, so it still has to get there.
                self.losses.close(slot, self.number);
                self.losses.touch(slot);
                self.without.remove(slot);
                Standing::Majority(self.classes.enter(voters, served.last))
            }
            (Standing::Missing { .. } | Standing::Without, false) => was,
        };
    }

    /// Notes that the slot is in a commit, the first after the last number that was told.
    pub(super) fn note(&mut self, slot: Slot, number: u64) {
        let before = self.number;
        let Some(Some(served)) = self.slots.get_mut(slot.index()) else {
            return;
        };
        match &mut served.standing {
            Standing::Alone | Standing::Without => {}
            Standing::Majority(class) => self.classes.note(*class, number),
            Standing::Missing { floor, .. } => {
                if served.last <= floor.appended {
                    floor.appended = before;
                }
                if served.last <= floor.synced {
                    floor.synced = before;
                }
                self.missing_floor = self.missing_floor.map(|bound| bound.min(*floor));
            }
        }
        served.last = number;
    }

    /// Takes a slot out, and gives up what is outstanding of it.
    pub(super) fn give_up(&mut self, slot: Slot) {
        let Some(served) = self.slots.get_mut(slot.index()).and_then(Option::take) else {
            return;
        };
        match served.standing {
            Standing::Alone => {}
            Standing::Majority(class) => {
                let floor = self.classes.reached(class, &self.peers);
                self.classes.leave(class);
                self.losses.open(slot, floor.min(Marks::both(self.number)));
            }
            Standing::Missing { floor, .. } => {
                self.missing.remove(slot);
                self.missing_floor = None;
                self.losses.open(slot, floor);
            }
            Standing::Without => {
                self.without.remove(slot);
                self.losses.touch(slot);
            }
        }
    }

    /// Gives up what is outstanding of slots that have been without a majority for too long.
    pub(super) fn expire(&mut self, now: MonoTime) {
        if self.missing.is_empty() {
            return;
        }
        for slot in self.missing.clone().iter() {
            let Some(Some(served)) = self.slots.get_mut(slot.index()) else {
                continue;
            };
            let Standing::Missing { floor, since } = &mut served.standing else {
                continue;
            };
            match since {
                None => *since = Some(now),
                Some(since) if now.since(*since) > GRACE => {
                    self.losses.open(slot, *floor);
                    self.missing.remove(slot);
                    self.missing_floor = None;
                    self.without.insert(slot);
                    served.standing = Standing::Without;
                }
                Some(_) => {}
            }
        }
    }

    /// Raises the watermark as far as it may go.
    pub(super) fn advance(&mut self) {
        let bound = self.classes.all_reached(&self.peers);
        let bound = bound.min(self.missing_floor());
        let bound = bound.min(Marks::both(self.number));
        self.replicated = self.replicated.max(bound);
    }

    /// The lowest mark of slots that have no majority and something outstanding.
    fn missing_floor(&mut self) -> Marks {
        if let Some(floor) = self.missing_floor {
            return floor;
        }
        let slots = self.missing.iter();
        let served = slots.filter_map(|slot| self.slots.get(slot.index())?.as_deref());
        let floor = served.fold(Marks::ALL, |bound, served| match served.standing {
            Standing::Missing { floor, .. } => bound.min(floor.holding_back(served.last)),
            Standing::Alone | Standing::Majority(_) | Standing::Without => bound,
        });
        self.missing_floor = Some(floor);
        floor
    }
}

/// The slot's last commit if it may be outstanding above `floor`, else 0.
const fn outstanding(served: &Served, floor: Marks) -> u64 {
    if served.last > floor.synced {
        served.last
    } else {
        0
    }
}
