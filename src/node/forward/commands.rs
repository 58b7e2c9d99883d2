//! Commands for keys that this node does not serve: passed on whole. One that may have been carried
//! out is never sent again, since a refund that is carried out twice lets too much through.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::checks::{Leg, proxied};
use super::clustered::Clustered;
use super::forwarder::queue_full;
use super::local::Local;
use super::peers::Unanswered;
use crate::client::peer_request::PeerRequest;
use crate::node::clock;
use crate::protocol::client::{Ask, RequestBody, ResponseBody};
use crate::protocol::error::WireError;
use crate::protocol::frame;
use crate::routing::router::Route;
use crate::server::{Carried, Kept, Via, kept_apart};
use crate::types::{MonoTime, NodeId, Slot};

/// A command on its way.
struct Command {
    request: PeerRequest,
    slot: Slot,
    deadline: MonoTime,
}

impl<L: Local> Clustered<L> {
    /// Has a command carried out where its key is owned.
    pub(super) fn command_elsewhere(
        self: &Arc<Self>,
        body: &RequestBody<'_>,
        left: Duration,
        via: Via,
    ) -> Carried {
        let Some(key) = key_of(body) else {
            let reason = "a check is not a command".to_owned();
            return Carried::Now(failed(WireError::Malformed { reason }), None);
        };
        let Ok(request) = PeerRequest::command(body) else {
            return Carried::Now(failed(WireError::Unavailable), None);
        };
        let command = Command {
            request,
            slot: self.local.slot(key),
            deadline: clock::mono_now().plus(left),
        };
        let this = Arc::clone(self);
        Carried::Later(Box::pin(async move { this.carry_on(command, via).await }))
    }

    async fn carry_on(self: Arc<Self>, command: Command, via: Via) -> ResponseBody {
        if self.forwarder.is_shut_out() {
            let why = Unanswered::NotSent(WireError::Unavailable.into());
            return self.without_answer(&command, &why);
        }
        let mut changes = self.forwarder.subscribe();
        let mut over = pin!(tokio::time::sleep(
            self.forwarder.waits.seal.min(command.left())
        ));
        let mut leg = Leg::first(via);
        loop {
            changes.borrow_and_update();
            match (self.forwarder.route(command.slot), via) {
                (Route::Proxy(_), Via::Proxy) => {
                    return failed(self.forwarder.not_owner(command.slot));
                }
                (Route::Proxy(owner), Via::Caller) => {
                    match self.pass_on(owner, &command, leg).await {
                        Ok(body) => return body,
                        Err(next) => leg = next,
                    }
                    continue;
                }
                (Route::Local | Route::Unknown, _) => {}
            }
            if let Some(body) = self.carry_out_here(&command).await {
                return body;
            }
            tokio::select! {
                // Both arms are cancel safe.
                changed = changes.changed() => if changed.is_err() {
                    return failed(WireError::Unavailable);
                },
                () = over.as_mut() => return failed(self.forwarder.sealed_out(1)),
            }
        }
    }

    /// Has `owner` carry a command out; the next leg if it is another node's.
    async fn pass_on(
        &self,
        owner: NodeId,
        command: &Command,
        leg: Leg,
    ) -> Result<ResponseBody, Leg> {
        let request = (command.request.clone(), 1);
        let answer = self.forwarder.ask(owner, request, command.left()).await;
        let why = match answer {
            Ok(ResponseBody::Failed(WireError::NotOwner { epoch, owner, .. })) => {
                let is_news = self.forwarder.learn(command.slot, epoch, owner);
                return self.once_more(leg, is_news, command).await;
            }
            Ok(ResponseBody::Failed(WireError::Unavailable)) => {
                return self.once_more(leg, false, command).await;
            }
            Ok(ResponseBody::Reserved {
                decision,
                reservation,
            }) => {
                return Ok(ResponseBody::Reserved {
                    decision: proxied(decision),
                    reservation,
                });
            }
            Ok(body) => return Ok(body),
            Err(Unanswered::Overloaded) => return Ok(failed(queue_full())),
            Err(why @ (Unanswered::NoAddress | Unanswered::NotSent(_))) => {
                let moved = self.forwarder.route(command.slot) != Route::Proxy(owner);
                match leg.again(true).filter(|_| moved) {
                    Some(leg) => return Err(leg),
                    None => why,
                }
            }
            Err(why @ (Unanswered::Lost | Unanswered::Doubtful(_))) => why,
        };
        self.forwarder.unanswered(owner, 1, &why);
        Ok(self.without_answer(command, &why))
    }

