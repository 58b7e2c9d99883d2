//! Slots by the peers that are in sync for them.
//!
//! All slots of a class have a commit on a majority as soon as enough of the class's peers have
//! acknowledged its number. So it is enough to know of a class the last commit that one of its slots
//! was in.

use std::collections::BTreeMap;

use super::peers::{PeerNo, Peers};
use crate::replication::marks::Marks;
use crate::types::REPLICAS_MAX;

/// Most replicas besides the owner.
const OTHERS_MAX: usize = REPLICAS_MAX - 1;

/// A class's place in the list.
pub(super) type ClassNo = u32;

/// The peers whose acknowledgements count, and how many are needed, the owner left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Voters {
    peers: [PeerNo; OTHERS_MAX],
    len: usize,
    needed: usize,
}

impl Voters {
    /// Nobody, of whom `needed` are needed.
    pub(super) fn needing(needed: usize) -> Self {
        Self {
            needed,
            ..Self::default()
        }
    }

    /// Adds a peer; in order of their places they make equal classes equal.
    pub(super) fn add(&mut self, peer: PeerNo) {
        if let Some(place) = self.peers.get_mut(self.len) {
            *place = peer;
            self.len = self.len.saturating_add(1);
            if let Some(peers) = self.peers.get_mut(..self.len) {
                peers.sort_unstable();
            }
        }
    }

    /// Whether there are as many as are needed.
    pub(super) const fn are_enough(&self) -> bool {
        self.len >= self.needed
    }

    /// Up to which commit as many as are needed have all.
    fn reached(&self, peers: &Peers) -> Marks {
        let mut appended = [0; OTHERS_MAX];
        let mut synced = [0; OTHERS_MAX];
        let voters = self.peers.iter().take(self.len);
        for ((place, appended), synced) in voters.zip(&mut appended).zip(&mut synced) {
            Marks {
                appended: *appended,
                synced: *synced,
            } = peers.through(*place);
        }
        let highest = |mut of: [u64; OTHERS_MAX]| {
            of.sort_unstable_by(|a, b| b.cmp(a));
            let last = self.needed.checked_sub(1);
            last.map_or(u64::MAX, |last| of.get(last).copied().unwrap_or(0))
        };
        Marks {
            appended: highest(appended),
            synced: highest(synced),
        }
    }
}

#[derive(Debug)]
struct Class {
    voters: Voters,
    /// Slots in it.
    slots: usize,
    /// The last commit that one of them was in.
    last: u64,
}

/// The classes that have slots.
#[derive(Debug, Default)]
pub(super) struct Classes {
    list: Vec<Class>,
    by_voters: BTreeMap<Voters, ClassNo>,
    free: Vec<ClassNo>,
}

impl Classes {
    /// Puts a slot, whose last commit that may be outstanding is `last`, into the class of these
    /// voters.
    pub(super) fn enter(&mut self, voters: Voters, last: u64) -> ClassNo {
        let place = match self.by_voters.get(&voters) {
            Some(place) => *place,
            None => self.make(voters),
        };
        if let Some(class) = self.get_mut(place) {
            class.slots = class.slots.saturating_add(1);
            class.last = class.last.max(last);
        }
        place
    }

    fn make(&mut self, voters: Voters) -> ClassNo {
        let class = Class {
            voters,
            slots: 0,
            last: 0,
        };
        let place = self.free.pop().unwrap_or_else(|| {
            // There are no more classes than slots.
            ClassNo::try_from(self.list.len()).unwrap_or(ClassNo::MAX)
        });
        match self.get_mut(place) {
            Some(free) => *free = class,
            None => self.list.push(class),
        }
        self.by_voters.insert(voters, place);
        place
    }

    /// Takes a slot out.
    pub(super) fn leave(&mut self, place: ClassNo) {
        let Some(class) = self.get_mut(place) else {
            return;
        };
        class.slots = class.slots.saturating_sub(1);
        if class.slots == 0 {
            class.last = 0;
            let voters = class.voters;
            self.by_voters.remove(&voters);
            self.free.push(place);
        }
    }

    /// Notes that a slot of the class is in a commit.
    pub(super) fn note(&mut self, place: ClassNo, number: u64) {
        if let Some(class) = self.get_mut(place) {
            class.last = class.last.max(number);
        }
    }

    /// Whose class it is.
    pub(super) fn voters(&self, place: ClassNo) -> Voters {
        self.get(place)
            .map(|class| class.voters)
            .unwrap_or_default()
    }

    /// Up to which commit a majority has all of the class's slots.
    pub(super) fn reached(&self, place: ClassNo, peers: &Peers) -> Marks {
        let class = self.get(place);
        class.map_or(Marks::both(0), |class| class.voters.reached(peers))
    }

    /// Up to which commit a majority has all of all classes' slots.
    pub(super) fn all_reached(&self, peers: &Peers) -> Marks {
        let owing = self.list.iter().filter(|class| class.last > 0);
        owing.fold(Marks::ALL, |bound, class| {
            let reached = class.voters.reached(peers);
            bound.min(reached.holding_back(class.last))
        })
    }

    fn get(&self, place: ClassNo) -> Option<&Class> {
        self.list.get(usize::try_from(place).ok()?)
    }

    fn get_mut(&mut self, place: ClassNo) -> Option<&mut Class> {
        self.list.get_mut(usize::try_from(place).ok()?)
    }
}
