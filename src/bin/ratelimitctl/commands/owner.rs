//! `owner`: which node decides for a key.

use std::time::Duration;

use distributed_rate_limiter::client::{Owner, Ring};
use serde::Serialize;

use crate::cluster::id;
use crate::nodes::{self, Nodes};
use crate::outcome::{Exit, Failure};
use crate::output::{Output, Page, Tone, View, printable};

const EXAMPLES: &str = "\
Examples:
  ratelimitctl owner user-7
  ratelimitctl owner user-7 -o json | jq -r '.owner_address'

All policies of a key have one owner. The target is the node that should own it by the ring: where
it is another, the key is about to move. The other nodes that hold the key are its replicas: one that
is not in sync has yet to catch up with the owner, which alone knows. `slot --key KEY` tells more. It
needs an admin's certificate.";

/// Arguments of `owner`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Key that is limited
    key: String,
}

/// Runs `owner`.
pub(crate) fn run(args: Args, nodes: &Nodes, output: Output) -> Result<Exit, Failure> {
    let shown = nodes::wait_for(async {
        let admin = nodes.admin().await?;
        let told = admin.owner(&args.key).await?;
        let own = if told.served || told.owner_address.is_empty() {
            None
        } else {
            own_word(&told, &args.key, nodes).await
        };
        // Whoever cannot be asked for addresses leaves the ids.
        let ring = admin.ring().await.unwrap_or_default();
        Ok(Shown::new(args.key, &own.unwrap_or(told), &ring))
    })?;
    output.show(&shown)?;
    Ok(Exit::Ok)
}

/// How long an owner may take to be connected, and to say who is in sync.
const OWNER_WAIT: Duration = Duration::from_secs(2);

/// What the owner itself says, if it still is and can be reached.
async fn own_word(told: &Owner, key: &str, nodes: &Nodes) -> Option<Owner> {
    let admin = nodes.admin_at(&told.owner_address, OWNER_WAIT).await.ok()?;
    let own = admin.owner(key).await.ok()?;
    own.served.then_some(own)
}

/// An owner as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    key: String,
    slot: u16,
    /// What follows is null if it is not known.
    owner: Option<String>,
    owner_address: Option<String>,
    epoch: u64,
    version: u64,
    target: Option<String>,
    /// The nodes that hold the key, the owner included.
    replicas: Vec<Replica>,
}

/// A node that holds the key.
#[derive(Debug, Serialize)]
struct Replica {
    node: String,
    address: Option<String>,
    owner: bool,
    /// Null if the owner could not be asked.
    in_sync: Option<bool>,
}

impl Shown {
    fn new(key: String, owner: &Owner, ring: &Ring) -> Self {
        let node = |node: u128| (node != 0).then(|| id(node));
        let address = printable(&owner.owner_address, 253);
        let replicas = owner.replicas.iter();
        Self {
            key,
            slot: owner.slot,
            owner: node(owner.owner),
            owner_address: (!address.is_empty()).then_some(address),
            epoch: owner.epoch,
            version: owner.version,
            target: node(owner.target),
            replicas: replicas.map(|it| Replica::of(*it, owner, ring)).collect(),
        }
    }
}

impl Replica {
    fn of(node: u128, owner: &Owner, ring: &Ring) -> Self {
        let line = ring.nodes.iter().find(|line| line.node == node);
        let is_owner = node == owner.owner;
        Self {
            node: id(node),
            address: line.map(|line| printable(&line.address, 253)),
            owner: is_owner,
            in_sync: owner
                .served
                .then(|| is_owner || owner.in_sync.contains(&node)),
        }
    }

    fn line(&self, page: &Page) -> String {
        let node = match &self.address {
            Some(address) => format!("{} at {address}", self.node),
            None => self.node.clone(),
        };
        let state = match self.in_sync {
            Some(true) => "in sync".to_owned(),
            Some(false) => page.tone(Tone::Bad, "not in sync"),
            None => "not known whether in sync: the owner does not say".to_owned(),
        };
        format!("{node}, {state}")
    }
}

impl View for Shown {
    fn page(&self, page: &mut Page) {
        let owner = match (&self.owner, &self.owner_address) {
            (Some(owner), Some(address)) => format!("{owner} at {address}"),
            (Some(owner), None) => owner.clone(),
            (None, _) => page.tone(Tone::Bad, "none is known"),
        };
        let target = match &self.target {
            target if *target == self.owner && target.is_some() => "the owner".to_owned(),
            Some(target) => format!("{target}: the slot is about to move there"),
            None => "none is known".to_owned(),
        };
        page.fields(&[
            ("key", printable(&self.key, usize::MAX)),
            ("slot", self.slot.to_string()),
            ("owner", owner),
            ("epoch", self.epoch.to_string()),
            ("version", self.version.to_string()),
            ("target", target),
        ]);
        if self.replicas.len() > 1 {
            let others = self.replicas.iter().filter(|it| !it.owner);
            let others: Vec<_> = others.map(|it| ("replica", it.line(page))).collect();
            page.fields(&others);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::ring;

    #[test]
    fn owners_that_are_not_known_and_slots_that_move_are_said_so() {
        let (one, two) = (1_u128 << 96, 2_u128 << 96);
        for (owner, target, said) in [
            (
                one,
                one,
                "owner    00000001-0000-0000-0000-000000000000 at a:1\nepoch    5\n",
            ),
            (one, one, "target   the owner\n"),
            (
                one,
                two,
                "target   00000002-0000-0000-0000-000000000000: the slot is about to move there\n",
            ),
            (0, two, "owner    none is known\n"),
            (0, 0, "target   none is known\n"),
        ] {
            let mut found = Owner::default();
            (found.slot, found.epoch, found.owner, found.target) = (7, 5, owner, target);
            if owner != 0 {
                found.owner_address = "a:1".into();
            }
            let mut page = Page::new(false, None);
            Shown::new("user-7".into(), &found, &Ring::default()).page(&mut page);
            assert!(page.text().contains(said), "{said} in {}", page.text());
        }
    }

    #[test]
    fn replicas_are_named_and_whether_they_lag() {
        let ids = [1_u128 << 96, 2 << 96, 3 << 96];
        let mut found = Owner::default();
        (found.owner, found.target) = (ids[0], ids[0]);
        found.replicas = ids.to_vec();
        found.in_sync = vec![ids[2]];
        let ring = ring(ids[0], &ids[..2], &[]);
        for (served, said) in [
            (
                true,
                "replica  00000002-0000-0000-0000-000000000000 at 10.0.0.2:7400, not in sync\n\
                 replica  00000003-0000-0000-0000-000000000000, in sync\n",
            ),
            (false, "10.0.0.2:7400, not known whether in sync"),
        ] {
            found.served = served;
            let shown = Shown::new("user-7".into(), &found, &ring);
            let mut page = Page::new(false, None);
            shown.page(&mut page);
            assert!(page.text().contains(said), "{said} in {}", page.text());
            let json = serde_json::to_value(&shown).unwrap();
            assert_eq!(
                json["replicas"][1]["in_sync"].as_bool(),
                served.then_some(false)
            );
        }
    }
}
