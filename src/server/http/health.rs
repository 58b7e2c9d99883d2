//! Whether the process lives, and whether it should be asked now.

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use super::edge::Edge;
use super::problem::{Failure, Problem};
use super::routes::{At, HEALTH, READY};
use crate::protocol::admin::{Ring, Status};
use crate::server::Service;

/// `GET /healthz`: 200 as long as there is an answer at all.
pub(super) async fn alive(request: Request) -> Result<Response, Failure> {
    HEALTH.admit(request.method())?;
    Ok(fine("{\"status\":\"alive\"}"))
}

/// `GET /readyz`: 200 if the node should be asked, 503 with the reasons if not.
pub(super) async fn ready<S: Service>(
    State(edge): At<S>,
    request: Request,
) -> Result<Response, Failure> {
    READY.admit(request.method())?;
    let reasons = edge.unready().await;
    if reasons.is_empty() {
        return Ok(fine("{\"status\":\"ready\"}"));
    }
    Err(Problem::NotReady.because(reasons.join("; ")))
}

impl<S: Service> Edge<S> {
    /// Why the node should not be asked now; nothing if it should.
    pub(super) async fn unready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.stopping.has_begun() {
            reasons.push("the node stops".to_owned());
        }
        let (status, ring) = self.look().await;
        reasons.extend(status.iter().flat_map(|status| of_status(status)));
        reasons.extend(of_ring(&ring));
        reasons
    }
}

fn of_status(status: &Status) -> Vec<String> {
    let mut reasons = Vec::new();
    if status.storage != "ok" {
        reasons.push(format!("the storage failed: {}", status.storage));
    }
    if !status.shut_out.is_empty() {
        reasons.push(format!("shut out of the cluster: {}", status.shut_out));
    }
    reasons
}

/// A node that gives its slots away should get no new work, though it answers.
fn of_ring(ring: &Ring) -> Option<String> {
    let own = ring.nodes.iter().find(|node| node.node == ring.node)?;
    match own.state.as_str() {
        state @ ("draining" | "left" | "removed") => Some(format!("the node is {state}")),
        _ => None,
    }
}

fn fine(body: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::admin::RingNode;

    #[test]
    fn a_node_is_ready_unless_something_says_otherwise() {
        let mut status = Status {
            storage: "ok".into(),
            ..Status::default()
        };
        assert!(of_status(&status).is_empty());
        status.storage = "disk full".into();
        status.shut_out = "removed".into();
        assert_eq!(of_status(&status).len(), 2);
        for (state, ready) in [("alive", true), ("draining", false), ("left", false)] {
            let node = RingNode {
                node: 7,
                state: state.into(),
                ..RingNode::default()
            };
            let ring = Ring {
                node: 7,
                nodes: vec![RingNode::default(), node],
                ..Ring::default()
            };
            assert_eq!(of_ring(&ring).is_none(), ready, "{state}");
        }
    }
}
