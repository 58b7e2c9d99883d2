//! The limiter of this node, as the forwarding sees it.

use std::future::Future;
use std::sync::Arc;

use crate::limiter::descriptors::DescriptorRules;
use crate::limiter::policy::Limits;
use crate::protocol::admin::{AdminRequest, AdminResponse};
use crate::protocol::client::{Ask, RequestBody, ResponseBody};
use crate::protocol::error::WireError;
use crate::protocol::hello::Welcome;
use crate::server::{Answer, Decided, Kept, Mode, Wait};
use crate::types::Slot;

/// Decides what this node serves, and says what it does not serve. Everything but [`Local::kept`],
/// [`Local::decide_reading`] and [`Local::carry_out_reading`] returns at once.
pub(crate) trait Local: Send + Sync + 'static {
    /// As [`crate::server::Service::welcome`].
    fn welcome(&self, version: u16) -> Welcome;

    /// The slot of a key.
    fn slot(&self, key: &str) -> Slot;

    /// Decides `asks` as one batch and appends one answer for each, in order. Returns the places, in
    /// order, of those whose slots are not served here, or whose states must be read from the store;
    /// nothing was counted for them, and their answers stand for nothing.
    fn decide(&self, asks: &[Ask<'_>], mode: Mode, answers: &mut Vec<Answer>) -> Vec<usize>;

    /// As [`Local::decide`], but what must be read from the store is read: only what is not served
    /// here is left. Blocks.
    fn decide_reading(&self, asks: &[Ask<'_>], mode: Mode, answers: &mut Vec<Answer>)
    -> Vec<usize>;

    /// Carries out any request but checks, peeks and routes (which it answers with `Malformed`);
    /// `None`, and nothing is done, if the key's slot is not served here, or its state must be read
    /// from the store.
    fn carry_out(&self, body: &RequestBody<'_>) -> Option<(ResponseBody, Option<Wait>)>;

    /// As [`Local::carry_out`], but what must be read from the store is read. Blocks.
    fn carry_out_reading(&self, body: &RequestBody<'_>) -> Option<(ResponseBody, Option<Wait>)>;

    /// What is answered when the owner cannot be reached: the policy's `on_failure`.
    fn without_owner(&self, ask: &Ask<'_>) -> Decided;

    /// As [`crate::server::Service::limits`].
    fn limits(&self, policy: &str, key: &str) -> Result<Limits, WireError>;

    /// As [`crate::server::Service::descriptors`].
    fn descriptors(&self) -> Arc<DescriptorRules>;

    /// As [`crate::server::Service::admin`].
    fn admin(&self, request: &AdminRequest<'_>) -> impl Future<Output = AdminResponse> + Send;

    /// As [`crate::server::Service::kept`].
    fn kept(&self, wait: Wait) -> impl Future<Output = Result<Kept, WireError>> + Send;

    /// As [`crate::server::Service::is_lost`].
    fn is_lost(&self, wait: Wait) -> bool;

    /// As [`crate::server::Service::connections_changed`].
    fn connections_changed(&self, open: usize);

    /// As [`crate::server::Service::turned_away`].
    fn turned_away(&self);
}
