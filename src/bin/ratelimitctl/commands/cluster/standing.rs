//! Whether the cluster can lose one more node.

use serde::Serialize;

use crate::cluster::{Picture, Seen, id, short};
use crate::outcome::Exit;
use crate::output::{Page, Tone, View, printable};

/// Longest reason or address that is shown, in characters.
const CHARS_MAX: usize = 160;

/// See the module.
#[derive(Debug, Serialize)]
pub(super) struct Standing {
    may_lose_one: bool,
    summary: String,
    replicas_wanted: u8,
    replicas_possible: u8,
    slot_count: u64,
    under_replicated: u64,
    unserved: u64,
    without_majority: u64,
    nodes: Vec<ShownNode>,
}

#[derive(Debug, Serialize)]
struct ShownNode {
    node: String,
    address: String,
    /// Why it does not answer; null if it does.
    silent: Option<String>,
    /// Slots that its loss would stop.
    stops: u64,
}

impl Standing {
    pub(super) fn of(seen: &[Seen]) -> Self {
        let picture = Picture::of(seen);
        let replicas = &picture.replicas;
        let name = |node: u128| {
            let line = picture.nodes.iter().find(|line| line.node == node);
            let line = line.filter(|line| !line.address.is_empty());
            line.map_or_else(|| short(node), |line| printable(&line.address, CHARS_MAX))
        };
        let silence = |node: u128| {
            let asked = seen.iter().find(|seen| seen.node == node)?;
            let reason = asked.answer.as_ref().err()?;
            Some(printable(reason, CHARS_MAX))
        };
        let nodes = picture.nodes.iter().map(|line| ShownNode {
            node: id(line.node),
            address: printable(&line.address, CHARS_MAX),
            silent: silence(line.node),
            stops: replicas.stops.get(&line.node).copied().unwrap_or(0),
        });
        Self {
            may_lose_one: replicas.may_lose_one(),
            summary: replicas.summary(name),
            replicas_wanted: replicas.wanted,
            replicas_possible: replicas.possible,
            slot_count: replicas.slots,
            under_replicated: replicas.under,
            unserved: replicas.unserved,
            without_majority: replicas.without_majority,
            nodes: nodes.collect(),
        }
    }

    pub(super) const fn exit(&self) -> Exit {
        if self.may_lose_one {
            Exit::Ok
        } else {
            Exit::Denied
        }
    }
}

impl View for Standing {
    fn page(&self, page: &mut Page) {
        let tone = if self.may_lose_one {
            Tone::Good
        } else {
            Tone::Bad
        };
        page.line(&page.tone(tone, &self.summary));
        for node in &self.nodes {
            if let Some(reason) = &node.silent {
                page.line(&format!("{} does not answer: {reason}", node.address));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::{change, replicated};

    #[test]
    fn nodes_are_named_by_address_and_the_exit_code_is_the_answer() {
        let mut all = replicated(4);
        let standing = Standing::of(&all);
        assert_eq!(standing.exit(), Exit::Ok);
        change(&mut all, 1, |ring| ring.replicas.sets[0].in_sync = 0b011);
        all[3].answer = Err("no answer within 2 s".into());
        let standing = Standing::of(&all);
        assert_eq!(standing.exit(), Exit::Denied);
        let mut page = Page::new(false, None);
        standing.page(&mut page);
        assert_eq!(
            page.text(),
            "1,024 slots are served by no node now; 1,024 slots are on fewer than 3 nodes in sync; \
             losing 10.0.0.2:7400 would stop 1,024 slots, 10.0.0.3:7400 would stop 1,024 slots\n\
             10.0.0.4:7400 does not answer: no answer within 2 s\n"
        );
        let json = serde_json::to_value(&standing).unwrap();
        assert_eq!(json["may_lose_one"], false);
        assert_eq!(json["under_replicated"], 1024);
        assert_eq!(json["nodes"][1]["stops"], 1024);
        assert_eq!(json["nodes"][3]["silent"], "no answer within 2 s");
    }
}
