//! The owner's end of one link: dials the replica, again and again, writes what waits for it, and
//! hears what it acknowledges. All on one worker.

use std::sync::Arc;
use std::time::Duration;

use quinn::{RecvStream, SendStream};

use super::outbox::{OUTBOX_BYTES_MAX, Outbox};
use super::owner::{Berth, Owner};
use crate::membership::identity::Identity;
use crate::node::clock;
use crate::node::peers::{Backoff, DialledLink};
use crate::protocol::frame::{FrameBuffer, decode};
use crate::protocol::ownership::slot;
use crate::protocol::replicate::{LINK_FRAME_BYTES_MAX, OwnerFrame, ReplicaFrame};
use crate::transport::CloseCode;
use crate::transport::endpoint::silent;
use crate::types::{Epoch, Position, Slot, SlotSet};

/// How often a replica is told what the slots' clocks show, which is also the sign of life.
pub(super) const CLOCKS_EVERY: Duration = Duration::from_millis(250);

/// A replica from which no packet came for so many times [`CLOCKS_EVERY`], two seconds, is cut off or
/// stands still, since each clock is acknowledged at once: what waits for it waits no longer. QUIC
/// would wait for five seconds; others take over from an owner that they do not hear within two.
const SILENT_LOOKS_MAX: u32 = 8;

/// Bytes that one read of acknowledgements takes at most.
const READ_BYTES_MAX: usize = 64 << 10;

/// A link that has lasted so long was a good one: the next is dialled at once.
const GOOD_AFTER: Duration = Duration::from_secs(2);

/// How a link ends that this end gives up, and why.
enum Fault {
    /// The replica does not take what it is sent.
    Slow,
    /// Nothing comes from it.
    Silent,
    /// It says what no replica says.
    Malformed(&'static str),
}

/// Keeps the link to one replica in one life of it, until dropped.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) peer: Identity,
    pub(super) owner: Arc<Owner>,
    /// Its place among the owner's.
    pub(super) berth: usize,
}

/// A link that is known to the replication, until dropped.
struct Known<'a> {
    keeper: &'a Keeper,
    link: u64,
}

impl Drop for Known<'_> {
    fn drop(&mut self) {
        let (owner, peer) = (&self.keeper.owner, self.keeper.peer.node);
        owner.outboxes.close(peer, self.link);
        owner.engine.replication.lost(peer, self.link);
        owner.report();
    }
}

impl Keeper {
    /// Dials and serves, for ever.
    pub(super) async fn keep(self) {
        let mut backoff = Backoff::default();
        let Some(Berth { dialer, .. }) = self.owner.berths.get(self.berth) else {
            return;
        };
        loop {
            let since = clock::mono_now();
            match dialer.dial(&self.peer).await {
                Ok(link) => self.serve(link).await,
                Err(error) => {
                    let (peer, error) = (self.peer.node, &error as &dyn std::error::Error);
                    tracing::debug!(%peer, error, "a replica is not linked");
                }
            }
            if clock::mono_now().since(since) >= GOOD_AFTER {
                backoff.reset();
            }
            tokio::time::sleep(backoff.next_wait()).await;
        }
    }

    async fn serve(&self, mut link: DialledLink) {
        let (peer, number) = (self.peer.node, link.number);
        let outbox = Arc::new(Outbox::new(number, OUTBOX_BYTES_MAX));
        self.owner.outboxes.open(peer, &outbox);
        let known = Known {
            keeper: self,
            link: number,
        };
        self.owner.engine.replication.connected(peer, number);
        self.owner.report();
        tracing::debug!(%peer, link = number, "a replica is linked");
        let buffer = std::mem::take(&mut link.buffer).widened(LINK_FRAME_BYTES_MAX);
        let fault = tokio::select! {
            fault = write(&mut link.send, &outbox) => fault,
            () = outbox.overflowed() => Some(Fault::Slow),
            fault = self.hear(&mut link.stream, number, buffer) => fault,
            () = silent(&link.connection, (CLOCKS_EVERY, SILENT_LOOKS_MAX), |_| {}) => Some(Fault::Silent),
            never = self.tell_clocks(number) => match never {},
        };
        drop(known);
        link.close(match fault {
            None => CloseCode::Done,
            Some(Fault::Slow) => {
                self.owner.misconduct.slow(&self.peer);
                CloseCode::SlowReader
            }
            Some(Fault::Silent) => {
                tracing::info!(%peer, link = number, "a replica acknowledges nothing; it is linked anew");
                CloseCode::Renewed
            }
            Some(Fault::Malformed(reason)) => {
                self.owner.misconduct.malformed(&self.peer, reason);
                CloseCode::BadFrame
            }
        });
    }

