//! Who is let in, and who is believed to be whom: the part of [`super::Door`] and [`super::PeerNet`]
//! that both ends of a connection share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::counts::{Counters, Refused};
use super::own::Own;
use crate::membership::identity::{Address, Identity};
use crate::membership::roster::{Claim, NODES_MAX, Roster, RosterError};
use crate::protocol::hello::VERSIONS;
use crate::protocol::peer::{PeerHello, PeerRefusal, PeerWelcome, Purpose, common_version};
use crate::types::{BootCounter, NodeId};

/// What the two sides of a node's connections share.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) own: Own,
    pub(super) counters: Counters,
    roster: RwLock<Roster>,
    /// The latest life of each node that a control connection has shown, in this process.
    seen: Mutex<BTreeMap<NodeId, Seen>>,
    numbers: AtomicU64,
}

#[derive(Debug, Clone)]
struct Seen {
    identity: Identity,
    certificate: String,
    /// Control connections of this life that are open, in either direction.
    open: usize,
}

/// A node that was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) identity: Identity,
    pub(super) certificate: String,
}

/// Counts a control connection as open until dropped.
#[derive(Debug)]
pub(super) struct Open {
    admission: Arc<Admission>,
    identity: Identity,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut seen = self.admission.seen.lock();
        if let Some(it) = seen.get_mut(&self.identity.node)
            && it.identity == self.identity
        {
            it.open = it.open.saturating_sub(1);
        }
    }
}

impl Admission {
    pub(super) fn new(own: Own, roster: Roster) -> Arc<Self> {
        Arc::new(Self {
            own,
            counters: Counters::default(),
            roster: RwLock::new(roster),
            seen: Mutex::default(),
            numbers: AtomicU64::new(1),
        })
    }

    pub(super) fn set_roster(&self, roster: Roster) {
        *self.roster.write() = roster;
    }

    /// A number that no other connection of this process has.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether a node that says `hello` is let in, and the version to speak with it.
    pub(super) fn admit(
        &self,
        hello: &PeerHello,
        certificate: Option<String>,
    ) -> Result<(Known, u16), PeerRefusal> {
        let Some(version) = common_version(hello) else {
            let (oldest, newest) = VERSIONS;
            return Err(PeerRefusal::VersionMismatch { oldest, newest });
        };
        let identity = identity(hello.node, &hello.address, hello.boot)?;
        let own = &self.own;
        let newborn = hello.purpose == Purpose::Join && hello.cluster == 0;
        if !newborn && hello.cluster != own.cluster.cluster {
            let cluster = own.cluster.cluster;
            return Err(PeerRefusal::OtherCluster { cluster });
        }
        if !newborn && hello.slot_count != own.cluster.slot_count {
            let slot_count = own.cluster.slot_count;
            return Err(PeerRefusal::OtherSlotCount { slot_count });
        }
        if identity.node == own.identity.node {
            let node = identity.node.0;
            return Err(PeerRefusal::SameNode { node });
        }
        let known = self.believe(identity, certificate)?;
        Ok((known, version))
    }

    /// Whether this node itself has come to its own door, as it does if it is among its seeds.
    pub(super) fn is_own_introduction(&self, hello: &PeerHello) -> bool {
        hello.purpose == Purpose::Join && *hello == self.own.hello(Purpose::Join)
    }

    /// Whether a node that answers with `welcome` is what it says.
    pub(super) fn recognise(
        &self,
        welcome: &PeerWelcome,
        certificate: Option<String>,
    ) -> Result<Known, PeerRefusal> {
        let own = &self.own.cluster;
        if welcome.cluster != own.cluster {
            let cluster = welcome.cluster;
            return Err(PeerRefusal::OtherCluster { cluster });
        }
        if welcome.slot_count != own.slot_count {
            let slot_count = welcome.slot_count;
            return Err(PeerRefusal::OtherSlotCount { slot_count });
        }
        let identity = identity(welcome.node, &welcome.address, welcome.boot)?;
        self.believe(identity, certificate)
    }

