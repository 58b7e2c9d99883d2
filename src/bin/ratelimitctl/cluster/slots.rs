//! Whose the slots are.

use std::collections::BTreeMap;

use distributed_rate_limiter::client::Ring;

/// Most slots that a node is believed to have: ten times as many as there are.
const SLOTS_MAX: usize = 40_960;

/// Of each slot, in order, who owns it and who should.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Slots {
    pub(crate) owners: Vec<Option<u128>>,
    pub(crate) targets: Vec<Option<u128>>,
}

impl Slots {
    /// The slots as one node sees them. Places that are not in its list of nodes are nobody's.
    pub(crate) fn of(ring: &Ring) -> Self {
        let node = |place: u16| ring.nodes.get(usize::from(place)).map(|node| node.node);
        let mut slots = Self::default();
        for &(count, owner, target) in &ring.runs {
            let count = usize::from(count).min(SLOTS_MAX - slots.owners.len());
            let length = slots.owners.len() + count;
            slots.owners.resize(length, node(owner));
            slots.targets.resize(length, node(target));
        }
        slots
    }

    /// What most of `views` say of each slot; of equally many the one that comes first.
    pub(crate) fn of_most(views: &[Self]) -> Self {
        let count = views.iter().map(|view| view.owners.len()).max();
        let each = |of: fn(&Self) -> &Vec<Option<u128>>| {
            let said = |slot| views.iter().filter_map(move |view| *of(view).get(slot)?);
            (0..count.unwrap_or(0))
                .map(|slot| most(&said(slot)))
                .collect()
        };
        Self {
            owners: each(|view| &view.owners),
            targets: each(|view| &view.targets),
        }
    }

    /// How many slots there are.
    pub(crate) fn count(&self) -> usize {
        self.owners.len()
    }
}

/// The one that is there most often; of equally many the first.
pub(crate) fn most<T: PartialEq + Copy>(said: &(impl Iterator<Item = T> + Clone)) -> Option<T> {
    let often = |it: &T| said.clone().filter(|other| other == it).count();
    let mut best: Option<(usize, T)> = None;
    for it in said.clone() {
        if best.is_some_and(|(_, best)| best == it) {
            continue;
        }
        let count = often(&it);
        if best.is_none_or(|(most, _)| count > most) {
            best = Some((count, it));
        }
    }
    best.map(|(_, it)| it)
}

/// Slots that lie side by side and are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: usize,
    pub(crate) last: usize,
    pub(crate) owner: Option<u128>,
    pub(crate) target: Option<u128>,
}

/// All slots, as few ranges as can be.
pub(crate) fn ranges(slots: &Slots) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    for (slot, (&owner, &target)) in slots.owners.iter().zip(&slots.targets).enumerate() {
        match ranges.last_mut() {
            Some(range) if (range.owner, range.target) == (owner, target) => range.last = slot,
            _ => ranges.push(Range {
                first: slot,
                last: slot,
                owner,
                target,
            }),
        }
    }
    ranges
}

/// How many slots are to move, by who has them and who should; the most first.
pub(crate) fn moves(slots: &Slots) -> Vec<(Option<u128>, u128, u64)> {
    let mut moves: BTreeMap<(Option<u128>, u128), u64> = BTreeMap::new();
    for (&owner, &target) in slots.owners.iter().zip(&slots.targets) {
        if let Some(target) = target
            && owner != Some(target)
        {
            *moves.entry((owner, target)).or_default() += 1;
        }
    }
    let mut moves: Vec<_> = moves
        .into_iter()
        .map(|((from, to), count)| (from, to, count))
        .collect();
    moves.sort_by_key(|&(from, to, count)| (std::cmp::Reverse(count), from, to));
    moves
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::ring;

    #[test]
    fn a_nodes_runs_become_its_slots_whatever_they_say() {
        for (runs, owners) in [
            (&[][..], vec![]),
            (&[(2, 0, 0), (1, 1, 0)], vec![Some(7), Some(7), Some(8)]),
            (&[(1, 65_535, 0), (1, 5, 1)], vec![None, None]),
        ] {
            let slots = Slots::of(&ring(7, &[7, 8], runs));
            assert_eq!(slots.owners, owners, "{runs:?}");
        }
        let endless = Slots::of(&ring(7, &[7], &[(u16::MAX, 0, 0); 100]));
        assert_eq!(endless.count(), SLOTS_MAX);
    }

    #[test]
    fn of_several_views_most_are_believed() {
        for (said, expected) in [
            (&[][..], None),
            (&[1], Some(1)),
            (&[1, 2], Some(1)),
            (&[1, 2, 2], Some(2)),
            (&[3, 1, 2, 2, 1], Some(1)),
        ] {
            assert_eq!(most(&said.iter().copied()), expected, "{said:?}");
        }
        let views = [&[(4, 0, 1)][..], &[(4, 1, 1)], &[(2, 1, 1), (2, 65_535, 1)]]
            .map(|runs| Slots::of(&ring(7, &[7, 8], runs)));
        let slots = Slots::of_most(&views);
        assert_eq!(slots.owners, [Some(8), Some(8), Some(7), Some(7)]);
        assert_eq!(slots.targets, [Some(8); 4]);
    }

    #[test]
    fn what_is_to_move_is_counted_by_from_and_to() {
        let runs = [
            (5, 0, 0),
            (3, 0, 1),
            (1, 65_535, 1),
            (2, 1, 65_535),
            (4, 0, 1),
        ];
        let slots = Slots::of(&ring(7, &[7, 8], &runs));
        assert_eq!(moves(&slots), [(Some(7), 8, 7), (None, 8, 1)]);
        let ends: Vec<_> = ranges(&slots)
            .iter()
            .map(|it| (it.first, it.last))
            .collect();
        assert_eq!(ends, [(0, 4), (5, 7), (8, 8), (9, 10), (11, 14)]);
    }
}
