//! Keeps the routes fresh: one request for them is always open, on a stream of its own on one of the
//! connections, and is answered when there are others.
//!
//! When that connection is lost, or its node answers nothing in time, another one is asked, at once.
//! A node that does not know routes is asked again later; until then nothing is routed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::backoff::Backoff;
use super::core::Core;
use super::place::{Place, Spoken};
use super::route_cache::BadRoutes;
use crate::protocol::client::{RequestBody, Response, ResponseBody};
use crate::protocol::error::WireError;
use crate::protocol::frame::{self, FRAME_BYTES_MAX, FrameBuffer};
use crate::protocol::hello::REPLICA_ROUTES_SINCE;
use crate::protocol::routes::ReplicaRoutes;

/// How long a node may wait for other routes before it answers with what the client has.
const ROUTES_DEADLINE_MS: u32 = 20_000;

/// After so long without an answer the node is taken for dead: the deadline and a round trip.
const ROUTES_WAIT_MAX: Duration = Duration::from_secs(25);

/// Answers that say nothing new come at most so often, or the node is asked less often.
const SAME_ROUTES_EVERY: Duration = Duration::from_secs(1);

/// Why a node tells no more routes.
#[derive(Debug, thiserror::Error)]
enum WatchEnd {
    #[error("the connection was lost")]
    Lost,
    #[error("no answer in time")]
    Silent,
    #[error("what was answered are not routes")]
    Garbled,
    #[error("the node cannot tell")]
    Refused(#[from] WireError),
    #[error("the routes cannot be used")]
    Bad(#[from] BadRoutes),
}

/// Watches the routes, for ever.
pub(super) async fn watch_routes(core: Arc<Core>) {
    let mut backoff = Backoff::default();
    let mut turn: usize = 0;
    loop {
        let connections = connections(&core);
        let Some(place) = turn.checked_rem(connections.len()) else {
            core.connected.notified().await;
            continue;
        };
        let Some(spoken) = connections.into_iter().nth(place) else {
            continue;
        };
        let end = watch_on(&core, &spoken, &mut backoff).await;
        core.routes_lost();
        tracing::debug!(error = %end, "routes are not told here any more");
        turn = turn.wrapping_add(1);
        tokio::time::sleep(backoff.next_wait(rand::random())).await;
    }
}

/// All connections, those to seeds first.
fn connections(core: &Core) -> Vec<Spoken> {
    let running = core.places.iter().filter(|it| it.stage().is_running());
    running.flat_map(Place::connections).collect()
}

/// Asks for routes on a new stream, again and again, until that fails.
async fn watch_on(core: &Core, spoken: &Spoken, backoff: &mut Backoff) -> WatchEnd {
    let cluster = core.cluster();
    let Ok((mut send, mut recv)) = spoken.connection.open_bi().await else {
        return WatchEnd::Lost;
    };
    let mut frames = FrameBuffer::default();
    let (mut id, mut known) = (0_u64, 0);
    loop {
        id = id.wrapping_add(1);
        let asked_at = core.now();
        let body = if spoken.version >= REPLICA_ROUTES_SINCE {
            RequestBody::ReplicaRoutes { known }
        } else {
            RequestBody::Routes { known }
        };
        let asked = ask(&mut send, &mut recv, &mut frames, (id, body));
        let routes = match timeout(ROUTES_WAIT_MAX, asked).await {
            Ok(Ok(routes)) => routes,
            Ok(Err(end)) => return end,
            Err(_late) => return WatchEnd::Silent,
        };
        if let Err(error) = core.learn(cluster, &routes) {
            return error.into();
        }
        if routes.tag == known && core.now().saturating_sub(asked_at) < SAME_ROUTES_EVERY {
            tokio::time::sleep(backoff.next_wait(rand::random())).await;
        } else {
            backoff.reset();
        }
        known = routes.tag;
    }
}

async fn ask(
    send: &mut quinn::SendStream,
    recv: &mut quinn::RecvStream,
    frames: &mut FrameBuffer,
    (id, body): (u64, RequestBody<'_>),
) -> Result<ReplicaRoutes, WatchEnd> {
    let mut request = Vec::new();
    frame::encode(&(id, ROUTES_DEADLINE_MS, body), &mut request).map_err(|_| WatchEnd::Garbled)?;
    send.write_all(&request).await.map_err(|_| WatchEnd::Lost)?;
    loop {
        while let Some(body) = frames.take().map_err(|_| WatchEnd::Garbled)? {
            let response: Response = frame::decode(body).map_err(|_| WatchEnd::Garbled)?;
            match response.body {
                _ if response.id != id => {}
                ResponseBody::Routes(routes) => return Ok((*routes).into()),
                ResponseBody::ReplicaRoutes(routes) => return Ok(*routes),
                ResponseBody::Failed(error) => return Err(error.into()),
                ResponseBody::Decisions(_)
                | ResponseBody::Refunded { .. }
                | ResponseBody::Reserved { .. }
                | ResponseBody::Done => return Err(WatchEnd::Garbled),
            }
        }
        match recv.read_chunk(FRAME_BYTES_MAX, true).await {
            Ok(Some(chunk)) => frames.push(&chunk.bytes),
            Ok(None) | Err(_) => return Err(WatchEnd::Lost),
        }
    }
}
