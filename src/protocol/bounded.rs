//! Lists of bounded length: read without trusting the length that was announced.
//!
//! `postcard` reserves up to a megabyte for a list because of its announced length alone. Here
//! memory is taken only as items are really there, and a list above its bound is refused.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use super::client::BATCH_MAX;

/// Items for which room is made before the first one was read.
const FIRST_ITEMS: usize = 16;

/// Reads a list of at most [`BATCH_MAX`] items; for `#[serde(deserialize_with)]`.
pub(super) fn batch<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    from.deserialize_seq(BoundedList {
        items_max: BATCH_MAX,
        item: PhantomData,
    })
}

/// Reads a list of at most `MAX` items; for `#[serde(deserialize_with)]`.
pub(super) fn at_most<'de, D, T, const MAX: usize>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    from.deserialize_seq(BoundedList {
        items_max: MAX,
        item: PhantomData,
    })
}

struct BoundedList<T> {
    items_max: usize,
    item: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for BoundedList<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {} items", self.items_max)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let announced = items.size_hint().unwrap_or(self.items_max);
        if announced > self.items_max {
            return Err(A::Error::invalid_length(announced, &self));
        }
        let mut list = Vec::with_capacity(announced.min(FIRST_ITEMS));
        while let Some(item) = items.next_element()? {
            if list.len() == self.items_max {
                return Err(A::Error::invalid_length(self.items_max, &self));
            }
            list.push(item);
        }
        Ok(list)
    }
}
