//! Which keys are asked for: drawn from a distribution, the same ones for the same seed.

use std::fmt::Write as _;

use rand::distr::{Distribution as _, Uniform};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use rand_distr::Zipf;

/// How requests spread over the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(super) enum Distribution {
    /// All keys alike
    #[default]
    Uniform,
    /// Few keys take most: the n-th key is asked for in proportion to 1/n
    Zipf,
}

/// An endless row of keys.
#[derive(Debug)]
pub(super) struct Keys {
    random: SmallRng,
    draw: Draw,
}

#[derive(Debug)]
enum Draw {
    Uniform(Uniform<u64>),
    Zipf(Zipf<f64>),
    Only(u64),
}

impl Keys {
    /// Draws from `count` keys, numbered from 0.
    pub(super) fn new(distribution: Distribution, count: u64, seed: u64) -> Self {
        let last = count.saturating_sub(1);
        let draw = match distribution {
            Distribution::Uniform => Uniform::new_inclusive(0, last).map(Draw::Uniform).ok(),
            #[expect(clippy::cast_precision_loss, reason = "key counts are far below 2^53")]
            Distribution::Zipf => Zipf::new(count as f64, 1.0).map(Draw::Zipf).ok(),
        };
        Self {
            random: SmallRng::seed_from_u64(seed),
            draw: draw.unwrap_or(Draw::Only(0)),
        }
    }

    /// The number of the next key.
    pub(super) fn next(&mut self) -> u64 {
        match &self.draw {
            Draw::Uniform(uniform) => uniform.sample(&mut self.random),
            Draw::Zipf(zipf) => {
                // A whole number from 1 to the count of keys.
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "see above"
                )]
                let rank = zipf.sample(&mut self.random) as u64;
                rank.saturating_sub(1)
            }
            Draw::Only(key) => *key,
        }
    }

    /// A number below `bound`, to spread what would else begin at one moment.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.random.random_range(0..bound.max(1))
    }
}

/// Writes the name of key `number` to `name`.
pub(super) fn write_name(number: u64, name: &mut String) {
    name.clear();
    write!(name, "key-{number}").ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(distribution: Distribution, count: u64, seed: u64) -> Vec<u64> {
        let mut keys = Keys::new(distribution, count, seed);
        (0..10_000).map(|_| keys.next()).collect()
    }

    #[test]
    fn keys_stay_below_their_count_and_repeat_by_seed() {
        for distribution in [Distribution::Uniform, Distribution::Zipf] {
            for count in [1, 2, 100_000] {
                let keys = drawn(distribution, count, 7);
                assert!(
                    keys.iter().all(|key| *key < count),
                    "{distribution:?} of {count}"
                );
                assert_eq!(keys, drawn(distribution, count, 7));
                assert!(count == 1 || keys != drawn(distribution, count, 8));
            }
        }
    }

    #[test]
    fn zipf_asks_most_for_the_first_key_and_uniform_does_not() {
        let firsts = |distribution| {
            let keys = drawn(distribution, 1000, 1);
            keys.iter().filter(|key| **key == 0).count()
        };
        // By 1/H(1000) and 1/1000: about 1336 and 10 of 10,000.
        assert!((1000..1700).contains(&firsts(Distribution::Zipf)));
        assert!((1..60).contains(&firsts(Distribution::Uniform)));
    }
}
