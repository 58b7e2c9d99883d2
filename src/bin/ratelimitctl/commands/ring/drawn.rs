//! The cluster as a table, with what moves and what is wrong below it.

use comfy_table::CellAlignment::{Left, Right};
use distributed_rate_limiter::client::HandOff;
use serde::Serialize;

use crate::cluster::{NodeLine, Picture, id, short};
use crate::fit::{Column, fitting};
use crate::output::{Page, Tone, View, bar_within, bytes, number, percent, printable};

/// Lengths of a full bar, in characters: as it should be, and where there is no room for it.
const BAR_WIDTHS: [u64; 2] = [20, 8];

/// Longest address that is shown whole, in characters.
const ADDRESS_CHARS_MAX: usize = 40;

/// Most hand-offs that are listed; the rest is counted.
const HAND_OFFS_MAX: usize = 20;

/// A cluster as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Drawn {
    slot_count: usize,
    unowned: u64,
    agreed: bool,
    replicas_wanted: u8,
    under_replicated: u64,
    nodes: Vec<ShownNode>,
    hand_offs: Vec<ShownHandOff>,
    remarks: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ShownNode {
    node: String,
    #[serde(skip)]
    short: String,
    address: String,
    state: String,
    answers: bool,
    boots: u64,
    weight: u32,
    policies: String,
    slots: u64,
    target_slots: u64,
    /// What follows is null if the node does not answer.
    replica_slots: Option<u32>,
    behind: Option<u32>,
    keys: Option<u64>,
    checks_per_second: Option<u64>,
    proxied_per_second: Option<u64>,
    degraded_per_second: Option<u64>,
    unsynced_commits: Option<u64>,
    round_trip_us: Option<u64>,
}

#[derive(Debug, Serialize)]
struct ShownHandOff {
    from: String,
    to: String,
    slots: u32,
    step: String,
    bytes: u64,
}

impl Drawn {
    pub(super) fn of(picture: &Picture) -> Self {
        Self {
            slot_count: picture.slots.count(),
            unowned: picture.unowned(),
            agreed: picture.agreed,
            replicas_wanted: picture.replicas.wanted,
            under_replicated: picture.replicas.under,
            nodes: picture.nodes.iter().map(ShownNode::of).collect(),
            hand_offs: picture.hand_offs.iter().map(ShownHandOff::of).collect(),
            remarks: picture.remarks.clone(),
        }
    }

    fn rows(&self, bar_width: u64) -> Vec<Vec<String>> {
        let full = self.nodes.iter().map(|node| node.slots).max().unwrap_or(0);
        let all = u64::try_from(self.slot_count).unwrap_or(u64::MAX);
        let row = |node: &ShownNode| {
            let mut row = node.row(full, all, bar_width);
            if !self.is_replicated() {
                row.drain(REPLICATED_AT..REPLICATED_AT + REPLICATED.len());
            }
            row
        };
        self.nodes.iter().map(row).collect()
    }

    /// Whether slots have, or should have, several replicas.
    fn is_replicated(&self) -> bool {
        let mut nodes = self.nodes.iter();
        self.replicas_wanted > 1 || nodes.any(|node| node.replica_slots.is_some_and(|it| it > 0))
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = COLUMNS.to_vec();
        if self.is_replicated() {
            columns.splice(REPLICATED_AT..REPLICATED_AT, REPLICATED);
        }
        columns
    }
}

impl ShownNode {
    fn of(node: &NodeLine) -> Self {
        let own = node.own.as_ref();
        Self {
            node: id(node.node),
            short: short(node.node),
            address: printable(&node.address, ADDRESS_CHARS_MAX),
            state: printable(&node.state, 16),
            answers: own.is_some(),
            boots: node.boots,
            weight: node.weight,
            policies: format!("{:016x}", node.policies),
            slots: node.slots,
            target_slots: node.target_slots,
            replica_slots: own.map(|own| own.held),
            behind: own.map(|own| own.behind),
            keys: own.map(|own| own.load.keys),
            checks_per_second: own.map(|own| own.rates.checks),
            proxied_per_second: own.map(|own| own.rates.proxied),
            degraded_per_second: own.map(|own| own.rates.degraded),
            unsynced_commits: own.map(|own| own.load.unsynced_commits),
            round_trip_us: own.map(|own| own.round_trip_us),
        }
    }

