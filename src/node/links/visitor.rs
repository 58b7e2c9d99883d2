//! The task of one link at the replica: reads what the owner sends, has it taken in, and answers.

use std::sync::Arc;
use std::time::Duration;

use quinn::{RecvStream, SendStream};
use tokio::time::timeout;

use super::replica::Replica;
use super::syncs::{Synced, Syncs};
use super::visit::{Appending, NotTaken, Replaced, Visit};
use crate::membership::identity::Identity;
use crate::node::peers::VisitingLink;
use crate::protocol::frame::{FrameBuffer, decode, encode_within};
use crate::protocol::replicate::{LINK_FRAME_BYTES_MAX, OwnerFrame, ReplicaFrame};
use crate::transport::CloseCode;
use crate::types::{Epoch, Slot, SlotSet, SlotTime};

/// Bytes that one read takes at most, and
const READ_BYTES_MAX: usize = 256 << 10;

/// about so many that one turn takes in.
const TURN_BYTES: usize = 256 << 10;

/// How long the owner may take to read what is acknowledged.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Visitor<'a> {
    replica: &'a Replica,
    visit: &'a Arc<Visit>,
    peer: Identity,
    send: SendStream,
    stream: RecvStream,
    buffer: FrameBuffer,
    /// Frames to be written.
    out: Vec<u8>,
    /// The commit that came last as a whole, and of which another part is to come.
    through: u64,
    open: Option<u64>,
    /// The last whole commit is not acknowledged yet.
    unsaid: bool,
    syncs: Syncs,
}

/// Why the link ends.
pub(super) enum End {
    /// It is lost.
    Lost,
    /// It is closed from this side.
    Close(CloseCode),
    /// The owner sent what no owner sends.
    Malformed(&'static str),
}

impl From<Replaced> for End {
    fn from(_: Replaced) -> Self {
        Self::Close(CloseCode::Renewed)
    }
}

impl From<NotTaken> for End {
    fn from(why: NotTaken) -> Self {
        match why {
            NotTaken::Malformed => Self::Malformed("groups that cannot be read"),
            NotTaken::Replaced => Replaced.into(),
        }
    }
}

impl<'a> Visitor<'a> {
    pub(super) fn new(replica: &'a Replica, visit: &'a Arc<Visit>, link: VisitingLink) -> Self {
        Self {
            replica,
            visit,
            peer: link.peer,
            send: link.send,
            stream: link.stream,
            buffer: link.buffer.widened(LINK_FRAME_BYTES_MAX),
            out: Vec::new(),
            through: 0,
            open: None,
            unsaid: false,
            syncs: Syncs::default(),
        }
    }

    /// Serves the link to its end.
    pub(super) async fn serve(mut self) -> Option<CloseCode> {
        match self.run().await {
            Err(End::Lost) => None,
            Err(End::Close(code)) => Some(code),
            Err(End::Malformed(reason)) => {
                self.replica.misconduct.malformed(&self.peer, reason);
                Some(CloseCode::BadFrame)
            }
            Ok(never) => match never {},
        }
    }

    async fn run(&mut self) -> Result<std::convert::Infallible, End> {
        loop {
            let more = self.turn().await?;
            if more {
                tokio::task::yield_now().await;
                continue;
            }
            // All arms are cancel safe.
            tokio::select! {
                piece = self.stream.read_chunk(READ_BYTES_MAX, true) => {
                    let piece = piece.ok().flatten().ok_or(End::Lost)?;
                    self.buffer.push(&piece.bytes);
                    self.replica.heard.note(self.peer.node);
                }
                synced = self.syncs.ended() => self.synced(synced)?,
                () = self.visit.wake.notified() => {}
            }
        }
    }

    /// Takes in what is there, has it appended, and answers; whether more is there.
    async fn turn(&mut self) -> Result<bool, End> {
        let replica = self.replica;
        let (appending, more) = self.read()?;
        for appended in appending {
            // By itself, and not among other things to wait for: it may be given the turn to commit.
            appended
                .await
                .map_err(|_fenced| End::Close(CloseCode::Interrupted))?;
        }
        if std::mem::take(&mut self.unsaid) {
            let refused = (&self.visit.refused()?).into();
            let through = self.through;
            self.say(&ReplicaFrame::Applied { through, refused });
        }
        let to_say = self.visit.to_say()?;
        if let Some(behind) = &to_say.behind {
            self.syncs.forget(behind);
            let slots = behind.into();
            self.say(&ReplicaFrame::OutOfSync { slots });
            replica.events.behind(behind);
        }
        if !to_say.deaf.is_empty() {
            let slots = to_say.deaf.iter();
            let slots = slots.map(|(slot, epoch)| (slot.number(), (*epoch).into()));
            let slots = slots.collect();
            self.say(&ReplicaFrame::Deaf { slots });
        }
        self.syncs.followed(to_say.followed);
        self.syncs.begin(&replica.engine);
        self.write().await?;
        Ok(more)
    }