    async fn once_more(
        &self,
        leg: Leg,
        is_news: bool,
        command: &Command,
    ) -> Result<ResponseBody, Leg> {
        let Some(leg) = leg.again(is_news) else {
            return Ok(failed(self.forwarder.sealed_out(1)));
        };
        if !is_news {
            let wait = self.forwarder.waits.news.min(command.left());
            let mut changes = self.forwarder.subscribe();
            // Whether there was news or not, it is sent.
            drop(tokio::time::timeout(wait, changes.changed()).await);
        }
        Err(leg)
    }

    /// What is answered when the owner did not: a reservation goes by `on_failure`, and what the
    /// owner may have reserved stays counted; of all else the caller is told what is known.
    fn without_answer(&self, command: &Command, why: &Unanswered) -> ResponseBody {
        if let Some(RequestBody::Reserve { ask, .. }) = command.body() {
            return self.reserve_without_owner(&ask);
        }
        failed(match why {
            Unanswered::Lost | Unanswered::Doubtful(_) => WireError::AnswerLost,
            Unanswered::Overloaded => queue_full(),
            Unanswered::NoAddress | Unanswered::NotSent(_) => WireError::Unavailable,
        })
    }

    fn reserve_without_owner(&self, ask: &Ask<'_>) -> ResponseBody {
        match self.local.without_owner(ask) {
            Ok(decision) => ResponseBody::Reserved {
                decision,
                reservation: None,
            },
            Err(error) => failed(error),
        }
    }

    /// Carries a command out by the local limiter; `None` if that does not serve its slot.
    async fn carry_out_here(&self, command: &Command) -> Option<ResponseBody> {
        let at_once = self.local.carry_out(&command.body()?);
        let done = if at_once.is_some() {
            Ok(at_once)
        } else {
            let left = command.left();
            self.carry_out_reading(&command.request, left).await
        };
        let (body, wait) = match done {
            Ok(done) => done?,
            Err(error) => return Some(failed(error)),
        };
        let Some(wait) = wait else {
            return Some(body);
        };
        let local = Arc::clone(&self.local);
        let kept = kept_apart(async move { local.kept(wait).await });
        Some(match kept.await {
            Ok(Kept::Some) if self.local.is_lost(wait) => failed(WireError::AnswerLost),
            Ok(Kept::All | Kept::Some) => body,
            Err(error) => failed(error),
        })
    }
}

impl Command {
    fn left(&self) -> Duration {
        self.deadline.since(clock::mono_now())
    }

    fn body(&self) -> Option<RequestBody<'_>> {
        frame::decode(self.request.body()).ok()
    }
}

/// The key that a command is about; `None` for what is no command.
const fn key_of<'a>(body: &RequestBody<'a>) -> Option<&'a str> {
    match body {
        RequestBody::Refund { target, .. }
        | RequestBody::Settle { target, .. }
        | RequestBody::Cancel { target, .. }
        | RequestBody::Reset { target } => Some(target.key),
        RequestBody::Reserve { ask, .. } => Some(ask.target.key),
        RequestBody::Check(_)
        | RequestBody::Peek(_)
        | RequestBody::Routes { .. }
        | RequestBody::ReplicaRoutes { .. } => None,
    }
}

const fn failed(error: WireError) -> ResponseBody {
    ResponseBody::Failed(error)
}
