//! Checks and commands whose states must be read from the store: on a thread for that, since to read
//! here would hold up all streams of the worker. Whoever asks waits for it as for another node.

use std::sync::Arc;
use std::time::Duration;

use super::batch::Batch;
use super::clustered::Clustered;
use super::local::Local;
use crate::client::peer_request::PeerRequest;
use crate::protocol::client::ResponseBody;
use crate::protocol::error::WireError;
use crate::protocol::frame;
use crate::server::{Answer, Wait};

/// When a caller whose turn to read did not come in time should come back.
const RETRY_MS: u32 = 50;

impl<L: Local> Clustered<L> {
    /// Decides a batch, reading what must be read. Returns the answers, and the places of those that
    /// are not served here.
    pub(super) async fn decide_reading(
        &self,
        batch: &Batch,
    ) -> Result<(Vec<Answer>, Vec<usize>), WireError> {
        let (local, left) = (Arc::clone(&self.local), batch.left());
        let batch = batch.clone();
        let decide = move || {
            let mut answers = Vec::with_capacity(batch.len());
            let late = local.decide_reading(&batch.asks(), batch.mode, &mut answers);
            (answers, late)
        };
        self.read(decide, left).await
    }

    /// Carries a command out, reading what must be read; `None` if its slot is not served here.
    pub(super) async fn carry_out_reading(
        &self,
        request: &PeerRequest,
        left: Duration,
    ) -> Result<Option<(ResponseBody, Option<Wait>)>, WireError> {
        let (local, request) = (Arc::clone(&self.local), request.clone());
        let carry_out = move || {
            let body = frame::decode(request.body()).ok()?;
            local.carry_out_reading(&body)
        };
        self.read(carry_out, left).await
    }

    /// Runs `work` on a thread that may block, when it is its turn.
    ///
    /// # Errors
    /// [`WireError::Overloaded`] if its turn did not come in time: nothing was done.
    /// [`WireError::AnswerLost`] if it was not done in time, and may be still.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
        left: Duration,
    ) -> Result<T, WireError> {
        let mut over = std::pin::pin!(tokio::time::sleep(left));
        let _turn = tokio::select! {
            // Both arms are cancel safe.
            Ok(turn) = self.reads.acquire() => turn,
            () = over.as_mut() => return Err(WireError::Overloaded { retry_ms: RETRY_MS }),
        };
        tokio::select! {
            // Work that has begun goes on by itself.
            done = tokio::task::spawn_blocking(work) => done.map_err(|_ended| WireError::AnswerLost),
            () = over => Err(WireError::AnswerLost),
        }
    }
}
