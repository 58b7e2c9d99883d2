//! What becomes of checks that this node does not serve: sent to their owners, all at the same time,
//! or kept waiting for a sealed slot. Every way ends by the check's deadline.

use std::pin::pin;
use std::sync::Arc;

use super::batch::{Batch, Item, Sorted};
use super::clustered::Clustered;
use super::forwarder::queue_full;
use super::local::Local;
use super::peers::Unanswered;
use crate::client::ResendLost;
use crate::node::clock;
use crate::protocol::client::{ResponseBody, WireDecision, WireSource};
use crate::protocol::error::WireError;
use crate::routing::router::Route;
use crate::server::{Decided, Kept, Mode, Postponed, Settled, Task, Via, Wait, kept_apart};
use crate::types::{NodeId, Slot};

/// How a check came here, and how often it may still be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leg {
    pub(super) via: Via,
    /// Whether it may be sent again when its owner turns out to be another node, or was lost.
    may_retry: bool,
    /// Whether it may then wait for news, once, if the node that was named knows nothing of it.
    may_pause: bool,
    /// Whether an owner that was lost may have counted it.
    lost: bool,
}

impl Leg {
    pub(super) const fn first(via: Via) -> Self {
        Self {
            via,
            may_retry: true,
            may_pause: true,
            lost: false,
        }
    }

    /// The leg behind one that an owner turned away; `is_news` if it named another owner. `None` if
    /// this was the last.
    pub(super) const fn again(self, is_news: bool) -> Option<Self> {
        if is_news && self.may_retry {
            return Some(Self {
                may_retry: false,
                ..self
            });
        }
        // A node that was just named as the owner may learn of it a moment later than we did.
        if !is_news && self.may_pause {
            return Some(Self {
                may_pause: false,
                ..self
            });
        }
        None
    }

    /// The leg behind one that was lost.
    fn after_loss(self, resend: ResendLost) -> Option<Self> {
        match resend {
            ResendLost::Once => {
                let leg = self.again(true);
                leg.map(|leg| Self { lost: true, ..leg })
            }
            ResendLost::Never => None,
        }
    }

    /// The error that its caller is told: after a loss none may say that nothing was counted.
    fn told(self, error: WireError) -> WireError {
        match error {
            WireError::Overloaded { .. }
            | WireError::Unavailable
            | WireError::DeadlineExceeded
            | WireError::NotOwner { .. }
                if self.lost =>
            {
                WireError::AnswerLost
            }
            error => error,
        }
    }
}

impl<L: Local> Clustered<L> {
    /// Starts on the checks that the local limiter does not serve.
    pub(super) fn postponed(
        self: &Arc<Self>,
        asks: &[Postponed<'_>],
        via: Via,
    ) -> Vec<Task<Settled>> {
        let now = clock::mono_now();
        let items = asks.iter().enumerate().map(|(place, asked)| Item {
            place,
            slot: self.local.slot(asked.ask.target.key),
            ask: asked.ask,
            mode: asked.mode,
            deadline: now.plus(asked.left),
        });
        let Settled { decided, mut more } = self.sort(items, Leg::first(via));
        if !decided.is_empty() {
            let settled = Settled {
                decided,
                more: Vec::new(),
            };
            more.push(Box::pin(std::future::ready(settled)));
        }
        more
    }

    /// Sends each check on its way.
    fn sort<'a>(self: &Arc<Self>, items: impl Iterator<Item = Item<'a>>, leg: Leg) -> Settled {
        let now = clock::mono_now();
        let mut sorted = Sorted::default();
        for item in items {
            if self.forwarder.is_shut_out() {
                let answer = self.local.without_owner(item.ask);
                sorted.decided.push((item.place, answer));
                continue;
            }
            match (self.forwarder.route(item.slot), leg.via) {
                (Route::Proxy(owner), Via::Caller) => sorted.send(owner, &item, now),
                (Route::Proxy(_), Via::Proxy) => {
                    let error = self.forwarder.not_owner(item.slot);
                    sorted.decided.push((item.place, Err(error)));
                }
                (Route::Local | Route::Unknown, _) => sorted.hold(&item, now),
            }
        }
        let mut more: Vec<Task<Settled>> = Vec::new();
        for (owner, batch) in sorted.owners {
            let this = Arc::clone(self);
            more.push(Box::pin(this.ask_owner(owner, batch, leg)));
        }
        for (slot, batch) in sorted.waits {
            let this = Arc::clone(self);
            more.push(Box::pin(this.wait_for(slot, batch, leg)));
        }
        Settled {
            decided: sorted.decided,
            more,
        }
    }