    /// Checks an identity against the roster and against what was seen.
    fn believe(
        &self,
        identity: Identity,
        certificate: Option<String>,
    ) -> Result<Known, PeerRefusal> {
        let not_admitted = |reason: String| PeerRefusal::NotAdmitted { reason };
        let certificate = certificate.filter(|name| !name.is_empty()).ok_or_else(|| {
            not_admitted("the certificate has no name; make a new one".to_owned())
        })?;
        let seen = self.seen.lock().get(&identity.node).cloned();
        let refused = |error: RosterError| match error {
            RosterError::Removed { node } => PeerRefusal::Removed { node: node.0 },
            RosterError::LowerBoot { .. } | RosterError::Cloned { .. } => PeerRefusal::OldCopy {
                reason: error.to_string(),
            },
            RosterError::OtherCertificate { .. }
            | RosterError::Full
            | RosterError::Unsound { .. } => not_admitted(error.to_string()),
        };
        if let Some(seen) = &seen {
            contradicts(seen, &identity, &certificate).map_err(refused)?;
        }
        let is_alive = seen.is_some_and(|seen| seen.open > 0);
        let claim = Claim {
            node: identity.node,
            boot: identity.boot,
            address: &identity.address,
            certificate: &certificate,
        };
        self.roster.read().admit(claim, is_alive).map_err(refused)?;
        Ok(Known {
            identity,
            certificate,
        })
    }

    /// Takes note of a control connection with a node that was let in.
    pub(super) fn enter(self: &Arc<Self>, known: &Known) -> Open {
        let identity = &known.identity;
        let mut seen = self.seen.lock();
        if seen.len() >= NODES_MAX && !seen.contains_key(&identity.node) {
            // So many are of no cluster: they have come and gone.
            seen.retain(|_, it| it.open > 0);
        }
        let it = seen.entry(identity.node).or_insert_with(|| Seen {
            identity: identity.clone(),
            certificate: known.certificate.clone(),
            open: 0,
        });
        if it.identity != *identity && it.identity.boot <= identity.boot {
            *it = Seen {
                identity: identity.clone(),
                certificate: known.certificate.clone(),
                open: 0,
            };
        }
        if it.identity == *identity {
            it.open = it.open.saturating_add(1);
        }
        drop(seen);
        Open {
            admission: Arc::clone(self),
            identity: identity.clone(),
        }
    }

    /// Counts and logs a refusal.
    pub(super) fn refused(&self, peer: &dyn std::fmt::Display, refusal: &PeerRefusal) {
        let why = match refusal {
            PeerRefusal::VersionMismatch { .. } => Refused::Version,
            PeerRefusal::Malformed { .. } => Refused::Malformed,
            PeerRefusal::OtherCluster { .. } | PeerRefusal::OtherSlotCount { .. } => {
                Refused::Cluster
            }
            PeerRefusal::NotAdmitted { .. }
            | PeerRefusal::SameNode { .. }
            | PeerRefusal::Removed { .. }
            | PeerRefusal::OldCopy { .. } => Refused::Identity,
            PeerRefusal::Unavailable => return,
        };
        self.counters.refused(why, peer, &refusal.to_string());
    }
}

/// What of an identity cannot be, given what was seen.
fn contradicts(seen: &Seen, identity: &Identity, certificate: &str) -> Result<(), RosterError> {
    let node = identity.node;
    if seen.certificate != certificate {
        return Err(RosterError::OtherCertificate {
            node,
            claimed: certificate.to_owned(),
            known: seen.certificate.clone(),
        });
    }
    if identity.boot < seen.identity.boot {
        return Err(RosterError::LowerBoot {
            node,
            claimed: identity.boot,
            known: seen.identity.boot,
        });
    }
    if identity.boot == seen.identity.boot
        && identity.address != seen.identity.address
        && seen.open > 0
    {
        return Err(RosterError::Cloned {
            node,
            claimed: identity.address.clone(),
            known: seen.identity.address.clone(),
        });
    }
    Ok(())
}

fn identity(node: u128, address: &str, boot: u64) -> Result<Identity, PeerRefusal> {
    let address = Address::new(address).ok_or_else(|| PeerRefusal::Malformed {
        reason: "an advertised address is of the form host:port".to_owned(),
    })?;
    Ok(Identity::new(NodeId(node), address, BootCounter(boot)))
}