    /// Takes in the frames that are there, up to a bound; what is to be appended, and whether more
    /// are there.
    fn read(&mut self) -> Result<(Vec<impl Appending + use<'a>>, bool), End> {
        let (mut appending, mut more) = (Vec::new(), false);
        let mut commits = Commits {
            through: self.through,
            open: self.open,
        };
        let mut frames = self.buffer.frames();
        while let Some(body) = frames.next() {
            let frame = body.and_then(decode::<OwnerFrame<'_>>);
            let frame = frame.map_err(|_bad| End::Malformed("a frame that cannot be read"))?;
            match frame {
                OwnerFrame::Commit {
                    number,
                    last,
                    groups,
                    stamp_ms: _,
                } => {
                    commits.take(number, last)?;
                    appending.extend(self.visit.take(&self.replica.engine, groups)?);
                }
                OwnerFrame::Sync { through } => self.syncs.ask(through.min(commits.through)),
                OwnerFrame::Clocks { slots } => self.note_clocks(&slots)?,
                OwnerFrame::Behind { slots } => {
                    let slots = SlotSet::from(&slots);
                    self.replica.events.behind(&slots);
                }
            }
            if frames.seen() >= TURN_BYTES {
                more = true;
                break;
            }
        }
        let seen = frames.seen();
        self.unsaid |= commits.through != self.through;
        (self.through, self.open) = (commits.through, commits.open);
        self.buffer.consume(seen);
        Ok((appending, more))
    }

    /// Raises the clocks of slots that follow.
    fn note_clocks(&self, slots: &[(u16, u64, u64)]) -> Result<(), End> {
        for &(number, counter, clock_ms) in slots {
            let slot = Slot::new(number).ok_or(End::Malformed("there is no such slot"))?;
            let node = self.visit.owner;
            let epoch = Epoch { counter, node };
            let clock = SlotTime::from_ms(clock_ms);
            self.replica.engine.table.note_clock(slot, epoch, clock);
        }
        Ok(())
    }

    /// What was waited for is synced.
    fn synced(&mut self, synced: Option<Synced>) -> Result<(), End> {
        let mut synced = synced.ok_or(End::Close(CloseCode::Interrupted))?;
        if let Some(through) = synced.through {
            self.say(&ReplicaFrame::Synced { through });
        }
        // What has fallen behind or was sealed meanwhile is not in sync.
        self.visit.still_follow(&mut synced.followed);
        if !synced.followed.is_empty() {
            let slots = synced.followed.iter();
            let slots = slots.map(|(slot, at)| (slot.number(), (*at).into()));
            let slots = slots.collect();
            self.say(&ReplicaFrame::InSync { slots });
        }
        Ok(())
    }

    fn say(&mut self, frame: &ReplicaFrame) {
        if let Err(error) = encode_within(LINK_FRAME_BYTES_MAX, frame, &mut self.out) {
            tracing::error!(%error, "an answer to an owner is too long; please report this");
        }
    }

    /// Writes what was said.
    async fn write(&mut self) -> Result<(), End> {
        if self.out.is_empty() {
            return Ok(());
        }
        let written = timeout(WRITE_WAIT_MAX, self.send.write_all(&self.out)).await;
        self.out.clear();
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_gone)) => Err(End::Lost),
            Err(_late) => Err(End::Close(CloseCode::SlowReader)),
        }
    }
}

/// The numbers of commits as they come.
struct Commits {
    through: u64,
    open: Option<u64>,
}

impl Commits {
    /// A part of a commit has come: they rise, and each is whole before the next begins.
    fn take(&mut self, number: u64, last: bool) -> Result<(), End> {
        if number <= self.through || self.open.is_some_and(|open| open != number) {
            return Err(End::Malformed("a commit out of order"));
        }
        if last {
            (self.through, self.open) = (number, None);
        } else {
            self.open = Some(number);
        }
        Ok(())
    }
}
