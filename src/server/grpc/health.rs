//! `grpc.health.v1`: `SERVING` while the node serves, `NOT_SERVING` from when it drains.

use futures_util::stream::{BoxStream, StreamExt, unfold};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::gubernator;

/// The names that can be asked for; the empty one is the whole node.
const SERVICES: [&str; 4] = [
    "",
    "envoy.service.ratelimit.v3.RateLimitService",
    gubernator::SERVICE,
    "grpc.health.v1.Health",
];

/// Answers for the node.
#[derive(Debug)]
pub(super) struct HealthEdge {
    ready: watch::Receiver<bool>,
}

impl HealthEdge {
    /// Answers as `ready` says.
    pub(super) const fn new(ready: watch::Receiver<bool>) -> Self {
        Self { ready }
    }
}

#[tonic::async_trait]
impl Health for HealthEdge {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !is_known(&request) {
            return Err(Status::not_found("no service of this name is here"));
        }
        Ok(Response::new(answer(serving(*self.ready.borrow()))))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let mut ready = self.ready.clone();
        ready.mark_changed();
        if is_known(&request) {
            let changes = unfold(ready, |mut ready| async {
                // An error says that the node is gone, and ends the stream.
                ready.changed().await.ok()?;
                let status = serving(*ready.borrow_and_update());
                Some((Ok(answer(status)), ready))
            });
            return Ok(Response::new(changes.boxed()));
        }
        // The protocol wants the call to go on: the service might come to be known.
        let unknown = unfold((true, ready), |(first, mut ready)| async move {
            if first {
                return Some((Ok(answer(ServingStatus::ServiceUnknown)), (false, ready)));
            }
            while ready.changed().await.is_ok() {}
            None
        });
        Ok(Response::new(unknown.boxed()))
    }
}

fn is_known(request: &Request<HealthCheckRequest>) -> bool {
    SERVICES.contains(&request.get_ref().service.as_str())
}

const fn serving(ready: bool) -> ServingStatus {
    if ready {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}

const fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status as i32,
    }
}