    fn row(&self, full: u64, all: u64, bar_width: u64) -> Vec<String> {
        let known =
            |value: Option<u64>, shown: fn(u64) -> String| value.map_or_else(|| "?".into(), shown);
        let proxied = self.proxied_per_second.unwrap_or(0);
        let asked = self.checks_per_second.unwrap_or(0).saturating_add(proxied);
        let state = if self.answers {
            self.state.clone()
        } else {
            format!("{}, silent", self.state)
        };
        vec![
            self.short.clone(),
            self.address.clone(),
            state,
            percent(self.slots, all),
            bar_within(self.slots, full, bar_width),
            number(self.slots),
            known(self.replica_slots.map(u64::from), number),
            known(self.behind.map(u64::from), number),
            known(self.keys, number),
            known(self.checks_per_second, number),
            match (self.answers, asked) {
                (false, _) => "?".to_owned(),
                (true, 0) => "-".to_owned(),
                (true, asked) => percent(proxied, asked),
            },
            known(self.unsynced_commits, number),
            known(self.round_trip_us, round_trip),
        ]
    }
}

/// Microseconds in the unit that fits.
fn round_trip(us: u64) -> String {
    if us < 1000 {
        format!("{us} µs")
    } else {
        format!("{}.{} ms", us / 1000, us % 1000 / 100)
    }
}

impl ShownHandOff {
    fn of(hand_off: &HandOff) -> Self {
        Self {
            from: id(hand_off.from),
            to: id(hand_off.to),
            slots: hand_off.slots,
            step: printable(&hand_off.step, 16),
            bytes: hand_off.bytes,
        }
    }
}

const fn column(name: &'static str, leave_out: u8) -> Column {
    let alignment = Right;
    Column {
        name,
        alignment,
        leave_out,
    }
}

const fn left(name: &'static str, leave_out: u8) -> Column {
    let alignment = Left;
    Column {
        name,
        alignment,
        leave_out,
    }
}

/// Where [`REPLICATED`] stand among the others.
const REPLICATED_AT: usize = 6;

/// The columns of a cluster whose slots have several replicas.
const REPLICATED: [Column; 2] = [column("REPLICAS", 4), column("BEHIND", 4)];

const COLUMNS: [Column; 11] = [
    left("NODE", 0),
    left("ADDRESS", 0),
    left("STATE", 0),
    column("OWNS", 0),
    left("", 3),
    column("SLOTS", 4),
    column("KEYS", 5),
    column("CHECKS/S", 1),
    column("PROXIED", 2),
    column("UNSYNCED", 7),
    column("ROUND TRIP", 6),
];

impl View for Drawn {
    fn page(&self, page: &mut Page) {
        let columns = self.columns();
        let fits = |width: &u64| {
            let rows = self.rows(*width);
            fitting(page.width(), &columns, &rows).len() == columns.len()
        };
        let bar_width = BAR_WIDTHS.iter().find(|width| fits(width));
        let bar_width = bar_width.copied().unwrap_or(BAR_WIDTHS[1]);
        page.fitting_table(&columns, &self.rows(bar_width));
        self.page_hand_offs(page);
        if self.remarks.is_empty() {
            return;
        }
        page.heading(if self.hand_offs.is_empty() {
            "not as it should be"
        } else {
            "not as it should be, or not yet: slots are moving"
        });
        for remark in &self.remarks {
            page.line(&page.tone(Tone::Bad, remark));
        }
    }
}

impl Drawn {
    fn page_hand_offs(&self, page: &mut Page) {
        if self.hand_offs.is_empty() {
            return;
        }
        page.heading("hand-offs");
        let name = |id: &str| id.chars().take(8).collect::<String>();
        let rows = self.hand_offs.iter().take(HAND_OFFS_MAX).map(|hand_off| {
            vec![
                name(&hand_off.from),
                name(&hand_off.to),
                number(hand_off.slots.into()),
                hand_off.step.clone(),
                bytes(hand_off.bytes),
            ]
        });
        let columns = [
            left("FROM", 0),
            left("TO", 0),
            column("SLOTS", 0),
            left("STEP", 0),
            column("MOVED", 1),
        ];
        page.fitting_table(&columns, &rows.collect::<Vec<_>>());
        let more = self.hand_offs.len().saturating_sub(HAND_OFFS_MAX);
        if more > 0 {
            page.line(&format!("… and {more} more"));
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
