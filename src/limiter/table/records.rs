//! A flat hash table of one-line records, named by hash: open addressing, linear probing, removal
//! by shifting back, so that there are no tombstones (Knuth, volume 3, 6.4, algorithm R).

use crate::limiter::key_state::KeyState;
use crate::types::StateId;

/// A state and its name, in one cache line.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct Record {
    pub(super) id: StateId,
    pub(super) state: KeyState,
}

pub(super) const RECORD_BYTES: usize = size_of::<Option<Record>>();

const _: () = assert!(RECORD_BYTES == 64, "a record is one cache line");

/// Where a record is, until records are added or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(usize);

/// The records of one stripe. At most 3 of 4 places are taken; it grows by a third.
#[derive(Debug, Default)]
pub(super) struct Records {
    places: Vec<Option<Record>>,
    len: usize,
}

impl Records {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn bytes(&self) -> usize {
        self.places.len().saturating_mul(RECORD_BYTES)
    }

    /// Bytes by which the next insertion grows the table.
    pub(super) const fn growth_bytes(&self) -> usize {
        if self.is_full() {
            self.grown_len()
                .saturating_sub(self.places.len())
                .saturating_mul(RECORD_BYTES)
        } else {
            0
        }
    }

    /// Where the places begin and how many there are, for prefetching.
    pub(super) fn place_hint(&self) -> (usize, usize) {
        (self.places.as_ptr().addr(), self.places.len())
    }

    pub(super) fn get(&self, id: StateId) -> Option<&KeyState> {
        let place = self.find(id)?;
        self.state(place)
    }

    /// The state at a place that was found.
    #[inline]
    pub(super) fn state(&self, Place(at): Place) -> Option<&KeyState> {
        self.places.get(at)?.as_ref().map(|record| &record.state)
    }

    pub(super) fn get_mut(&mut self, id: StateId) -> Option<&mut KeyState> {
        let place = self.find(id)?;
        self.at(place)
    }

    /// The state at a place that was found; `None` if it has been removed since.
    #[inline]
    pub(super) fn at(&mut self, Place(at): Place) -> Option<&mut KeyState> {
        self.places
            .get_mut(at)?
            .as_mut()
            .map(|record| &mut record.state)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.places.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Record> {
        self.places.iter_mut().flatten()
    }

    /// The records from the home of `id` on, as many as `most`, wrapping around.
    pub(super) fn near(&mut self, id: StateId, most: usize) -> impl Iterator<Item = &mut Record> {
        let home = self.home(id);
        let (before, after) = self.places.split_at_mut(home);
        after.iter_mut().chain(before).take(most).flatten()
    }

    /// Adds a state under a name that is not there yet.
    pub(super) fn insert(&mut self, id: StateId, state: KeyState) -> Place {
        if self.is_full() {
            self.resize(self.grown_len());
        }
        let at = self.first_free(id);
        self.len = self.len.saturating_add(1);
        #[expect(
            clippy::indexing_slicing,
            reason = "first_free returns a place of the vector"
        )]
        {
            self.places[at] = Some(Record { id, state });
        }
        Place(at)
    }

    pub(super) fn remove(&mut self, id: StateId) -> Option<KeyState> {
        let Place(mut hole) = self.find(id)?;
        let removed = self.places.get_mut(hole)?.take();
        self.len = self.len.saturating_sub(1);
        let mut at = self.next(hole);
        while let Some(next_id) = self.id_at(at) {
            // Move it into the hole unless its home lies behind the hole.
            if self.distance(self.home(next_id), at) >= self.distance(hole, at) {
                self.places.swap(hole, at);
                hole = at;
            }
            at = self.next(at);
        }
        removed.map(|record| record.state)
    }

    /// Gives memory back when less than a quarter of the places is taken.
    pub(super) fn shrink(&mut self) {
        const SMALLEST: usize = 64;
        if self.places.len() > SMALLEST && self.len < self.places.len() / 4 {
            self.resize(self.len.saturating_mul(2).max(SMALLEST / 2));
        }
    }

    /// Where the state of `id` is.
    #[inline]
    pub(super) fn find(&self, id: StateId) -> Option<Place> {
        if self.places.is_empty() {
            return None;
        }
        let mut at = self.home(id);
        loop {
            if self.id_at(at)? == id {
                return Some(Place(at));
            }
            at = self.next(at);
        }
    }

    fn first_free(&self, id: StateId) -> usize {
        let mut at = self.home(id);
        while self.id_at(at).is_some() {
            at = self.next(at);
        }
        at
    }

    const fn is_full(&self) -> bool {
        self.len.saturating_mul(4) >= self.places.len().saturating_mul(3)
    }

    const fn grown_len(&self) -> usize {
        let len = self.places.len();
        let grown = len.saturating_add(len / 3);
        if grown < 16 { 16 } else { grown }
    }

    fn resize(&mut self, places: usize) {
        let mut old = std::mem::take(&mut self.places);
        self.places.resize_with(places, || None);
        for record in old.drain(..).flatten() {
            let at = self.first_free(record.id);
            if let Some(place) = self.places.get_mut(at) {
                *place = Some(record);
            }
        }
    }

    fn id_at(&self, at: usize) -> Option<StateId> {
        self.places.get(at)?.as_ref().map(|record| record.id)
    }

    fn home(&self, id: StateId) -> usize {
        home(id, self.places.len())
    }

    const fn next(&self, at: usize) -> usize {
        let next = at.saturating_add(1);
        if next < self.places.len() { next } else { 0 }
    }

    /// Steps from `from` forward to `to`.
    const fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from {
            to.saturating_sub(from)
        } else {
            to.saturating_add(self.places.len()).saturating_sub(from)
        }
    }
}

/// The first place to look for `id` among `places`: its low 64 bits as a fraction (the high ones
/// choose the stripe), by Lemire's multiplication instead of a division.
pub(super) const fn home(id: StateId, places: usize) -> usize {
    let fraction = id.0 & (u64::MAX as u128);
    let place = fraction.wrapping_mul(places as u128) >> 64;
    #[expect(clippy::cast_possible_truncation, reason = "it is below `places`")]
    {
        place as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    use super::*;
    use crate::limiter::policy::{Limit, Limits};
    use crate::types::SlotTime;

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(steps in prop::collection::vec((any::<bool>(), 0..40u64), 1..400)) {
            let limits = Limits::from(Limit::new(1000, 1000).unwrap());
            let (mut records, mut model) = (Records::default(), BTreeMap::new());
            for (n, (insert, name)) in steps.into_iter().enumerate() {
                // Few homes, so that probes are long and wrap around.
                let id = StateId(u128::from(name) | u128::from(name % 5) << 61);
                if insert && !model.contains_key(&id) {
                    let mut state = KeyState::new();
                    state.check(&limits, n as u64 + 1, SlotTime::ZERO).unwrap();
                    records.insert(id, state);
                    model.insert(id, n as u64 + 1);
                } else if !insert {
                    let removed = records.remove(id).map(|state| state.buckets(0).next().unwrap().permits);
                    prop_assert_eq!(removed, model.remove(&id));
                    records.shrink();
                }
                prop_assert_eq!(records.len(), model.len());
                for (id, permits) in &model {
                    let found = records.get(*id).and_then(|state| state.buckets(0).next());
                    prop_assert_eq!(found.map(|bucket| bucket.permits), Some(*permits));
                }
                prop_assert_eq!(records.iter().count(), model.len());
            }
        }
    }
}
