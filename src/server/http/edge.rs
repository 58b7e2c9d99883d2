//! The edge as a whole: its settings, and what all its requests share.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use http::request::Parts;
use http::{HeaderMap, HeaderName, StatusCode};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::answer::Telling;
use super::bearer::Bearer;
use super::body::Bodies;
use super::bounds::HttpBounds;
use super::metrics::{Counts, Figures};
use super::origin::Origin;
use super::page::Watchers;
use super::problem::{Failure, Problem};
use super::query::{Parameters, number};
use super::{connection, handshake, readiness, routes};
use crate::protocol::admin::{AdminRequest, AdminResponse, Ring, Status};
use crate::server::grpc::{EnvoyCounts, GrpcSetup};
use crate::server::{Desk, Protocol, Service, Stopping};
use crate::transport::tls::web::WebTls;
use crate::types::{BearerToken, HeaderStyle, KeyFrom};

/// The header that says how long a request waits for its answer, in milliseconds.
const TIMEOUT_MS: HeaderName = HeaderName::from_static("x-timeout-ms");

/// How the edge is to answer.
#[derive(Debug, Clone)]
pub(crate) struct HttpSettings {
    /// Which headers tell of limits.
    pub(crate) headers: HeaderStyle,
    /// The status of a denial.
    pub(crate) deny_status: u16,
    /// Where a key comes from that no request names.
    pub(crate) key_from: KeyFrom,
    /// How many proxies stand in front whose `X-Forwarded-For` is believed.
    pub(crate) trusted_proxies: usize,
    /// What whoever looks at keys or resets them must show; nobody may if there is none.
    pub(crate) token: Option<BearerToken>,
    /// How long a request waits that does not say.
    pub(crate) timeout: Duration,
    /// What connections are encrypted with; none: they are in the clear.
    pub(crate) tls: Option<Arc<WebTls>>,
    /// Reads the wall clock, in milliseconds since 1970, for answers that tell times of day.
    pub(crate) wall_ms: fn() -> u64,
}

/// Why the edge cannot run so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadSettings {
    /// Not a status that refuses.
    #[error("a denial cannot have the status {status}; use one from 400 to 599")]
    DenyStatus { status: u16 },
    /// Not the name of a header.
    #[error("`{name}` cannot be the name of a header")]
    Header { name: String },
}

/// What all requests share.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) bounds: HttpBounds,
    pub(super) telling: Telling,
    pub(super) bearer: Bearer,
    pub(super) counts: Counts,
    pub(super) envoy: Arc<EnvoyCounts>,
    pub(super) bodies: Bodies,
    pub(super) watchers: Watchers,
    pub(super) figures: Arc<dyn Figures>,
    looks: Semaphore,
    pub(super) origin: Origin,
    timeout: Duration,
    wall_ms: fn() -> u64,
}

/// What a request is answered with: the rules, and where to ask. Cheap to clone.
#[derive(Debug)]
pub(super) struct Edge<S> {
    pub(super) desk: Desk<S>,
    pub(super) rules: Arc<Rules>,
    pub(super) stopping: Stopping,
}

impl<S> Clone for Edge<S> {
    fn clone(&self) -> Self {
        Self {
            desk: self.desk.clone(),
            rules: Arc::clone(&self.rules),
            stopping: self.stopping.clone(),
        }
    }
}

/// Who is at the other end of a connection; an extension of its requests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// The protocol; one for all connections of a listener.
#[derive(Debug)]
pub(crate) struct Http {
    rules: Arc<Rules>,
    tls: Option<Arc<WebTls>>,
    /// Made for the first connection, since it asks at a server's desk.
    router: OnceLock<Router>,
}

impl Http {
    /// The edge with these settings; `figures` tells the metrics what only the node knows.
    pub(crate) fn new(
        settings: &HttpSettings,
        figures: Arc<dyn Figures>,
    ) -> Result<Self, BadSettings> {
        Self::bounded(settings, figures, HttpBounds::default())
    }

