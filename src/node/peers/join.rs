//! How a node without a cluster becomes one of a cluster: it asks the seeds, with its certificate,
//! for what is born with the cluster.

use std::time::Duration;

use super::backoff::Backoff;
use super::dial::{Caller, DialError, close, more_telling, resolve};
use super::own::{self, ClusterIdentity};
use crate::membership::identity::{Address, Identity};
use crate::node::clock;
use crate::protocol::peer::{PeerRefusal, Purpose};
use crate::transport::tls::Credentials;
use crate::transport::{CertError, CloseCode};
use crate::types::{BootCounter, NodeId, SLOT_COUNT};

/// The node that wants to join, as it will be.
#[derive(Debug, Clone)]
pub(crate) struct Joiner {
    /// Its id, made for its data directory.
    pub(crate) node: NodeId,
    /// Where the others will reach it.
    pub(crate) address: Address,
    /// The boot counter that it will have.
    pub(crate) boot: BootCounter,
}

/// What a node of the cluster has told.
#[derive(Debug, Clone)]
pub(crate) struct Joined {
    /// The cluster.
    pub(crate) cluster: ClusterIdentity,
    /// The node that told: the first one to talk to.
    pub(crate) seed: Identity,
}

/// Why a node has not joined. Nothing was changed anywhere.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    /// The certificate cannot be used.
    #[error(transparent)]
    Credentials(#[from] CertError),
    /// There is nobody to ask.
    #[error("no node to join is named; set [cluster] join or --join")]
    NoSeeds,
    /// A node of the cluster does not want this one; it will not change its mind.
    #[error("the node at `{address}` does not let this node join")]
    Refused {
        /// Where it is.
        address: Address,
        /// Why, and what to do.
        #[source]
        refusal: PeerRefusal,
    },
    /// No seed has answered in time.
    #[error("no node to join has answered for {} s; are they started and reachable?", patience.as_secs())]
    NotReached {
        /// How long they were asked.
        patience: Duration,
        /// What the last one did.
        #[source]
        last: DialError,
    },
    /// The cluster has another number of slots than this version of the software knows.
    #[error("the cluster has {slot_count} slots, this version knows {SLOT_COUNT} only; upgrade it")]
    SlotCount {
        /// The cluster's number.
        slot_count: u16,
    },
}

/// Asks all addresses of all seeds, again and again for `patience`, until one answers. Must be
/// awaited on a tokio runtime. Cancel safe.
///
/// # Errors
/// [`JoinError`].
pub(crate) async fn join(
    seeds: &[Address],
    credentials: &Credentials,
    joiner: &Joiner,
    patience: Duration,
) -> Result<Joined, JoinError> {
    let caller = Caller::new(credentials)?;
    let identity = Identity::new(joiner.node, joiner.address.clone(), joiner.boot);
    let mut backoff = Backoff::default();
    let since = clock::mono_now();
    loop {
        let last = match ask_all(&caller, seeds, &identity).await {
            Ok(joined) => return checked(joined),
            Err(None) => return Err(JoinError::NoSeeds),
            Err(Some(DialError::Refused { address, refusal }))
                if refusal != PeerRefusal::Unavailable =>
            {
                return Err(JoinError::Refused { address, refusal });
            }
            Err(Some(error)) => error,
        };
        if clock::mono_now().since(since) >= patience {
            return Err(JoinError::NotReached { patience, last });
        }
        tracing::debug!(%last, "no node to join has answered yet");
        tokio::time::sleep(backoff.next_wait()).await;
    }
}

fn checked(joined: Joined) -> Result<Joined, JoinError> {
    let slot_count = joined.cluster.slot_count;
    if slot_count == SLOT_COUNT {
        Ok(joined)
    } else {
        Err(JoinError::SlotCount { slot_count })
    }
}

/// What the first node to answer says, or the most telling error; `None` without seeds.
async fn ask_all(
    caller: &Caller,
    seeds: &[Address],
    identity: &Identity,
) -> Result<Joined, Option<DialError>> {
    let mut told: Option<DialError> = None;
    let mut tell = |error| {
        told = Some(match told.take() {
            Some(told) => more_telling(told, error),
            None => error,
        });
    };
    for seed in seeds {
        match resolve(seed).await {
            Ok(found) => {
                for to in found {
                    match ask(caller, seed, to, identity).await {
                        Ok(joined) => return Ok(joined),
                        Err(error) => tell(error),
                    }
                }
            }
            Err(error) => tell(error),
        }
    }
    Err(told)
}

async fn ask(
    caller: &Caller,
    seed: &Address,
    to: std::net::SocketAddr,
    identity: &Identity,
) -> Result<Joined, DialError> {
    let hello = own::hello(identity, Purpose::Join, 0, 0);
    let greeted = caller.call(seed, to, &hello).await?;
    close(&greeted.connection, CloseCode::Done);
    let welcome = greeted.welcome;
    let address = Address::new(&welcome.address).unwrap_or_else(|| seed.clone());
    let Some(key_secret) = welcome.key_secret.filter(|_| welcome.cluster != 0) else {
        return Err(DialError::Garbled {
            address: seed.clone(),
        });
    };
    Ok(Joined {
        cluster: ClusterIdentity {
            cluster: welcome.cluster,
            slot_count: welcome.slot_count,
            key_secret,
        },
        seed: Identity::new(NodeId(welcome.node), address, BootCounter(welcome.boot)),
    })
}
