//! The one source of chance of a run: `SplitMix64` (Steele, Lea and Flood, 2014), so that a seed
//! replays the same run on every machine and with every version of every crate.

/// Chance, decided by a seed.
#[derive(Debug, Clone)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub(super) const fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number below `end`; 0 if there is none.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.bits().checked_rem(end).unwrap_or(0)
    }

    /// A number in `from..to`.
    pub(super) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to.saturating_sub(from))
    }

    /// True in `per_mille` of a thousand cases.
    pub(super) fn permille(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// A place in a list of `count`; 0 if it is empty.
    pub(super) fn place(&mut self, count: usize) -> usize {
        let below = self.below(u64::try_from(count).unwrap_or(0));
        usize::try_from(below).unwrap_or(0)
    }

    /// One of `all`.
    pub(super) fn pick<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        let place = self.place(all.len());
        all.get(place).copied()
    }
}

/// Spreads the bits of a number.
pub(super) const fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_numbers() {
        let mut random = Random::new(7);
        assert_eq!(random.bits(), 7_191_089_600_892_374_487);
        let mut again = Random::new(7);
        again.bits();
        assert_eq!(random.bits(), again.bits());
        assert_eq!((random.below(0), random.pick::<u8>(&[])), (0, None));
    }
}
