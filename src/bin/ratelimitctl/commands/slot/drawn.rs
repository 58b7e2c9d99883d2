//! A slot as a table: a column for each node.

use comfy_table::CellAlignment::Left;
use distributed_rate_limiter::client::{SlotConfiguration, SlotEpoch, SlotView};
use serde::Serialize;

use crate::cluster::{ToldSlot, id};
use crate::output::{Page, Tone, View, number, printable};

/// Longest reason or address that is shown, in characters.
const CHARS_MAX: usize = 160;

/// Most nodes whose columns stand side by side.
const SIDE_BY_SIDE_MAX: usize = 5;

/// A slot as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Drawn {
    slot: u16,
    nodes: Vec<ShownNode>,
    silent: Vec<ShownSilence>,
}

#[expect(clippy::struct_excessive_bools, reason = "each says another thing")]
#[derive(Debug, Serialize)]
struct ShownNode {
    node: String,
    address: String,
    /// `owner`, `replica`, `to be` (should hold it), or `none`.
    part: &'static str,
    promised: Option<ShownEpoch>,
    chosen: Option<ShownConfiguration>,
    accepted: Option<ShownConfiguration>,
    /// The ballot under which it was accepted.
    accepted_under: Option<ShownEpoch>,
    complete: bool,
    holds: bool,
    serves: bool,
    at: Option<ShownEpoch>,
    n: u64,
    clock_ms: u64,
    followed: Option<ShownEpoch>,
    in_sync: Vec<String>,
    without_majority: bool,
}

#[derive(Debug, Serialize)]
struct ShownSilence {
    node: String,
    address: String,
    reason: String,
}

#[derive(Debug, Serialize)]
struct ShownEpoch {
    counter: u64,
    node: String,
}

#[derive(Debug, Serialize)]
struct ShownConfiguration {
    version: u64,
    epoch: Option<ShownEpoch>,
    owner: String,
    replicas: Vec<String>,
}

impl Drawn {
    pub(super) fn of(slot: u16, told: &[ToldSlot], all: bool) -> Self {
        let views = told.iter().filter_map(|it| it.view.as_ref().ok());
        let newest = views.clone().filter_map(|view| view.chosen.as_ref());
        let newest = newest.max_by_key(|chosen| chosen.version);
        let is_target = |node| views.clone().any(|view| view.targets.contains(&node));
        let nodes = told.iter().filter_map(|it| {
            let view = it.view.as_ref().ok()?;
            let part = match newest {
                Some(chosen) if chosen.owner == view.node => "owner",
                Some(chosen) if chosen.replicas.contains(&view.node) => "replica",
                Some(_) | None if is_target(view.node) => "to be",
                Some(_) | None => "none",
            };
            let concerned = part != "none" || view.holds || view.accepted.is_some();
            (all || concerned).then(|| ShownNode::of(view, &it.address, part))
        });
        let mut nodes: Vec<ShownNode> = nodes.collect();
        nodes.sort_by_key(|node| (rank(node.part), node.node.clone()));
        let silent = told.iter().filter_map(|it| {
            let reason = it.view.as_ref().err()?;
            Some(ShownSilence {
                node: id(it.node),
                address: printable(&it.address, CHARS_MAX),
                reason: printable(reason, CHARS_MAX),
            })
        });
        Self {
            slot,
            nodes,
            silent: silent.collect(),
        }
    }
}

fn rank(part: &str) -> u8 {
    match part {
        "owner" => 0,
        "replica" => 1,
        "to be" => 2,
        _ => 3,
    }
}

impl ShownNode {
    fn of(view: &SlotView, address: &str, part: &'static str) -> Self {
        let accepted = view.accepted.as_ref();
        Self {
            node: id(view.node),
            address: printable(address, CHARS_MAX),
            part,
            promised: ShownEpoch::of(view.promised),
            chosen: view.chosen.as_ref().map(ShownConfiguration::of),
            accepted: accepted.map(|it| ShownConfiguration::of(&it.1)),
            accepted_under: accepted.and_then(|it| ShownEpoch::of(it.0)),
            complete: view.complete,
            holds: view.holds,
            serves: view.serves,
            at: ShownEpoch::of(view.at),
            n: view.n,
            clock_ms: view.clock_ms,
            followed: view.followed.and_then(ShownEpoch::of),
            in_sync: view.in_sync.iter().map(|node| id(*node)).collect(),
            without_majority: view.without_majority,
        }
    }

