//! Tickets that are lost: their slot was sealed, or had no majority for too long, before a majority
//! had their commits. Nobody may be told that they are granted, although they stay counted.
//!
//! They are remembered for the life of the process: an answer may be looked at long after it was
//! decided, when the process was stopped in between.

use std::collections::BTreeMap;

use crate::replication::marks::{Goal, Marks};
use crate::types::{Slot, SlotSet};

/// Most spans of lost tickets that are told apart, of one slot. With more the oldest two become one,
/// and what was kept between them is called lost, which is safe.
const SPANS_MAX: usize = 4;

/// Tickets above `above`, up to `through`.
#[derive(Debug, Clone, Copy)]
struct Span {
    above: Marks,
    /// The last one; `u64::MAX` while it goes on.
    through: u64,
}

/// The lost tickets of all slots.
#[derive(Debug)]
pub(super) struct Losses {
    spans: BTreeMap<Slot, Vec<Span>>,
    /// Slots of which something has changed since this was asked for.
    touched: SlotSet,
    is_touched: bool,
}

impl Default for Losses {
    fn default() -> Self {
        Self {
            spans: BTreeMap::new(),
            touched: SlotSet::EMPTY,
            is_touched: false,
        }
    }
}

impl Losses {
    /// All tickets of the slot above `above` are lost from here on, until [`Losses::close`].
    pub(super) fn open(&mut self, slot: Slot, above: Marks) {
        self.touch(slot);
        let spans = self.spans.entry(slot).or_default();
        match spans.last_mut() {
            Some(last) if last.through == u64::MAX => last.above = last.above.min(above),
            Some(_) | None => push(
                spans,
                Span {
                    above,
                    through: u64::MAX,
                },
            ),
        }
    }

    /// Tickets above `through` are not lost any more.
    pub(super) fn close(&mut self, slot: Slot, through: u64) {
        let Some(spans) = self.spans.get_mut(&slot) else {
            return;
        };
        self.touched.insert(slot);
        self.is_touched = true;
        if let Some(last) = spans.last_mut()
            && last.through == u64::MAX
        {
            last.through = through;
            if last.above.synced >= through {
                spans.pop();
            }
        }
        if spans.is_empty() {
            self.spans.remove(&slot);
        }
    }

    /// The slot's tickets above `before`, up to `number`, are lost.
    pub(super) fn add(&mut self, slot: Slot, before: u64, number: u64) {
        self.touch(slot);
        let above = Marks::both(before);
        let spans = self.spans.entry(slot).or_default();
        if spans.last().is_some_and(|last| last.through >= number) {
            return;
        }
        push(
            spans,
            Span {
                above,
                through: number,
            },
        );
    }

    /// Whether the slot's ticket is lost for who waits for `goal`.
    pub(super) fn has(&self, slot: Slot, ticket: u64, goal: Goal) -> bool {
        let spans = self.spans.get(&slot).map_or(&[][..], Vec::as_slice);
        spans
            .iter()
            .any(|span| span.above.of(goal) < ticket && ticket <= span.through)
    }

    /// Notes that something about the slot has changed.
    pub(super) fn touch(&mut self, slot: Slot) {
        self.touched.insert(slot);
        self.is_touched = true;
    }

    /// The slots of which something has changed since this was asked last.
    pub(super) fn take_touched(&mut self) -> Option<SlotSet> {
        let touched = std::mem::take(&mut self.is_touched);
        touched.then(|| std::mem::replace(&mut self.touched, SlotSet::EMPTY))
    }

    /// The slot's last ticket that may be lost; 0 if none is.
    pub(super) fn through(&self, slot: Slot) -> u64 {
        let last = self.spans.get(&slot).and_then(|spans| spans.last());
        last.map_or(0, |span| span.through)
    }
}

fn push(spans: &mut Vec<Span>, span: Span) {
    spans.push(span);
    if spans.len() > SPANS_MAX {
        let first = spans.remove(0);
        if let Some(second) = spans.first_mut() {
            second.above = second.above.min(first.above);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_stays_lost_and_what_came_after_is_not() {
        let slot = Slot::new(7).unwrap();
        let mut losses = Losses::default();
        let marks = |appended, synced| Marks { appended, synced };
        losses.open(slot, marks(10, 8));
        assert!(losses.has(slot, 9, Goal::Synced) && !losses.has(slot, 9, Goal::Appended));
        assert!(losses.has(slot, 999, Goal::Appended));
        losses.close(slot, 12);
        assert!(losses.has(slot, 12, Goal::Appended) && !losses.has(slot, 13, Goal::Synced));
        for n in 1..9 {
            losses.open(slot, Marks::both(100 * n));
            losses.close(slot, 100 * n + 1);
        }
        assert!(losses.has(slot, 12, Goal::Appended) && losses.has(slot, 101, Goal::Appended));
        assert!(losses.has(slot, 801, Goal::Appended) && !losses.has(slot, 799, Goal::Appended));
        assert_eq!(losses.through(slot), 801);
    }

    #[test]
    fn where_nothing_was_outstanding_nothing_is_lost() {
        let slot = Slot::new(7).unwrap();
        let mut losses = Losses::default();
        losses.open(slot, Marks::both(10));
        losses.close(slot, 10);
        assert!(losses.spans.is_empty());
    }
}
