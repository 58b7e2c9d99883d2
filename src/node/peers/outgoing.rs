//! Keeps the control connection to one other node, and writes what is queued for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use super::backoff::Backoff;
use super::dial::{Dialer, Reached, close};
use super::session::Arrival;
use crate::membership::identity::Address;
use crate::node::clock;
use crate::protocol::peer::Purpose;
use crate::transport::CloseCode;
use crate::types::NodeId;

/// Frames that wait for a connection at most. About all slots takes some forty; a peer that is
/// hundreds behind does not read, and is better told anew.
pub(super) const QUEUE_FRAMES: usize = 512;

/// Bytes that one write takes at most before it begins.
const WRITE_BYTES: usize = 256 * 1024;

/// A connection that has lasted so long was a good one: the next is made at once.
const GOOD_AFTER: Duration = Duration::from_secs(2);

/// One node to keep a connection to.
#[derive(Debug)]
pub(super) struct Keeper {
    /// Tells it from others that were stopped.
    pub(super) number: u64,
    pub(super) dialer: Arc<Dialer>,
    pub(super) node: NodeId,
    pub(super) address: Address,
    /// Woken when there is reason to believe that the node can be reached now.
    pub(super) sooner: Arc<Notify>,
    pub(super) arrivals: mpsc::Sender<Arrival>,
}

impl Keeper {
    /// Connects, again and again, until dropped or nobody listens any more.
    pub(super) async fn keep(self) {
        let mut backoff = Backoff::default();
        let node = self.node;
        loop {
            let since = clock::mono_now();
            let reached = self.dialer.dial(node, &self.address, Purpose::Control);
            let reached = reached.await;
            let was_reached = reached.is_ok();
            let ended = match reached {
                Ok(reached) => self.serve(reached).await,
                Err(error) => {
                    let arrival = Arrival::NotReached { node, error };
                    self.arrivals.send(arrival).await.ok()
                }
            };
            if ended.is_none() {
                return;
            }
            if clock::mono_now().since(since) >= GOOD_AFTER {
                backoff.reset();
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next_wait()) => {}
                // A node that was reached is known to be there. Two that both connect anew at once, and
                // each end what the other has just begun, must not keep step.
                () = self.sooner.notified(), if !was_reached => backoff.reset(),
            }
        }
    }

    /// Tells of the connection and serves it to its end; `None` if nobody listens any more.
    async fn serve(&self, reached: Reached) -> Option<()> {
        let admission = &self.dialer.admission;
        let number = admission.number();
        let _open = admission.enter(&reached.known);
        let (queue, frames) = mpsc::channel(QUEUE_FRAMES);
        let begun = Arrival::Outgoing {
            keeper: self.number,
            number,
            known: reached.known.clone(),
            connection: reached.greeted.connection.clone(),
            queue,
        };
        self.arrivals.send(begun).await.ok()?;
        write(reached, frames).await;
        let node = self.node;
        let gone = Arrival::OutgoingGone { number, node };
        self.arrivals.send(gone).await.ok()
    }
}

/// Writes encoded frames until the connection is lost or no more come.
async fn write(mut reached: Reached, mut frames: mpsc::Receiver<Vec<u8>>) {
    let greeted = &mut reached.greeted;
    loop {
        let first = tokio::select! {
            biased;
            _reason = greeted.connection.closed() => return,
            first = frames.recv() => first,
        };
        let Some(mut batch) = first else {
            close(&greeted.connection, CloseCode::Done);
            return;
        };
        while batch.len() < WRITE_BYTES
            && let Ok(more) = frames.try_recv()
        {
            batch.extend_from_slice(&more);
        }
        if greeted.send.write_all(&batch).await.is_err() {
            close(&greeted.connection, CloseCode::Done);
            return;
        }
    }
}