    /// What stands in its column, line by line.
    fn cells(&self, page: &Page) -> [String; ROWS.len()] {
        let chosen = self.chosen.as_ref();
        let part = match (self.part, self.serves, self.without_majority) {
            (_, true, true) => page.tone(Tone::Bad, "owner, without a majority"),
            ("owner", false, _) => page.tone(Tone::Bad, "owner, serves not"),
            (part, ..) => part.to_owned(),
        };
        let complete = match (self.holds, self.complete) {
            (_, false) => page.tone(Tone::Bad, "no"),
            (true, true) => "yes".to_owned(),
            (false, true) => "-".to_owned(),
        };
        let position = match &self.at {
            Some(at) if self.holds => format!("{} at {}", number(self.n), at.text()),
            Some(_) | None => "-".to_owned(),
        };
        let clock = if self.holds {
            format!("{} ms", number(self.clock_ms))
        } else {
            "-".to_owned()
        };
        let accepted = self.accepted.as_ref().map(|it| {
            let under = text_of(self.accepted_under.as_ref());
            let (owner, replicas) = (begin(&it.owner), names(&it.replicas));
            format!("v{} under {under}: {owner} of {replicas}", it.version)
        });
        let dash = || "-".to_owned();
        [
            self.address.clone(),
            part,
            text_of(self.promised.as_ref()),
            chosen.map_or_else(dash, |it| {
                format!("v{} at {}", it.version, text_of(it.epoch.as_ref()))
            }),
            chosen.map_or_else(dash, |it| begin(&it.owner)),
            chosen.map_or_else(dash, |it| names(&it.replicas)),
            accepted.unwrap_or_else(dash),
            complete,
            position,
            clock,
            text_of(self.followed.as_ref()),
            names(&self.in_sync),
        ]
    }
}

/// The names of the lines.
const ROWS: [&str; 12] = [
    "address", "part", "promised", "chosen", "owner", "replicas", "accepted", "complete",
    "position", "clock", "follows", "in sync",
];

impl ShownEpoch {
    fn of(epoch: SlotEpoch) -> Option<Self> {
        (epoch.counter > 0).then(|| Self {
            counter: epoch.counter,
            node: id(epoch.node),
        })
    }

    fn text(&self) -> String {
        format!("{}/{}", self.counter, begin(&self.node))
    }
}

impl ShownConfiguration {
    fn of(it: &SlotConfiguration) -> Self {
        Self {
            version: it.version,
            epoch: ShownEpoch::of(it.epoch),
            owner: id(it.owner),
            replicas: it.replicas.iter().map(|node| id(*node)).collect(),
        }
    }
}

fn text_of(epoch: Option<&ShownEpoch>) -> String {
    epoch.map_or_else(|| "-".to_owned(), ShownEpoch::text)
}

/// The beginning of an id.
fn begin(id: &str) -> String {
    id.chars().take(8).collect()
}

fn names(ids: &[String]) -> String {
    if ids.is_empty() {
        return "-".to_owned();
    }
    ids.iter().map(|it| begin(it)).collect::<Vec<_>>().join(" ")
}

