//! The limiter that the server asks: this node's own for what it serves, and other nodes for the
//! rest.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::forwarder::Forwarder;
use super::local::Local;
use crate::limiter::descriptors::DescriptorRules;
use crate::limiter::policy::Limits;
use crate::protocol::admin::{AdminRequest, AdminResponse};
use crate::protocol::client::{Ask, RequestBody, ResponseBody};
use crate::protocol::error::WireError;
use crate::protocol::hello::Welcome;
use crate::routing::router::Route;
use crate::server::{Answer, Carried, Kept, Mode, Postponed, Service, Settled, Task, Via, Wait};

/// Most batches whose states are read from the store at once, by a thread each: as many as a disk
/// serves well. What waits for its turn is bounded by what a stream may have in flight.
const READS_MAX: usize = 8;

/// A node's own limiter and the way to those of others.
#[derive(Debug)]
pub(crate) struct Clustered<L> {
    pub(super) local: Arc<L>,
    pub(super) forwarder: Arc<Forwarder>,
    /// Taken while the store is read.
    pub(super) reads: Semaphore,
}

impl<L: Local> Clustered<L> {
    /// Decides by `local` what it serves, and passes the rest on.
    pub(crate) fn new(local: Arc<L>, forwarder: Arc<Forwarder>) -> Self {
        Self {
            local,
            forwarder,
            reads: Semaphore::new(READS_MAX),
        }
    }

    /// Closes the connections to other nodes that this thread has asked over: it asks nothing any more.
    pub(crate) fn leave(&self) {
        self.forwarder.leave();
    }
}

impl<L: Local> Service for Clustered<L> {
    fn welcome(&self, version: u16) -> Welcome {
        self.local.welcome(version)
    }

    fn check(&self, asks: &[Ask<'_>], answers: &mut Vec<Answer>) -> Vec<usize> {
        self.local.decide(asks, Mode::Count, answers)
    }

    fn peek(&self, asks: &[Ask<'_>], answers: &mut Vec<Answer>) -> Vec<usize> {
        self.local.decide(asks, Mode::Look, answers)
    }

    fn later(self: &Arc<Self>, asks: &[Postponed<'_>], via: Via) -> Vec<Task<Settled>> {
        self.postponed(asks, via)
    }

    fn command(self: &Arc<Self>, body: &RequestBody<'_>, left: Duration, via: Via) -> Carried {
        if let RequestBody::Routes { known } | RequestBody::ReplicaRoutes { known } = body {
            let told_replicas = matches!(body, RequestBody::ReplicaRoutes { .. });
            let routes = self.forwarder.later_routes(*known, left);
            return Carried::Open(Box::pin(async move {
                match routes.await {
                    Ok(routes) if told_replicas => ResponseBody::ReplicaRoutes(Box::new(routes)),
                    Ok(routes) => ResponseBody::Routes(Box::new(routes.into())),
                    Err(error) => ResponseBody::Failed(error),
                }
            }));
        }
        match self.local.carry_out(body) {
            Some((body, wait)) => Carried::Now(body, wait),
            None => self.command_elsewhere(body, left, via),
        }
    }

    fn limits(&self, policy: &str, key: &str) -> Result<Limits, WireError> {
        self.local.limits(policy, key)
    }

    fn descriptors(&self) -> Arc<DescriptorRules> {
        self.local.descriptors()
    }

    async fn admin(&self, request: &AdminRequest<'_>) -> AdminResponse {
        if let AdminRequest::Inspect(target) = request {
            let slot = self.local.slot(target.key);
            if let Route::Proxy(_) = self.forwarder.route(slot) {
                return AdminResponse::Failed(self.forwarder.not_owner(slot));
            }
        }
        self.local.admin(request).await
    }

    fn kept(&self, wait: Wait) -> impl Future<Output = Result<Kept, WireError>> + Send {
        self.local.kept(wait)
    }

    fn is_lost(&self, wait: Wait) -> bool {
        self.local.is_lost(wait)
    }

    fn connections_changed(&self, open: usize) {
        self.local.connections_changed(open);
    }

    fn turned_away(&self) {
        self.local.turned_away();
    }
}