    /// Sends a whole batch on its way again.
    fn sort_again(self: &Arc<Self>, batch: &Batch, leg: Leg) -> Settled {
        let asks = batch.asks();
        let items = asks.iter().enumerate();
        self.sort(items.filter_map(|(n, ask)| batch.item(n, ask)), leg)
    }

    /// Has `owner` decide a batch.
    async fn ask_owner(self: Arc<Self>, owner: NodeId, batch: Batch, leg: Leg) -> Settled {
        let request = (batch.request(), batch.len());
        let asked = self.forwarder.ask(owner, request, batch.left());
        let answer = tokio::select! {
            // Both arms are cancel safe: what only looks may be asked of two nodes.
            answer = asked => answer,
            leg = self.look_elsewhere(owner, &batch, leg) => return self.sort_again(&batch, leg),
        };
        let why = match answer {
            Ok(ResponseBody::Decisions(each)) if each.len() == batch.len() => {
                return self.sort_answers(&batch, each, leg);
            }
            // It takes no requests any more, and has carried out nothing.
            Ok(ResponseBody::Failed(WireError::Unavailable)) => {
                if let Some(leg) = leg.again(false) {
                    return self.after_news(batch, leg).await;
                }
                Unanswered::NotSent(WireError::Unavailable.into())
            }
            Ok(ResponseBody::Failed(error)) => return decided(batch.all(&leg.told(error))),
            Ok(_) => Unanswered::Doubtful(crate::client::CheckError::UnexpectedAnswer),
            Err(Unanswered::Lost) => match leg.after_loss(self.forwarder.waits.resend_lost) {
                Some(leg) => return self.sort_again(&batch, leg),
                None => Unanswered::Lost,
            },
            Err(Unanswered::Overloaded) => return decided(batch.all(&leg.told(queue_full()))),
            Err(why @ (Unanswered::NoAddress | Unanswered::NotSent(_))) => {
                // Others may own the slots by now: a node gives them away before it stops.
                match leg.again(true).filter(|_| self.has_moved(owner, &batch)) {
                    Some(leg) => return self.sort_again(&batch, leg),
                    None => why,
                }
            }
            Err(why @ Unanswered::Doubtful(_)) => why,
        };
        self.forwarder.unanswered(owner, batch.len(), &why);
        let asks = batch.asks();
        let each = batch.places().iter().zip(&asks);
        decided(
            each.map(|(&(place, _), ask)| (place, self.local.without_owner(ask)))
                .collect(),
        )
    }

    /// Waits until a slot of a batch that counts nothing is not `owner`'s any more: one that does not
    /// answer since it was lost is not waited for when the slot was taken over, as often as not by this
    /// node. For ever if the batch counts, or may not be sent again.
    async fn look_elsewhere(&self, owner: NodeId, batch: &Batch, leg: Leg) -> Leg {
        if batch.mode == Mode::Look
            && let Some(leg) = leg.again(true)
        {
            let mut changes = self.forwarder.subscribe();
            loop {
                if self.has_moved(owner, batch) {
                    return leg;
                }
                if changes.changed().await.is_err() {
                    break;
                }
            }
        }
        std::future::pending().await
    }

    /// Whether a slot of the batch is not `owner`'s any more, as far as is known.
    fn has_moved(&self, owner: NodeId, batch: &Batch) -> bool {
        let mut slots = batch.places().iter().map(|&(_, slot)| slot);
        slots.any(|slot| self.forwarder.route(slot) != Route::Proxy(owner))
    }