    pub(super) fn bounded(
        settings: &HttpSettings,
        figures: Arc<dyn Figures>,
        bounds: HttpBounds,
    ) -> Result<Self, BadSettings> {
        let status = settings.deny_status;
        let deny_status = StatusCode::from_u16(status)
            .ok()
            .filter(|it| it.is_client_error() || it.is_server_error())
            .ok_or(BadSettings::DenyStatus { status })?;
        let origin = match &settings.key_from {
            KeyFrom::Request => Origin::Nowhere,
            KeyFrom::ClientAddress => Origin::Address {
                trusted_proxies: settings.trusted_proxies,
            },
            KeyFrom::Header(name) => {
                let parsed = HeaderName::from_bytes(name.as_bytes());
                let name = parsed.map_err(|_| BadSettings::Header { name: name.clone() })?;
                Origin::Header(name)
            }
        };
        let telling = Telling {
            headers: settings.headers,
            deny_status,
        };
        Ok(Self {
            rules: Arc::new(Rules {
                bounds,
                telling,
                bearer: Bearer::new(settings.token.as_ref()),
                counts: Counts::default(),
                envoy: Arc::default(),
                bodies: Bodies::default(),
                watchers: Watchers::default(),
                figures,
                looks: Semaphore::new(bounds.looks_max),
                origin,
                timeout: settings.timeout.min(bounds.timeout_max),
                wall_ms: settings.wall_ms,
            }),
            tls: settings.tls.clone(),
            router: OnceLock::new(),
        })
    }
}

impl<S: Service> Protocol<S> for Http {
    const NAME: &'static str = "http";

    async fn serve(self: Arc<Self>, stream: TcpStream, desk: Desk<S>, stopping: Stopping) {
        let Ok(peer) = stream.peer_addr() else {
            return;
        };
        let router = self.router.get_or_init(|| {
            let edge = Edge {
                desk,
                rules: Arc::clone(&self.rules),
                stopping: stopping.clone(),
            };
            let setup = GrpcSetup {
                ready: readiness::told(edge.clone()),
                wall_ms: self.rules.wall_ms,
                envoy: Arc::clone(&self.rules.envoy),
            };
            routes::router(edge, setup)
        });
        let (rules, router) = (&self.rules, router.clone());
        let Some(tls) = &self.tls else {
            return connection::serve((stream, peer), router, rules, stopping).await;
        };
        if let Some(stream) = handshake::accept((stream, peer), tls, rules, &stopping).await {
            connection::serve((stream, peer), router, rules, stopping).await;
        }
    }
}

impl Rules {
    /// The key of a request that may name it.
    pub(super) fn key(&self, named: Option<String>, parts: &Parts) -> Result<String, Failure> {
        if let Some(key) = named {
            return Ok(key);
        }
        let Some(Peer(peer)) = parts.extensions.get() else {
            return Err(Problem::Internal.because("the peer of the connection is not known"));
        };
        self.origin.key(&parts.headers, *peer)
    }

    /// How long the request waits for its answer.
    pub(super) fn left(
        &self,
        parameters: &Parameters,
        headers: &HeaderMap,
    ) -> Result<Duration, Failure> {
        let header = headers.get(&TIMEOUT_MS).map(|value| {
            let text = value.to_str().unwrap_or("?");
            number(TIMEOUT_MS.as_str(), text)
        });
        // One that is not followed must be sound too.
        let header = self.wait(header.transpose()?)?;
        let query = self.wait(parameters.timeout_ms)?;
        Ok(query.or(header).unwrap_or(self.timeout))
    }

    fn wait(&self, asked_ms: Option<u64>) -> Result<Option<Duration>, Failure> {
        let (asked, max) = (asked_ms.map(Duration::from_millis), self.bounds.timeout_max);
        if asked.is_some_and(|asked| asked.is_zero() || asked > max) {
            let detail = format!("a timeout is 1 ms to {} ms", max.as_millis());
            return Err(Problem::BadRequest.because(detail));
        }
        Ok(asked)
    }
}

impl<S: Service> Edge<S> {
    /// How the node is, and the cluster as it sees it, as far as there is one. A few ask at once, and
    /// the others wait for them: who asks again and again for metrics holds up nothing else.
    pub(super) async fn look(&self) -> (Option<Box<Status>>, Ring) {
        let _turn = self.rules.looks.acquire().await;
        let status = self.desk.admin(&AdminRequest::Status).await;
        let ring = self.desk.admin(&AdminRequest::Ring).await;
        let status = if let AdminResponse::Status(status) = status {
            Some(status)
        } else {
            None
        };
        let ring = if let AdminResponse::Ring(ring) = ring {
            *ring
        } else {
            Ring::default()
        };
        (status, ring)
    }
}
