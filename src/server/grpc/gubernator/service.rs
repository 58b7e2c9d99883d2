//! Asks and answers, item by item in their order: what is counted in a row is one batch.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Context, Poll, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::messages::{
    GetRateLimitsReq, GetRateLimitsResp, HealthCheckReq, HealthCheckResp, LimitStatus,
    RateLimitReq, RateLimitResp,
};
use super::plan::{Planned, error, plan};
use crate::protocol::error::WireError;
use crate::server::grpc::ask::{Part, Policy, one};
use crate::server::grpc::deadline;
use crate::server::grpc::routes::MESSAGE_BYTES_MAX;
use crate::server::service::Service;
use crate::server::{Decided, Desk, Mode};

/// The service's full name.
pub(in crate::server::grpc) const SERVICE: &str = "pb.gubernator.V1";

/// Most items of one request, as Gubernator has it.
const ITEMS_MAX: usize = 1000;

/// Answers Gubernator's clients.
#[derive(Debug)]
pub(in crate::server::grpc) struct GubernatorEdge<S> {
    desk: Desk<S>,
    ready: watch::Receiver<bool>,
    wall_ms: fn() -> u64,
}

impl<S> Clone for GubernatorEdge<S> {
    fn clone(&self) -> Self {
        Self {
            desk: self.desk.clone(),
            ready: self.ready.clone(),
            wall_ms: self.wall_ms,
        }
    }
}

impl<S: Service> GubernatorEdge<S> {
    /// Asks at `desk`; healthy as `ready` says, and `wall_ms` is the time of day.
    pub(in crate::server::grpc) const fn new(
        desk: Desk<S>,
        ready: watch::Receiver<bool>,
        wall_ms: fn() -> u64,
    ) -> Self {
        Self {
            desk,
            ready,
            wall_ms,
        }
    }

    /// Answers each item.
    pub(super) async fn get_rate_limits(
        &self,
        requests: &[RateLimitReq],
        left: Duration,
    ) -> Result<Vec<RateLimitResp>, Status> {
        if requests.len() > ITEMS_MAX {
            return Err(Status::out_of_range(format!(
                "Requests.RateLimits list too large; max size is '{ITEMS_MAX}'"
            )));
        }
        let now_ms = i64::try_from((self.wall_ms)()).unwrap_or(i64::MAX);
        let items = requests.iter().map(|request| {
            let created = request.created_at.filter(|ms| *ms != 0);
            let now_ms = created.unwrap_or(now_ms);
            (plan(request, now_ms), now_ms)
        });
        let items: Vec<_> = items.collect();
        let all = timeout(left, self.answers(&items, left));
        all.await
            .map_err(|_| Status::deadline_exceeded(WireError::AnswerLost.to_string()))
    }

    async fn answers(&self, items: &[(Planned, i64)], left: Duration) -> Vec<RateLimitResp> {
        let mut answers = Vec::with_capacity(items.len());
        for run in items.chunk_by(|(one, _), (next, _)| goes_on(one, next)) {
            match run.first() {
                Some((Planned::Count { .. }, _)) => answers.extend(self.counted(run, left).await),
                Some((Planned::Look(_), _)) => answers.extend(self.looked(run, left).await),
                Some((item, now_ms)) => answers.push(self.single(item, *now_ms, left).await),
                None => {}
            }
        }
        answers
    }

    async fn counted(&self, run: &[(Planned, i64)], left: Duration) -> Vec<RateLimitResp> {
        let items: Vec<(&Part, bool, i64)> = run
            .iter()
            .filter_map(|(item, now_ms)| match item {
                Planned::Count { part, drain } => Some((part, *drain, *now_ms)),
                _ => None,
            })
            .collect();
        let asks: Vec<_> = items.iter().map(|(part, ..)| part.ask()).collect();
        let decided = self.desk.decide(&asks, Mode::Count, left).await;
        let mut answers = Vec::with_capacity(items.len());
        for ((part, drain, now_ms), answer) in items.into_iter().zip(decided) {
            answers.push(self.settled(part, (answer, drain), now_ms, left).await);
        }
        answers
    }

    /// The answer to hits that were decided.
    async fn settled(
        &self,
        part: &Part,
        (answer, drain): (Decided, bool),
        now_ms: i64,
        left: Duration,
    ) -> RateLimitResp {
        let (over, mut answer) = match answer {
            Ok(decision) => (!decision.allowed, Ok(decision)),
            Err(WireError::CostAboveLimit { .. }) => (true, part.look(&self.desk, left).await),
            Err(error) => (false, Err(error)),
        };
        if over
            && drain
            && let Ok(decision) = &answer
            && decision.remaining > 0
        {
            let rest = part.costing(decision.remaining);
            answer = one(self.desk.decide(&[rest.ask()], Mode::Count, left).await);
        }
        told(part, &answer, over, now_ms)
    }

    async fn looked(&self, run: &[(Planned, i64)], left: Duration) -> Vec<RateLimitResp> {
        let items: Vec<(&Part, i64)> = run
            .iter()
            .filter_map(|(item, now_ms)| match item {
                Planned::Look(part) => Some((part, *now_ms)),
                _ => None,
            })
            .collect();
        let asks: Vec<_> = items.iter().map(|(part, _)| part.ask()).collect();
        let decided = self.desk.decide(&asks, Mode::Look, left).await;
        let items = items.into_iter().zip(decided);
        items
            .map(|((part, now_ms), answer)| {
                let over = answer
                    .as_ref()
                    .is_ok_and(|decision| decision.remaining == 0);
                told(part, &answer, over, now_ms)
            })
            .collect()
    }