impl View for Drawn {
    fn page(&self, page: &mut Page) {
        page.line(&format!("slot {}", self.slot));
        for some in self.nodes.chunks(SIDE_BY_SIDE_MAX) {
            let ids: Vec<String> = some.iter().map(|node| begin(&node.node)).collect();
            let mut columns = vec![("", Left)];
            columns.extend(ids.iter().map(|id| (id.as_str(), Left)));
            let cells: Vec<_> = some.iter().map(|node| node.cells(page)).collect();
            let row = |(n, name): (usize, &&str)| {
                let mut row = vec![(*name).to_owned()];
                row.extend(cells.iter().map(|cells| cells[n].clone()));
                row
            };
            page.line("");
            page.table(&columns, ROWS.iter().enumerate().map(row).collect());
        }
        for node in &self.silent {
            let (short, address) = (begin(&node.node), &node.address);
            let line = format!("{short} at {address} does not answer: {}", node.reason);
            page.line(&page.tone(Tone::Bad, &line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: [u128; 4] = [1 << 96, 2 << 96, 3 << 96, 4 << 96];

    fn epoch(counter: u64, node: u128) -> SlotEpoch {
        let mut epoch = SlotEpoch::default();
        (epoch.counter, epoch.node) = (counter, node);
        epoch
    }

    /// Node 2 owns the slot, 1 and 3 are its replicas, of which 3 is behind; 4 has heard of it.
    fn told() -> Vec<ToldSlot> {
        let mut chosen = SlotConfiguration::default();
        (chosen.version, chosen.epoch) = (7, epoch(12, IDS[1]));
        (chosen.owner, chosen.replicas) = (IDS[1], IDS[..3].to_vec());
        let one = |(n, &node): (usize, &u128)| {
            let mut view = SlotView::default();
            (view.node, view.slot, view.complete) = (node, 5, n != 2);
            (view.promised, view.chosen) = (epoch(12, IDS[1]), Some(chosen.clone()));
            (view.holds, view.serves) = (n < 3, n == 1);
            (view.at, view.n) = (epoch(12, IDS[1]), if n == 2 { 30 } else { 1234 });
            view.clock_ms = 60_000;
            view.followed = (n == 0).then(|| epoch(12, IDS[1]));
            view.in_sync = if n == 1 { vec![IDS[0]] } else { Vec::new() };
            ToldSlot {
                node,
                address: format!("10.0.0.{}:7400", n + 1),
                view: Ok(view),
            }
        };
        IDS.iter().enumerate().map(one).collect()
    }

    fn text(told: &[ToldSlot], all: bool) -> String {
        let mut page = Page::new(false, None);
        Drawn::of(5, told, all).page(&mut page);
        page.text().to_owned()
    }

    #[test]
    fn replicas_stand_side_by_side_the_owner_first() {
        assert_eq!(
            text(&told(), false),
            "slot 5\n\n\
             \x20         00000002                    00000001                    00000003\n\
             address   10.0.0.2:7400               10.0.0.1:7400               10.0.0.3:7400\n\
             part      owner                       replica                     replica\n\
             promised  12/00000002                 12/00000002                 12/00000002\n\
             chosen    v7 at 12/00000002           v7 at 12/00000002           v7 at 12/00000002\n\
             owner     00000002                    00000002                    00000002\n\
             replicas  00000001 00000002 00000003  00000001 00000002 00000003  00000001 00000002 00000003\n\
             accepted  -                           -                           -\n\
             complete  yes                         yes                         no\n\
             position  1,234 at 12/00000002        1,234 at 12/00000002        30 at 12/00000002\n\
             clock     60,000 ms                   60,000 ms                   60,000 ms\n\
             follows   -                           12/00000002                 -\n\
             in sync   00000001                    -                           -\n"
        );
    }

    #[test]
    fn a_proposal_a_silent_node_and_an_owner_that_cannot_grant_are_seen() {
        let mut told = told();
        if let Ok(view) = &mut told[3].view {
            let mut next = view.chosen.clone().unwrap();
            (next.version, next.owner) = (8, IDS[3]);
            view.accepted = Some((epoch(13, IDS[3]), next));
        }
        if let Ok(view) = &mut told[1].view {
            view.without_majority = true;
        }
        told[2].view = Err("no answer".into());
        let text = text(&told, false);
        for said in [
            "owner, without a majority",
            "v8 under 13/00000004: 00000004 of 00000001 00000002 00000003",
            "00000003 at 10.0.0.3:7400 does not answer: no answer\n",
        ] {
            assert!(text.contains(said), "{said} in {text}");
        }
    }

    #[test]
    fn scripts_find_ids_in_full_and_all_nodes_if_they_are_asked_for() {
        let json = serde_json::to_value(Drawn::of(5, &told(), false)).unwrap();
        assert_eq!(json["nodes"].as_array().unwrap().len(), 3);
        assert_eq!(json["nodes"][0]["chosen"]["epoch"]["counter"], 12);
        let first = "00000001-0000-0000-0000-000000000000";
        assert_eq!(json["nodes"][0]["in_sync"][0], first);
        let all = serde_json::to_value(Drawn::of(5, &told(), true)).unwrap();
        assert_eq!(all["nodes"][3]["part"], "none");
        assert_eq!(all["nodes"][3]["holds"], false);
    }
}
