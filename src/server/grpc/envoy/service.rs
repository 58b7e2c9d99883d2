//! `ShouldRateLimit`: counts all of a request or none, gives back, and answers.
//!
//! In this order: what is over its limit ends it and nothing stays counted; what fails ends it with
//! an error, and nothing stays counted that is known to be; only then is given back what the request
//! wants given back. What is given back is taken from what still counts, the oldest first, and never
//! below nothing: hits that were granted longer than a window ago should not be given back, as they
//! would be taken from others.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitService;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use tonic::{Request, Response, Status};

use super::answer::{Told, blocked, counted, passing, response, unlimited};
use super::counts::EnvoyCounts;
use super::plan::{Planned, plan};
use crate::limiter::descriptors::DomainRules;
use crate::protocol::client::BATCH_MAX;
use crate::server::grpc::all::{count_all, is_over};
use crate::server::grpc::ask::Part;
use crate::server::grpc::deadline;
use crate::server::grpc::status::status;
use crate::server::service::Service;
use crate::server::{Decided, Desk, Mode};
use crate::types::HeaderStyle;

/// Most characters of a domain's name that are logged.
const LOGGED_CHARS_MAX: usize = 64;

/// Answers Envoy.
#[derive(Debug)]
pub(in crate::server::grpc) struct EnvoyEdge<S> {
    desk: Desk<S>,
    counts: Arc<EnvoyCounts>,
}

impl<S: Service> EnvoyEdge<S> {
    /// Asks at `desk`, and counts what no rule is there for.
    pub(in crate::server::grpc) const fn new(desk: Desk<S>, counts: Arc<EnvoyCounts>) -> Self {
        Self { desk, counts }
    }

    async fn answer(
        &self,
        request: &RateLimitRequest,
        left: Duration,
    ) -> Result<RateLimitResponse, Status> {
        check_form(request)?;
        let rules = self.desk.descriptors();
        let Some(domain) = rules.domain(&request.domain) else {
            if self.counts.add_unknown_domain() {
                let domain: String = request.domain.chars().take(LOGGED_CHARS_MAX).collect();
                tracing::warn!(domain, "no rules for this domain; its requests pass");
            }
            let all = request.descriptors.iter().map(|_| passing()).collect();
            return Ok(response(all, HeaderStyle::None));
        };
        let planned = self.plan(request, domain)?;
        let told = self.told(planned, left).await?;
        Ok(response(told, domain.headers()))
    }

    fn plan(
        &self,
        request: &RateLimitRequest,
        domain: &DomainRules,
    ) -> Result<Vec<Planned>, Status> {
        let domain = (request.domain.as_str(), domain);
        let planned = request.descriptors.iter().map(|descriptor| {
            let planned = plan(domain, descriptor, request.hits_addend)?;
            if planned == Planned::Unmatched && self.counts.add_unmatched() {
                let domain: String = request.domain.chars().take(LOGGED_CHARS_MAX).collect();
                tracing::info!(domain, "no rule for a descriptor; it passes");
            }
            Ok(planned)
        });
        planned.collect()
    }

    /// Carries out what was planned, and tells of each descriptor in order.
    async fn told(&self, planned: Vec<Planned>, left: Duration) -> Result<Vec<Told>, Status> {
        let (mut parts, mut back) = (Vec::new(), Vec::new());
        for planned in &planned {
            match planned {
                Planned::Count(part) => parts.push(part.clone()),
                Planned::GiveBack(part) => back.push(part.clone()),
                Planned::Unmatched | Planned::Unlimited | Planned::Blocked => {}
            }
        }
        let mode = if planned.contains(&Planned::Blocked) {
            Mode::Look
        } else {
            Mode::Count
        };
        let decided = self.decide(&parts, mode, left).await?;
        let over = mode == Mode::Look || decided.iter().any(is_over);
        if !over {
            for part in &back {
                let given = part.give_back(&self.desk, left).await;
                given.map_err(|error| status(&error))?;
            }
        }
        let costless: Vec<Part> = back.iter().map(|part| part.costing(0)).collect();
        let after = self.decide(&costless, Mode::Look, left).await?;
        let mut decided = parts.iter().zip(&decided);
        let mut after = back.iter().zip(&after);
        let told = planned.iter().map(|planned| {
            let (part, answer) = match planned {
                Planned::Unmatched => return Ok(passing()),
                Planned::Unlimited => return Ok(unlimited()),
                Planned::Blocked => return Ok(blocked()),
                Planned::Count(_) => decided.next(),
                Planned::GiveBack(_) => after.next(),
            }
            .ok_or_else(|| Status::internal("an answer is missing"))?;
            Ok(counted(&self.desk, part, answer))
        });
        told.collect()
    }

    /// Decides all of them together. If any that was to be counted failed and none is over its limit,
    /// that is the answer.
    async fn decide(
        &self,
        parts: &[Part],
        mode: Mode,
        left: Duration,
    ) -> Result<Vec<Decided>, Status> {
        let decided = match (mode, parts.len()) {
            (Mode::Look, _) => {
                let asks: Vec<_> = parts.iter().map(Part::ask).collect();
                self.desk.decide(&asks, mode, left).await
            }
            // There is nothing to undo.
            (Mode::Count, 0 | 1) => count_all(&self.desk, parts, left).await,
            (Mode::Count, _) => {
                let (desk, parts) = (self.desk.clone(), parts.to_vec());
                // In a task of its own: who goes away does not keep it from giving back.
                let all = tokio::spawn(async move { count_all(&desk, &parts, left).await });
                let failed = |_| Status::internal("the check did not come to its end");
                all.await.map_err(failed)?
            }
        };
        let failed = decided.iter().find_map(|answer| answer.as_ref().err());
        match failed {
            Some(error) if mode == Mode::Count && !decided.iter().any(is_over) => {
                Err(status(error))
            }
            Some(_) | None => Ok(decided),
        }
    }
}

#[tonic::async_trait]
impl<S: Service> RateLimitService for EnvoyEdge<S> {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let left = deadline::left(request.metadata());
        let answer = self.answer(request.get_ref(), left).await?;
        Ok(Response::new(answer))
    }
}

/// Refuses what Envoy's own service refuses, and more than is decided at once.
fn check_form(request: &RateLimitRequest) -> Result<(), Status> {
    if request.domain.is_empty() {
        return Err(Status::invalid_argument(
            "rate limit domain must not be empty",
        ));
    }
    let count = request.descriptors.len();
    if count == 0 {
        return Err(Status::invalid_argument(
            "rate limit descriptor list must not be empty",
        ));
    }
    if count > BATCH_MAX {
        return Err(Status::invalid_argument(format!(
            "the request holds {count} descriptors, at most {BATCH_MAX} are allowed"
        )));
    }
    Ok(())
}
