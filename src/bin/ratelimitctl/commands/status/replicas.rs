//! What a node's status says of replicas.

use distributed_rate_limiter::client::{ReplicaLink, RingReplicas, Status};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::cluster::id;
use crate::output::{Page, Tone, number, printable};

/// How the replicas stand of what the node serves and holds.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct InReplicas {
    /// On how many nodes each slot should be; 0 if the node did not tell.
    wanted: u8,
    /// On how many it can be.
    possible: u8,
    /// Slots that it serves that are on fewer nodes in sync than are wanted.
    under_replicated: u64,
    /// Slots that it holds for their owners, and those of them that are behind.
    held: u32,
    behind: u32,
}

impl InReplicas {
    pub(super) fn of(replicas: &RingReplicas) -> Self {
        let in_sync = |set: u16| {
            let set = replicas.sets.get(usize::from(set))?;
            Some(set.in_sync.count_ones())
        };
        let is_under = |set| in_sync(set).is_some_and(|count| count < replicas.wanted.into());
        let under = replicas.runs.iter().filter(|run| is_under(run.1));
        Self {
            wanted: replicas.wanted,
            possible: replicas.possible,
            under_replicated: under.map(|run| u64::from(run.0)).sum(),
            held: replicas.held,
            behind: replicas.behind,
        }
    }

    /// Whether there are several replicas, or should be.
    pub(super) fn is_of_interest(&self, status: &Status) -> bool {
        self.wanted > 1 || self.held > 0 || !status.replica_links.is_empty()
    }

    pub(super) fn page(&self, status: &Status, page: &mut Page) {
        page.heading("replicas");
        let wanted = match (self.wanted, self.possible) {
            (wanted, possible) if possible < wanted => page.tone(
                Tone::Bad,
                &format!("{wanted} of each slot, but nodes for {possible} only"),
            ),
            (wanted, _) => format!("{wanted} of each slot"),
        };
        let some = |page: &Page, count: u64, what: &str| match count {
            0 => "none".to_owned(),
            count => page.tone(Tone::Bad, &format!("{} {what}", number(count))),
        };
        let behind = some(page, self.behind.into(), "of them");
        page.fields(&[
            ("wanted", wanted),
            (
                "under-replicated",
                some(page, self.under_replicated, "slots served here"),
            ),
            (
                "without majority",
                some(page, status.without_majority, "slots, which grant nothing"),
            ),
            (
                "held for others",
                format!("{} slots", number(self.held.into())),
            ),
            ("behind", behind),
            ("acknowledgements refused", reasons(status)),
        ]);
        let links = status.replica_links.iter().map(|it| link(it, page));
        let links: Vec<_> = links.collect();
        page.fields(&links);
    }
}

/// What was refused of replicas, and why.
fn reasons(status: &Status) -> String {
    let reasons = status.acknowledgements_refused.iter();
    let reasons = reasons.map(|(why, count)| format!("{} {}", number(*count), printable(why, 40)));
    match reasons.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "none".to_owned(),
        some => some,
    }
}

fn link(link: &ReplicaLink, page: &Page) -> (&'static str, String) {
    let node = id(link.node);
    let node: String = node.chars().take(8).collect();
    let state = if link.linked {
        format!(
            "{} commits not acknowledged, {} not synced",
            number(link.owed),
            number(link.unsynced)
        )
    } else {
        page.tone(Tone::Bad, "no link")
    };
    ("link to                 ", format!("{node}: {state}"))
}

/// A link to a replica, as scripts see it.
#[derive(Debug, Serialize)]
pub(super) struct ShownLink {
    node: String,
    linked: bool,
    owed: u64,
    unsynced: u64,
}

/// The links to replicas.
pub(super) fn links(status: &Status) -> Vec<ShownLink> {
    let links = status.replica_links.iter();
    let links = links.map(|link| ShownLink {
        node: id(link.node),
        linked: link.linked,
        owed: link.owed,
        unsynced: link.unsynced,
    });
    links.collect()
}

/// What was refused of replicas, by why.
pub(super) fn refused(status: &Status) -> Map<String, Value> {
    let refused = status.acknowledgements_refused.iter();
    refused
        .map(|(why, count)| (why.clone(), (*count).into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use distributed_rate_limiter::client::ReplicaSet;

    use super::super::command::{InCluster, Shown};
    use super::*;
    use crate::cluster::tests::ring;

    #[test]
    fn replicas_are_told_where_there_are_some() {
        let mut ring = ring(1 << 96, &[1 << 96, 2 << 96], &[(4096, 0, 0)]);
        let mut behind = ReplicaSet::default();
        (behind.replicas, behind.in_sync) = (vec![1 << 96, 2 << 96, 3 << 96], 0b001);
        let mut whole = behind.clone();
        whole.in_sync = 0b111;
        ring.replicas.sets = vec![behind, whole];
        ring.replicas.runs = vec![(1000, 0), (3096, 1)];
        (ring.replicas.wanted, ring.replicas.possible) = (3, 1);
        (ring.replicas.held, ring.replicas.behind) = (7, 2);
        let mut status = Status::default();
        status.without_majority = 5;
        status.acknowledgements_refused = vec![("of another epoch".to_owned(), 4)];
        let mut link = ReplicaLink::default();
        (link.node, link.linked, link.owed, link.unsynced) = (2 << 96, true, 8, 9);
        status.replica_links = vec![link, ReplicaLink::default()];
        let cluster = InCluster::of(&ring);
        let mut page = Page::new(false, None);
        cluster.page(&status, &mut page);
        let (_, told) = page.text().split_once("\nreplicas\n").unwrap();
        assert_eq!(
            told,
            "wanted                    3 of each slot, but nodes for 1 only\n\
             under-replicated          1,000 slots served here\n\
             without majority          5 slots, which grant nothing\n\
             held for others           7 slots\n\
             behind                    2 of them\n\
             acknowledgements refused  4 of another epoch\n\
             link to                   00000002: 8 commits not acknowledged, 9 not synced\n\
             link to                   00000000: no link\n"
        );
        let shown = Shown {
            address: "a:1".to_owned(),
            cluster: Some(cluster),
            status,
        };
        let json = serde_json::to_value(&shown).unwrap();
        assert_eq!(json["cluster"]["replicas"]["under_replicated"], 1000);
        assert_eq!(json["acknowledgements_refused"]["of another epoch"], 4);
        let node = "00000002-0000-0000-0000-000000000000";
        assert_eq!(json["replica_links"][0]["node"], node);
    }
}
