//! A raised limit is felt at once: no client denies by itself on the ground of an older version of
//! the policy set than it has been told of.

use std::collections::BTreeMap;

use super::Invariant;
use crate::sim::judge::Fact;
use crate::sim::ledger::Ledger;

/// The newest version that each client was told of.
#[derive(Debug, Default)]
pub(super) struct Denials {
    told: BTreeMap<usize, usize>,
}

impl Invariant for Denials {
    fn name(&self) -> &'static str {
        "a raised limit is felt at once"
    }

    fn see(&mut self, _: &Ledger, _: u64, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Told { client, version } => {
                let told = self.told.entry(*client).or_default();
                *told = (*told).max(*version);
            }
            Fact::DeniedFromCache { client, version } => {
                let told = self.told.get(client).copied().unwrap_or(0);
                if *version < told {
                    return Err(format!(
                        "client {client} denied by version {version} of the policies, and knows \
                         of version {told}"
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
