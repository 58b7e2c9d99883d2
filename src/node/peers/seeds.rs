//! Looks for other nodes at the seeds while there is no session with any.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::backoff::Backoff;
use super::dial::{Dialer, resolve};
use super::session::Arrival;
use crate::membership::identity::Address;

/// Asks every address of every seed which node it is, again and again while `alone`.
pub(super) async fn seek(
    dialer: Arc<Dialer>,
    seeds: Vec<Address>,
    mut alone: watch::Receiver<bool>,
    arrivals: mpsc::Sender<Arrival>,
) {
    let mut backoff = Backoff::default();
    loop {
        if alone.wait_for(|alone| *alone).await.is_err() {
            return;
        }
        for seed in &seeds {
            let found = match resolve(seed).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::debug!(%seed, %error, "seed not resolved");
                    continue;
                }
            };
            for to in found {
                match dialer.introduce(seed, to).await {
                    Ok(Some(identity)) => {
                        if arrivals.send(Arrival::Found { identity }).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) => {}
                    Err(error) => tracing::debug!(%seed, %to, %error, "seed not reached"),
                }
            }
        }
        tokio::time::sleep(backoff.next_wait()).await;
    }
}
