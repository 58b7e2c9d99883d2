//! The slots range by range, and those that are to move.

use comfy_table::CellAlignment::{Left, Right};
use serde::Serialize;

use crate::cluster::{self, Picture, id};
use crate::output::{Page, View, number};

/// Every slot, in ranges.
#[derive(Debug, Serialize)]
pub(super) struct Ranges {
    ranges: Vec<ShownRange>,
}

#[derive(Debug, Serialize)]
struct ShownRange {
    first: usize,
    last: usize,
    /// Null if nobody knows one.
    owner: Option<String>,
    target: Option<String>,
}

impl Ranges {
    pub(super) fn of(picture: &Picture) -> Self {
        let shown = |range: cluster::Range| ShownRange {
            first: range.first,
            last: range.last,
            owner: range.owner.map(id),
            target: range.target.map(id),
        };
        let ranges = cluster::ranges(&picture.slots);
        Self {
            ranges: ranges.into_iter().map(shown).collect(),
        }
    }
}

impl View for Ranges {
    fn page(&self, page: &mut Page) {
        let columns = [
            ("SLOTS", Right),
            ("COUNT", Right),
            ("OWNER", Left),
            ("TO BE", Left),
        ];
        let row = |range: &ShownRange| {
            let slots = if range.first == range.last {
                range.first.to_string()
            } else {
                format!("{}-{}", range.first, range.last)
            };
            let count = u64::try_from(range.last - range.first + 1).unwrap_or(u64::MAX);
            let moves = range.owner != range.target;
            let target = if moves {
                named(range.target.as_deref())
            } else {
                String::new()
            };
            let owner = named(range.owner.as_deref());
            vec![slots, number(count), owner, target]
        };
        page.table(&columns, self.ranges.iter().map(row).collect());
    }
}

/// The slots that are to move.
#[derive(Debug, Serialize)]
pub(super) struct Moving {
    slot_count: usize,
    to_move: u64,
    moves: Vec<ShownMove>,
}

#[derive(Debug, Serialize)]
struct ShownMove {
    /// Null if nobody knows the owner.
    from: Option<String>,
    to: String,
    slots: u64,
}

impl Moving {
    pub(super) fn of(picture: &Picture) -> Self {
        let moves = cluster::moves(&picture.slots);
        Self {
            slot_count: picture.slots.count(),
            to_move: moves.iter().map(|(_, _, count)| count).sum(),
            moves: moves
                .into_iter()
                .map(|(from, to, slots)| ShownMove {
                    from: from.map(id),
                    to: id(to),
                    slots,
                })
                .collect(),
        }
    }
}

impl View for Moving {
    fn page(&self, page: &mut Page) {
        if self.moves.is_empty() {
            page.line("every slot is where it should be");
            return;
        }
        let columns = [("FROM", Left), ("TO", Left), ("SLOTS", Right)];
        let row = |it: &ShownMove| {
            let (from, to) = (named(it.from.as_deref()), named(Some(&it.to)));
            vec![from, to, number(it.slots)]
        };
        page.table(&columns, self.moves.iter().map(row).collect());
        page.line(&format!(
            "{} of {} slots are to move",
            number(self.to_move),
            self.slot_count
        ));
    }
}

/// The beginning of an id, or that there is none.
fn named(id: Option<&str>) -> String {
    id.map_or_else(|| "nobody".to_owned(), |id| id.chars().take(8).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::{change, healthy};

    fn page(view: &impl View) -> String {
        let mut page = Page::new(false, None);
        view.page(&mut page);
        page.text().to_owned()
    }

    #[test]
    fn ranges_name_their_owner_and_where_they_are_to_go() {
        let mut all = healthy(3);
        for place in 0..3 {
            change(&mut all, place, |ring| {
                ring.runs = vec![(1, 0, 0), (1999, 0, 1), (96, 65_535, 1), (2000, 2, 2)];
            });
        }
        let picture = Picture::of(&all);
        assert_eq!(
            page(&Ranges::of(&picture)),
            "    SLOTS  COUNT  OWNER     TO BE\n        0      1  00000001\n   1-1999  1,999  00000001  \
             00000002\n2000-2095     96  nobody    00000002\n2096-4095  2,000  00000003\n"
        );
        assert_eq!(
            page(&Moving::of(&picture)),
            "FROM      TO        SLOTS\n00000001  00000002  1,999\nnobody    00000002     96\n2,095 of \
             4096 slots are to move\n"
        );
        let json = serde_json::to_value(Moving::of(&picture)).unwrap();
        assert_eq!(json["to_move"], 2095);
        assert_eq!(json["moves"][1]["from"], serde_json::Value::Null);
        let still = page(&Moving::of(&Picture::of(&healthy(3))));
        assert_eq!(still, "every slot is where it should be\n");
    }
}