    /// Takes the answers of an owner; what it does not own goes on its way again.
    fn sort_answers(self: &Arc<Self>, batch: &Batch, each: Vec<Decided>, leg: Leg) -> Settled {
        let mut settled = Settled::default();
        let (mut known_better, mut no_news) = (Vec::new(), Vec::new());
        for (n, (answer, &(place, slot))) in each.into_iter().zip(batch.places()).enumerate() {
            let Err(WireError::NotOwner { epoch, owner, .. }) = answer else {
                let answer = answer.map(proxied).map_err(|error| leg.told(error));
                settled.decided.push((place, answer));
                continue;
            };
            let is_news = self.forwarder.learn(slot, epoch, owner);
            // Another check of the slot may have brought the news already.
            let moved = is_news || known_better.iter().any(|&(_, other)| other == slot);
            match leg.again(moved) {
                Some(_) if moved => known_better.push((n, slot)),
                Some(_) => no_news.push((n, slot)),
                None => {
                    let error = leg.told(self.forwarder.sealed_out(1));
                    settled.decided.push((place, Err(error)));
                }
            }
        }
        let asks = batch.asks();
        let part = |wanted: &[(usize, Slot)]| -> Vec<Item<'_>> {
            let items = wanted.iter();
            items
                .filter_map(|&(n, _)| batch.item(n, asks.get(n)?))
                .collect()
        };
        if let Some(leg) = leg.again(true).filter(|_| !known_better.is_empty()) {
            let sent = self.sort(part(&known_better).into_iter(), leg);
            settled.decided.extend(sent.decided);
            settled.more.extend(sent.more);
        }
        if let Some(leg) = leg.again(false) {
            let now = clock::mono_now();
            let mut waiting = Sorted::default();
            for item in part(&no_news) {
                waiting.hold(&item, now);
            }
            for (_, batch) in waiting.waits {
                let this = Arc::clone(self);
                let later = async move { this.after_news(batch, leg).await };
                settled.more.push(Box::pin(later));
            }
            settled.decided.extend(waiting.decided);
        }
        settled
    }

    /// Sends a batch on its way again when there is news, or after a while without.
    async fn after_news(self: Arc<Self>, batch: Batch, leg: Leg) -> Settled {
        let mut changes = self.forwarder.subscribe();
        let wait = self.forwarder.waits.news.min(batch.left());
        // Whether there was news or not, the check is sent.
        drop(tokio::time::timeout(wait, changes.changed()).await);
        self.sort_again(&batch, leg)
    }

    /// Waits until a slot is served here or elsewhere, and goes on there.
    async fn wait_for(self: Arc<Self>, slot: Slot, batch: Batch, leg: Leg) -> Settled {
        let mut changes = self.forwarder.subscribe();
        let wait = self.forwarder.waits.seal.min(batch.left());
        let mut over = pin!(tokio::time::sleep(wait));
        loop {
            changes.borrow_and_update();
            if let Route::Proxy(_) = self.forwarder.route(slot) {
                return self.sort_again(&batch, leg);
            }
            match self.decide_here(&batch, leg).await {
                Ok(Some(settled)) => return settled,
                Ok(None) => {}
                Err(error) => return decided(batch.all(&error)),
            }
            tokio::select! {
                // Both arms are cancel safe.
                changed = changes.changed() => if changed.is_err() {
                    break;
                },
                () = over.as_mut() => break,
            }
        }
        let error = leg.told(self.forwarder.sealed_out(batch.len()));
        decided(batch.all(&error))
    }

    /// Decides a batch by the local limiter; `None` if that serves none of it.
    async fn decide_here(
        self: &Arc<Self>,
        batch: &Batch,
        leg: Leg,
    ) -> Result<Option<Settled>, WireError> {
        let mut answers = Vec::new();
        let mut late = {
            let asks = batch.asks();
            self.local.decide(&asks, batch.mode, &mut answers)
        };
        if late.len() >= batch.len() {
            (answers, late) = self.decide_reading(batch).await?;
        }
        if late.len() >= batch.len() {
            return Ok(None);
        }
        let waits = answers.iter().enumerate();
        let wait = waits
            .filter(|(n, _)| late.binary_search(n).is_err())
            .filter_map(|(_, answer)| answer.wait)
            .reduce(Wait::join);
        let kept = match wait {
            Some(wait) => {
                let local = Arc::clone(&self.local);
                kept_apart(async move { local.kept(wait).await }).await
            }
            None => Ok(Kept::All),
        };
        let asks = batch.asks();
        let again = late.iter().filter_map(|&n| batch.item(n, asks.get(n)?));
        let mut settled = self.sort(again, leg);
        let each = answers.into_iter().zip(batch.places()).enumerate();
        let here = each.filter(|(n, _)| late.binary_search(n).is_err());
        settled
            .decided
            .extend(here.map(|(_, (answer, &(place, _)))| {
                let is_lost = |wait| self.local.is_lost(wait);
                (place, answer.released(&kept, is_lost))
            }));
        Ok(Some(settled))
    }
}

/// The decision of an owner as the node that asked it passes it on.
pub(super) fn proxied(mut decision: WireDecision) -> WireDecision {
    if decision.source == WireSource::Owner {
        decision.source = WireSource::Proxied;
    }
    decision
}

const fn decided(decided: Vec<(usize, Decided)>) -> Settled {
    Settled {
        decided,
        more: Vec::new(),
    }
}
