//! Shapes: the windows and bucket widths that a state's buckets were counted under.
//!
//! A state must be readable without its policy (the file may have changed meanwhile), and must
//! say so in two bytes. So shapes are numbered as they are first seen; policies of equal windows
//! and widths share one.

use std::collections::BTreeMap;

use parking_lot::RwLock;

use super::policy::{LIMITS_MAX, Limit, Limits};

/// Window and bucket width of each limit of a policy, in milliseconds; zeros behind the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Shape {
    windows: [Span; LIMITS_MAX],
}

/// One limit's window and bucket width, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Span {
    pub(crate) window_ms: u64,
    pub(crate) bucket_ms: u64,
}

impl Span {
    /// When a bucket that starts at `start_ms` stops to count.
    pub(crate) const fn leaves_at_ms(self, start_ms: u64) -> u64 {
        start_ms
            .saturating_add(self.window_ms)
            .saturating_add(self.bucket_ms)
    }

    /// A bucket that starts before this does not count any more at `now_ms`. See
    /// [`super::window::oldest_counting`].
    pub(crate) const fn oldest_counting_ms(self, now_ms: u64) -> u64 {
        now_ms
            .saturating_sub(self.window_ms)
            .saturating_sub(self.bucket_ms.saturating_sub(1))
    }
}

impl From<Limit> for Span {
    fn from(limit: Limit) -> Self {
        Self {
            window_ms: limit.window_ms(),
            bucket_ms: limit.bucket_ms(),
        }
    }
}

impl Shape {
    /// The shape of states counted under `limits`.
    pub(crate) fn of(limits: &Limits) -> Self {
        Self::from_spans(limits.as_slice().iter().map(|&limit| limit.into()))
    }

    /// A shape of at most [`LIMITS_MAX`] spans; more are left out.
    pub(crate) fn from_spans(spans: impl Iterator<Item = Span>) -> Self {
        let mut shape = Self::default();
        for (place, span) in shape.windows.iter_mut().zip(spans) {
            *place = span;
        }
        shape
    }

    /// The longest of the windows.
    pub(crate) fn longest_window_ms(&self) -> u64 {
        let windows = self.windows.iter().map(|span| span.window_ms);
        windows.max().unwrap_or(0)
    }

    /// The spans, one a limit.
    pub(crate) fn spans(&self) -> &[Span] {
        let len = self
            .windows
            .iter()
            .take_while(|span| span.window_ms > 0)
            .count();
        self.windows.get(..len).unwrap_or(&[])
    }
}

/// Number of a shape in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct ShapeId(u16);

impl ShapeId {
    /// Whatever shape was seen first; a placeholder in a state that has counted nothing.
    pub(crate) const FIRST: Self = Self(0);
}

/// All shapes seen by this process, in order of first sight; at most 65,536.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_id: Vec<Shape>,
    ids: BTreeMap<Shape, ShapeId>,
}

/// More different shapes than two bytes can name; only a flood of carried limits can cause it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than 65536 different combinations of windows were used; restart the node")]
pub(crate) struct TooManyShapes;

impl Shapes {
    /// The number of `shape`, given out now if it is new.
    pub(crate) fn intern(&self, shape: Shape) -> Result<ShapeId, TooManyShapes> {
        if let Some(id) = self.known.read().ids.get(&shape) {
            return Ok(*id);
        }
        let mut known = self.known.write();
        if let Some(id) = known.ids.get(&shape) {
            return Ok(*id);
        }
        let id = ShapeId(u16::try_from(known.by_id.len()).map_err(|_| TooManyShapes)?);
        known.by_id.push(shape);
        known.ids.insert(shape, id);
        Ok(id)
    }

    /// The shape numbered `id`.
    pub(crate) fn get(&self, id: ShapeId) -> Shape {
        self.known
            .read()
            .by_id
            .get(usize::from(id.0))
            .copied()
            .unwrap_or_default()
    }
}
