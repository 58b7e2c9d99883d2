//! A commit by the peers that its groups go to.

use crate::types::NodeId;

/// What of a commit goes to whom; kept from commit to commit for its memory.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    list: Vec<Part>,
    used: usize,
    pub(super) full: Vec<(NodeId, u64)>,
}

/// One peer's part.
#[derive(Debug)]
pub(crate) struct Part {
    /// Who.
    pub(crate) peer: NodeId,
    /// On which link.
    pub(crate) link: u64,
    /// Places of its groups in the commit, in order.
    pub(crate) groups: Vec<usize>,
}

impl Parts {
    /// The parts of the commit that was told last.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Part> {
        self.list.iter().take(self.used)
    }

    /// Links that must be closed: too much is owed on them. The tracker has given them up.
    pub(crate) fn full(&self) -> &[(NodeId, u64)] {
        &self.full
    }

    pub(super) fn clear(&mut self) {
        self.used = 0;
        self.full.clear();
    }

    pub(super) fn begin(&mut self, peer: NodeId, link: u64) -> usize {
        let place = self.used;
        match self.list.get_mut(place) {
            Some(part) => {
                part.peer = peer;
                part.link = link;
                part.groups.clear();
            }
            None => self.list.push(Part {
                peer,
                link,
                groups: Vec::new(),
            }),
        }
        self.used = self.used.saturating_add(1);
        place
    }

    pub(super) fn add(&mut self, place: usize, group: usize) {
        if let Some(part) = self.list.get_mut(place) {
            part.groups.push(group);
        }
    }
}
