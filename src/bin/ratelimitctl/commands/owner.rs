//! `owner`: which node decides for a key.

use distributed_rate_limiter::client::Owner;
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
it is another, the key is about to move. It needs an admin's certificate.";

/// Arguments of `owner`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Key that is limited
    key: String,
}

/// Runs `owner`.
pub(crate) fn run(args: Args, nodes: &Nodes, output: Output) -> Result<Exit, Failure> {
    let owner = nodes::wait_for(async { Ok(nodes.admin().await?.owner(&args.key).await?) })?;
    output.show(&Shown::new(args.key, &owner))?;
    Ok(Exit::Ok)
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
}

impl Shown {
    fn new(key: String, owner: &Owner) -> Self {
        let node = |node: u128| (node != 0).then(|| id(node));
        let address = printable(&owner.owner_address, 253);
        Self {
            key,
            slot: owner.slot,
            owner: node(owner.owner),
            owner_address: (!address.is_empty()).then_some(address),
            epoch: owner.epoch,
            version: owner.version,
            target: node(owner.target),
        }
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            Shown::new("user-7".into(), &found).page(&mut page);
            assert!(page.text().contains(said), "{said} in {}", page.text());
        }
    }
}
