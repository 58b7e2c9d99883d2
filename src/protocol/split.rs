//! A message about many slots in parts that each fit a frame. Each slot is answered for itself, so a
//! part is as good as the whole.

use super::ownership::{
    BECOMING_MAX, PROPOSALS_MAX, RECORDS_MAX, REFUSED_MAX, SEALED_MAX, WireMessage,
};

impl WireMessage {
    /// The same in as many messages as it takes for each to fit a frame, at least one.
    pub(crate) fn split(self) -> Vec<Self> {
        match self {
            Self::Seal { .. }
            | Self::Digest { .. }
            | Self::Became { .. }
            | Self::AskHeard { .. }
            | Self::Heard { .. } => vec![self],
            Self::Become { ballot, slots } => {
                let parts = cut(slots, BECOMING_MAX).into_iter();
                parts.map(|slots| Self::Become { ballot, slots }).collect()
            }
            Self::Sealed {
                ballot,
                slots,
                refused,
            } => {
                let (slots, refused) = (cut(slots, SEALED_MAX), cut(refused, REFUSED_MAX));
                let parts = pair(slots, refused).map(|(slots, refused)| Self::Sealed {
                    ballot,
                    slots,
                    refused,
                });
                parts.collect()
            }
            Self::Accept { ballot, slots } => {
                let parts = cut(slots, PROPOSALS_MAX).into_iter();
                parts.map(|slots| Self::Accept { ballot, slots }).collect()
            }
            Self::Accepted {
                ballot,
                slots,
                refused,
            } => {
                let parts = pair(vec![slots], cut(refused, REFUSED_MAX));
                let parts = parts.map(|(slots, refused)| Self::Accepted {
                    ballot,
                    slots,
                    refused,
                });
                parts.collect()
            }
            Self::Chosen { records } => {
                let parts = cut(records, RECORDS_MAX).into_iter();
                parts.map(|records| Self::Chosen { records }).collect()
            }
        }
    }
}

/// Cuts a list into parts of at most `max`; at least one part.
fn cut<T>(mut list: Vec<T>, max: usize) -> Vec<Vec<T>> {
    let mut parts = Vec::new();
    while list.len() > max {
        let rest = list.split_off(max);
        parts.push(std::mem::replace(&mut list, rest));
    }
    parts.push(list);
    parts
}

/// Pairs two lists of parts; where one has none left, nothing is in its place.
fn pair<A: Default, B: Default>(a: Vec<A>, b: Vec<B>) -> impl Iterator<Item = (A, B)> {
    let (mut a, mut b) = (a.into_iter(), b.into_iter());
    std::iter::from_fn(move || match (a.next(), b.next()) {
        (None, None) => None,
        (a, b) => Some((a.unwrap_or_default(), b.unwrap_or_default())),
    })
}
