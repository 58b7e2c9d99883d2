//! Requests to another node as they travel: written once, however often they are sent.

use bytes::Bytes;

use super::batch::{ASK_BYTES_MAX, ASKS_BYTES_MAX, CHECK_VARIANT, PEEK_VARIANT};
use super::batch::{encode_ask, encode_checks};
use super::check::encode_body;
use super::error::CheckError;
use crate::protocol::client::{Ask, BATCH_MAX, RequestBody};

/// A request as it travels.
#[derive(Debug, Clone)]
pub(crate) struct PeerRequest {
    pub(super) body: Bytes,
    pub(super) checks: usize,
}

impl PeerRequest {
    /// Any request but checks and peeks.
    ///
    /// # Errors
    /// [`CheckError::Refused`], if it cannot be written.
    pub(crate) fn command(body: &RequestBody<'_>) -> Result<Self, CheckError> {
        Ok(Self {
            body: encode_body(body)?,
            checks: 1,
        })
    }

    /// The body as it travels.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }
}

/// Checks on their way into one request; each as it travels, so that they can be kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct EncodedAsks {
    bytes: Vec<u8>,
    count: usize,
}

impl EncodedAsks {
    /// Adds a check; false if it does not fit any more.
    pub(crate) fn push(&mut self, ask: &Ask<'_>) -> bool {
        let mut room = [0; ASK_BYTES_MAX];
        let Some(ask) = encode_ask(ask, &mut room) else {
            return false;
        };
        let bytes = self.bytes.len().saturating_add(ask.len());
        if self.count >= BATCH_MAX || bytes > ASKS_BYTES_MAX {
            return false;
        }
        self.bytes.extend_from_slice(ask);
        self.count = self.count.saturating_add(1);
        true
    }

    /// The checks, in order.
    pub(crate) fn asks(&self) -> Vec<Ask<'_>> {
        let mut rest = self.bytes.as_slice();
        let mut asks = Vec::with_capacity(self.count);
        while let Ok((ask, after)) = postcard::take_from_bytes(rest) {
            asks.push(ask);
            rest = after;
        }
        asks
    }

    /// The request that has them decided, or only looks.
    pub(crate) fn request(&self, looks: bool) -> PeerRequest {
        let variant = if looks { PEEK_VARIANT } else { CHECK_VARIANT };
        PeerRequest {
            body: encode_checks(variant, self.count, &self.bytes),
            checks: self.count.max(1),
        }
    }
}
