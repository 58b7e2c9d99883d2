//! The buckets of one limit, one after the other, in whatever form they are kept.

use std::ops::Range;
use std::slice;

use super::cell::Cell;
use super::run::{self, Gap, Head};
use crate::limiter::window::Bucket;

/// See [`super::BucketLists::list`].
#[derive(Debug, Clone)]
pub(in crate::limiter) enum List<'a> {
    Cells(u64, slice::Iter<'a, Cell>),
    Wide(slice::Iter<'a, Bucket>),
    Run(run::Iter<'a>),
}

impl<'a> List<'a> {
    #[inline(always)]
    pub(super) fn of_cells(base_ms: u64, cells: &'a [Cell], places: Range<usize>) -> Self {
        Self::Cells(base_ms, cells.get(places).unwrap_or(&[]).iter())
    }

    pub(super) fn of_wide(buckets: &'a [Bucket], places: Range<usize>) -> Self {
        Self::Wide(buckets.get(places).unwrap_or(&[]).iter())
    }

    /// The list of the `n`th limit where the first has a run and the others have nothing.
    #[inline]
    pub(super) fn of_run(head: &Head, ring: &'a [Gap], n: usize) -> Self {
        if n == 0 {
            Self::Run(head.iter(ring))
        } else {
            Self::Wide([].iter())
        }
    }
}

impl Iterator for List<'_> {
    type Item = Bucket;

    #[inline]
    fn next(&mut self) -> Option<Bucket> {
        match self {
            Self::Cells(base_ms, cells) => Some(cells.next()?.bucket(*base_ms)),
            Self::Wide(buckets) => buckets.next().copied(),
            Self::Run(run) => run.next(),
        }
    }

    /// Tells the forms apart once for all buckets.
    #[inline(always)]
    fn fold<B, F: FnMut(B, Bucket) -> B>(self, init: B, f: F) -> B {
        match self {
            Self::Cells(base_ms, cells) => cells.map(|cell| cell.bucket(base_ms)).fold(init, f),
            Self::Wide(buckets) => buckets.copied().fold(init, f),
            Self::Run(run) => run.fold(init, f),
        }
    }
}

impl DoubleEndedIterator for List<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Bucket> {
        match self {
            Self::Cells(base_ms, cells) => Some(cells.next_back()?.bucket(*base_ms)),
            Self::Wide(buckets) => buckets.next_back().copied(),
            Self::Run(run) => run.next_back(),
        }
    }
}
