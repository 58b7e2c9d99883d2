//! The gates and clocks of all slots, for those who hold no stripe's lock: routing, which must know
//! whether a slot is served, and the store's compactions, which drop rows that have expired.
//!
//! The table decides under its stripes' locks by values of its own; what is read here may be older,
//! but never shows a later time than the slot's clock has reached.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::types::{SLOT_COUNT, Slot, SlotTime};

/// In the place of an offset: the slot is not served.
const CLOSED: i64 = i64::MIN;

/// See the module's head. A slot's clock is the node's clock moved by the slot's offset.
#[derive(Debug)]
pub(crate) struct SlotClocks {
    /// The node's clock as last published; 0 until the node has recovered.
    node_ms: AtomicU64,
    offsets: Vec<AtomicI64>,
    /// Of each slot that is followed, what its clock stands at; else 0.
    stands_at: Vec<AtomicU64>,
}

impl Default for SlotClocks {
    fn default() -> Self {
        let slots = usize::from(SLOT_COUNT);
        Self {
            node_ms: AtomicU64::new(0),
            offsets: (0..slots).map(|_| AtomicI64::new(CLOSED)).collect(),
            stands_at: (0..slots).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl SlotClocks {
    /// Lets the store know what time it is on the node's clock.
    pub(crate) fn publish(&self, node_now: SlotTime) {
        self.node_ms.store(node_now.as_ms(), Ordering::Release);
    }

    /// Whether the slot is served now.
    pub(crate) fn is_served(&self, slot: Slot) -> bool {
        self.offset(slot) != CLOSED
    }

    /// A time that the slot's clock has reached; `None` while the slot is neither served nor followed,
    /// or no time was published yet.
    pub(crate) fn reached(&self, slot: Slot) -> Option<SlotTime> {
        // In this order: a slot that is served anew meanwhile has an offset that makes an older
        // time of the node a lower one of the slot.
        let node_ms = self.node_ms.load(Ordering::Acquire);
        let offset = self.offset(slot);
        if offset == CLOSED {
            let stands_at = self.stands_at.get(slot.index())?;
            let stands_at = stands_at.load(Ordering::Acquire);
            return (stands_at > 0).then(|| SlotTime::from_ms(stands_at));
        }
        (node_ms > 0).then(|| SlotTime::from_ms(node_ms).shifted(offset))
    }

    /// The slot is not served, but follows an owner elsewhere, whose clock of it has reached this.
    pub(crate) fn stand(&self, slot: Slot, reached: SlotTime) {
        if let Some(stands_at) = self.stands_at.get(slot.index()) {
            stands_at.store(reached.as_ms(), Ordering::Release);
        }
    }

    /// The slot is served from now on.
    pub(crate) fn open(&self, slot: Slot, offset_ms: i64) {
        self.stand(slot, SlotTime::ZERO);
        if let Some(offset) = self.offsets.get(slot.index()) {
            offset.store(offset_ms.max(CLOSED.saturating_add(1)), Ordering::Release);
        }
    }

    /// The slot is neither served nor followed any more.
    pub(crate) fn close(&self, slot: Slot) {
        self.stand(slot, SlotTime::ZERO);
        if let Some(offset) = self.offsets.get(slot.index()) {
            offset.store(CLOSED, Ordering::Release);
        }
    }

    fn offset(&self, slot: Slot) -> i64 {
        let offset = self.offsets.get(slot.index());
        offset.map_or(CLOSED, |offset| offset.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_known_while_its_slot_is_served_and_a_time_was_published() {
        let (clocks, slot) = (SlotClocks::default(), Slot::new(7).unwrap());
        clocks.open(slot, -30);
        assert_eq!((clocks.is_served(slot), clocks.reached(slot)), (true, None));
        clocks.publish(SlotTime::from_ms(100));
        assert_eq!(clocks.reached(slot), Some(SlotTime::from_ms(70)));
        assert_eq!(clocks.reached(Slot::new(8).unwrap()), None);
        clocks.close(slot);
        assert_eq!(
            (clocks.is_served(slot), clocks.reached(slot)),
            (false, None)
        );
    }

    #[test]
    fn the_clock_of_a_followed_slot_stands_at_what_its_owner_told() {
        let (clocks, slot) = (SlotClocks::default(), Slot::new(7).unwrap());
        clocks.stand(slot, SlotTime::from_ms(50));
        clocks.publish(SlotTime::from_ms(100));
        let told = Some(SlotTime::from_ms(50));
        assert_eq!(
            (clocks.is_served(slot), clocks.reached(slot)),
            (false, told)
        );
        clocks.close(slot);
        assert_eq!(clocks.reached(slot), None);
        clocks.stand(slot, SlotTime::from_ms(60));
        clocks.open(slot, -30);
        assert_eq!(clocks.reached(slot), Some(SlotTime::from_ms(70)));
        clocks.close(slot);
        assert_eq!(clocks.reached(slot), None);
    }
}