    /// Hears what the replica says until the link is lost.
    async fn hear(
        &self,
        stream: &mut RecvStream,
        link: u64,
        mut buffer: FrameBuffer,
    ) -> Option<Fault> {
        loop {
            while let Some(body) = buffer.take().transpose() {
                let frame = body.and_then(decode::<ReplicaFrame>);
                let taken = frame.map_err(|_unreadable| "a frame that cannot be read");
                if let Err(reason) = taken.and_then(|frame| self.take(link, frame)) {
                    return Some(Fault::Malformed(reason));
                }
            }
            self.owner.report();
            let piece = stream.read_chunk(READ_BYTES_MAX, true).await;
            buffer.push(&piece.ok().flatten()?.bytes);
            self.owner.heard.note(self.peer.node);
        }
    }

    /// Passes on what the replica says; why, if no replica says so.
    fn take(&self, link: u64, frame: ReplicaFrame) -> Result<(), &'static str> {
        let (replication, peer) = (&self.owner.engine.replication, self.peer.node);
        let known = |number: u16| slot(number).map_err(|_none| "there is no such slot");
        match frame {
            ReplicaFrame::Applied { through, refused } => {
                if !replication.applied(peer, link, through, &SlotSet::from(&refused)) {
                    return Err("an acknowledgement of what was not sent");
                }
            }
            ReplicaFrame::Synced { through } => {
                if !replication.synced(peer, link, through) {
                    return Err("a sync of what was not acknowledged");
                }
            }
            ReplicaFrame::InSync { slots } => {
                let slots = slots.into_iter();
                let slots = slots.map(|(slot, at)| Ok((known(slot)?, Position::from(at))));
                let slots: Vec<(Slot, Position)> = slots.collect::<Result<_, &'static str>>()?;
                replication.in_sync(peer, link, &slots);
            }
            ReplicaFrame::OutOfSync { slots } => {
                replication.out_of_sync(peer, link, &SlotSet::from(&slots));
            }
            ReplicaFrame::Deaf { slots } => {
                let slots = slots.into_iter();
                let slots = slots.map(|(slot, epoch)| Ok((known(slot)?, Epoch::from(epoch))));
                let slots: Vec<(Slot, Epoch)> = slots.collect::<Result<_, &'static str>>()?;
                replication.deaf(peer, link, &slots);
            }
        }
        Ok(())
    }

    /// Tells what the clocks show, again and again.
    async fn tell_clocks(&self, link: u64) -> std::convert::Infallible {
        loop {
            let slots = self.owner.clocks(self.peer.node, link);
            // Also if there are none: it is the sign of life.
            self.owner
                .push(self.peer.node, link, &OwnerFrame::Clocks { slots });
            tokio::time::sleep(CLOCKS_EVERY).await;
        }
    }
}

/// Writes what waits until the link is lost.
async fn write(stream: &mut SendStream, outbox: &Outbox) -> Option<Fault> {
    loop {
        let Some(piece) = outbox.next().await else {
            return Some(Fault::Slow);
        };
        let bytes = piece.len();
        stream.write_chunk(piece.into()).await.ok()?;
        outbox.written(bytes);
    }
}
