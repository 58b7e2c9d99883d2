//! The door of the links, for the control loop and for whoever commits.

use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::event::{Events, LinkEvent};
use super::heard::Heard;
use super::outbox::Outboxes;
use super::owner::{Berth, Owner, Wanted};
use super::replica::Replica;
use crate::membership::identity::Identity;
use crate::node::engine::Engine;
use crate::node::peers::LinkDoor;
use crate::node::replication::Outgoing;
use crate::types::{Epoch, NodeId, Slot, SlotSet};

/// See the room. Dropped, all links that this node dials end.
#[derive(Debug)]
pub(crate) struct Links {
    pub(super) outboxes: Arc<Outboxes>,
    pub(super) replica: Arc<Replica>,
    events: Arc<Events>,
    heard: Arc<Heard>,
    engine: Arc<Engine>,
    wanted: watch::Sender<Wanted>,
    thread: Mutex<Option<JoinHandle<()>>>,
    #[cfg(test)]
    owner: std::sync::Weak<Owner>,
}

/// The way of commits into the outboxes.
#[derive(Debug)]
struct Post(Arc<Outboxes>);

impl Outgoing for Post {
    fn send(&self, peer: NodeId, link: u64, frame: Vec<u8>) -> bool {
        self.0.push(peer, link, frame)
    }

    fn close(&self, peer: NodeId, link: u64) {
        self.0.give_up(peer, link);
    }
}

impl Links {
    /// Starts the thread that sees to the links that this node dials, and has them driven at `berths`;
    /// there are none yet.
    ///
    /// # Errors
    /// If the thread cannot be started, or there is no berth.
    pub(crate) fn start(engine: &Arc<Engine>, berths: Vec<Berth>) -> std::io::Result<Arc<Self>> {
        let first = berths.first().ok_or(std::io::ErrorKind::InvalidInput)?;
        let misconduct = first.dialer.misconduct();
        let (outboxes, events, heard) = (Arc::default(), Arc::default(), Arc::default());
        let owner = Arc::new(Owner {
            engine: Arc::clone(engine),
            berths,
            misconduct: misconduct.clone(),
            outboxes: Arc::clone(&outboxes),
            events: Arc::clone(&events),
            heard: Arc::clone(&heard),
        });
        let replica = Replica::new(
            Arc::clone(engine),
            misconduct,
            Arc::clone(&events),
            Arc::clone(&heard),
        );
        #[cfg(test)]
        let every_task = Arc::downgrade(&owner);
        let (wanted, wants) = watch::channel(Wanted::default());
        let runtime = runtime()?;
        let run = move || runtime.block_on(owner.run(wants));
        let thread = std::thread::Builder::new().name("links".to_owned());
        let thread = thread.spawn(run)?;
        engine
            .replication
            .attach(Arc::new(Post(Arc::clone(&outboxes))));
        Ok(Arc::new(Self {
            outboxes,
            replica: Arc::new(replica),
            events,
            heard,
            engine: Arc::clone(engine),
            wanted,
            thread: Mutex::new(Some(thread)),
            #[cfg(test)]
            owner: every_task,
        }))
    }

    /// Where the links go that other nodes dial, for [`crate::node::peers::Door::open_to_links`].
    pub(crate) fn door(&self) -> Arc<dyn LinkDoor> {
        Arc::clone(&self.replica) as _
    }

    /// A session with a peer has begun: it gets a link, new if it had one (R6).
    pub(crate) fn connect(&self, peer: &Identity) {
        self.wanted.send_modify(|wanted| {
            wanted.sessions = wanted.sessions.saturating_add(1);
            let session = (wanted.sessions, peer.clone());
            wanted.peers.insert(peer.node, session);
        });
    }

    /// The session with a peer has ended, and so does the link to it.
    pub(crate) fn lost(&self, peer: NodeId) {
        self.wanted
            .send_modify(|wanted| drop(wanted.peers.remove(&peer)));
    }

    /// From here on the peer gets every commit of these slots, to catch up with or to learn. False if
    /// there is no link to it: then nothing goes there.
    pub(crate) fn feed(&self, peer: NodeId, slots: &SlotSet) -> bool {
        let Some(link) = self.outboxes.link(peer) else {
            return false;
        };
        self.engine.replication.feed(peer, link, slots);
        true
    }

    /// R1: takes in what the owners of these slots, the nodes of the epochs, commit from where their
    /// state is here. What cannot be gone on with is told as [`LinkEvent::Behind`]; the owner is told
    /// of what follows once that is synced.
    pub(crate) fn follow(&self, slots: &[(Slot, Epoch)]) {
        self.replica.follow(slots);
    }

    /// Slots are about to be copied from their owner: what it commits of them from here on is kept.
    /// To be called before the copy is asked for.
    pub(crate) fn restart(&self, owner: NodeId, slots: &SlotSet) {
        self.replica.restart(owner, slots);
    }

    /// Slots were sealed, dropped or installed anew here: they follow no more.
    pub(crate) fn close(&self, slots: &SlotSet) {
        self.replica.close(slots);
    }

    /// Has an owner told what was promised here above its reigns.
    pub(crate) fn deaf(&self, owner: NodeId, slots: &[(Slot, Epoch)]) {
        self.replica.deaf(owner, slots);
    }

    /// The next thing to know. For one listener; cancel safe.
    pub(crate) async fn next_event(&self) -> LinkEvent {
        self.events.next().await
    }

    /// Who was heard of.
    pub(crate) fn heard(&self) -> &Heard {
        &self.heard
    }

    /// Whether the tasks of all links that this node has dialled have ended.
    #[cfg(test)]
    pub(super) fn are_over(&self) -> bool {
        self.owner.strong_count() == 0
    }

    /// Ends all links that this node dials. Blocks until the thread has ended; what is driven elsewhere
    /// ends when it is looked at next.
    pub(crate) fn stop(&self) {
        self.wanted.send_modify(|wanted| wanted.over = true);
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the links' thread panicked; please report this");
        }
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.stop();
    }
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}