    /// The answer to what is no check.
    async fn single(&self, item: &Planned, now_ms: i64, left: Duration) -> RateLimitResp {
        match item {
            Planned::Known(answer) => answer.clone(),
            Planned::GiveBack(part) => match part.give_back(&self.desk, left).await {
                Ok(_) => told(part, &part.look(&self.desk, left).await, false, now_ms),
                Err(why) => error(&why.to_string()),
            },
            Planned::Reset(part) => match part.reset(&self.desk, left).await {
                Ok(()) => RateLimitResp {
                    limit: limit_of(part),
                    remaining: limit_of(part),
                    ..RateLimitResp::default()
                },
                Err(why) => error(&why.to_string()),
            },
            Planned::Count { part, .. } | Planned::Look(part) => {
                told(part, &part.look(&self.desk, left).await, false, now_ms)
            }
        }
    }

    /// How the node is.
    pub(super) fn health(&self) -> HealthCheckResp {
        let (status, message) = if *self.ready.borrow() {
            ("healthy", "")
        } else {
            ("unhealthy", "the node does not serve now; ask another node")
        };
        HealthCheckResp {
            status: status.to_owned(),
            message: message.to_owned(),
            // This one: where the others are is no matter to who asks.
            peer_count: 1,
            advertise_address: String::new(),
        }
    }
}

/// Whether an item is answered in one batch with the one before it: what is drained comes before what
/// follows.
const fn goes_on(one: &Planned, next: &Planned) -> bool {
    matches!(
        (one, next),
        (Planned::Count { drain: false, .. }, Planned::Count { .. })
            | (Planned::Look(_), Planned::Look(_))
    )
}

fn told(part: &Part, answer: &Decided, over: bool, now_ms: i64) -> RateLimitResp {
    let decision = match answer {
        Ok(decision) => decision,
        Err(why) => return error(&why.to_string()),
    };
    let status = if over {
        LimitStatus::OverLimit
    } else {
        LimitStatus::UnderLimit
    };
    let reset_after_ms = i64::try_from(decision.reset_after_ms).unwrap_or(i64::MAX);
    RateLimitResp {
        status: status as i32,
        limit: limit_of(part),
        remaining: i64::try_from(decision.remaining).unwrap_or(i64::MAX),
        reset_time: now_ms.saturating_add(reset_after_ms),
        error: String::new(),
    }
}

fn limit_of(part: &Part) -> i64 {
    match &part.policy {
        Policy::Carried { limit, .. } => i64::try_from(limit.0).unwrap_or(i64::MAX),
        Policy::Named(_) => 0,
    }
}

/// The edge over gRPC.
#[derive(Debug)]
pub(in crate::server::grpc) struct GubernatorServer<S> {
    edge: GubernatorEdge<S>,
}

impl<S> Clone for GubernatorServer<S> {
    fn clone(&self) -> Self {
        Self {
            edge: self.edge.clone(),
        }
    }
}

impl<S> GubernatorServer<S> {
    /// Serves what `edge` answers.
    pub(in crate::server::grpc) const fn new(edge: GubernatorEdge<S>) -> Self {
        Self { edge }
    }
}

impl<S> NamedService for GubernatorServer<S> {
    const NAME: &'static str = SERVICE;
}

impl<S: Service> tonic::codegen::Service<http::Request<Body>> for GubernatorServer<S> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let method = request.uri().path().rsplit('/').next();
            Ok(match method {
                Some("GetRateLimits") => {
                    bounded::<GetRateLimitsResp, GetRateLimitsReq>()
                        .unary(this, request)
                        .await
                }
                Some("HealthCheck") => {
                    bounded::<HealthCheckResp, HealthCheckReq>()
                        .unary(this, request)
                        .await
                }
                Some(_) | None => {
                    Status::unimplemented("pb.gubernator.V1 has GetRateLimits and HealthCheck")
                        .into_http()
                }
            })
        })
    }
}

/// Reads and writes messages of a bounded size.
fn bounded<E, D>() -> Grpc<ProstCodec<E, D>>
where
    E: prost::Message + 'static,
    D: prost::Message + Default + 'static,
{
    Grpc::new(ProstCodec::default()).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

impl<S: Service> UnaryService<GetRateLimitsReq> for GubernatorServer<S> {
    type Response = GetRateLimitsResp;
    type Future = BoxFuture<Response<Self::Response>, Status>;

    fn call(&mut self, request: Request<GetRateLimitsReq>) -> Self::Future {
        let edge = self.edge.clone();
        Box::pin(async move {
            let left = deadline::left(request.metadata());
            let requests = &request.get_ref().requests;
            let responses = edge.get_rate_limits(requests, left).await?;
            Ok(Response::new(GetRateLimitsResp { responses }))
        })
    }
}

impl<S: Service> UnaryService<HealthCheckReq> for GubernatorServer<S> {
    type Response = HealthCheckResp;
    type Future = BoxFuture<Response<Self::Response>, Status>;

    fn call(&mut self, _: Request<HealthCheckReq>) -> Self::Future {
        let health = self.edge.health();
        Box::pin(async move { Ok(Response::new(health)) })
    }
}
