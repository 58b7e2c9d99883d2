//! The command line's door to a node: one connection, a stream a request.

use std::time::Duration;

use super::check::Check;
use super::client::target;
use super::dial::Session;
use super::error::CheckError;
use crate::protocol::admin::{
    AdminRequest, AdminResponse, HotKeys, Inspected, NodeCommand, Owner, PolicyFile, PolicyLine,
    Ring, Status,
};
use crate::protocol::client::{RequestBody, ResponseBody};
use crate::protocol::error::WireError;
use crate::protocol::frame::{ADMIN_ANSWER_BYTES_MAX, FrameBuffer, decode, encode_within};
use crate::protocol::replicas::SlotView;
use crate::types::{Decision, check_key};

/// Bytes of an answer's length before its body.
const LENGTH_BYTES: usize = 4;

/// Looks into one node, with an admin's certificate; see
/// [`Builder::connect_admin`](super::Builder::connect_admin).
///
/// Made for tools: it does not connect again, and each request is sent once. Each ends by the
/// builder's deadline.
///
/// ```no_run
/// use std::time::Duration;
/// use distributed_rate_limiter::client::{Client, Credentials, Role};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let admin = Client::builder()
///     .seeds(["limits-1.example:7400"])
///     .tls(Credentials::load("/etc/limits".as_ref(), Role::Admin)?)
///     .deadline(Duration::from_secs(5))
///     .connect_admin()
///     .await?;
/// println!("{} checks", admin.status().await?.checks);
/// for limit in admin.inspect("api", "user-7").await?.limits {
///     println!("{} buckets count", limit.buckets.len());
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Admin {
    session: Session,
    deadline: Duration,
}

impl Admin {
    pub(super) const fn new(session: Session, deadline: Duration) -> Self {
        Self { session, deadline }
    }

    /// The address of the node that answered.
    pub const fn address(&self) -> std::net::SocketAddr {
        self.session.address
    }

    /// What is counted of `key` under `policy`.
    ///
    /// # Errors
    /// [`CheckError`].
    pub async fn inspect(&self, policy: &str, key: &str) -> Result<Inspected, CheckError> {
        let request = AdminRequest::Inspect(target(policy, key)?);
        match self.ask(&request).await? {
            AdminResponse::Inspected(inspected) => Ok(inspected),
            other => Err(unexpected(other)),
        }
    }

    /// The node's policies, by name, those that requests brought along included.
    ///
    /// # Errors
    /// [`CheckError`].
    pub async fn policies(&self) -> Result<Vec<PolicyLine>, CheckError> {
        match self.ask(&AdminRequest::Policies).await? {
            AdminResponse::Policies(lines) => Ok(lines),
            other => Err(unexpected(other)),
        }
    }

    /// How the node is.
    ///
    /// # Errors
    /// [`CheckError`].
    pub async fn status(&self) -> Result<Status, CheckError> {
        match self.ask(&AdminRequest::Status).await? {
            AdminResponse::Status(status) => Ok(*status),
            other => Err(unexpected(other)),
        }
    }

    /// The keys that are asked for most at the node, of those that it decides for.
    ///
    /// # Errors
    /// [`CheckError`].
    pub async fn hot(&self) -> Result<HotKeys, CheckError> {
        match self.ask(&AdminRequest::Hot).await? {
            AdminResponse::Hot(hot) => Ok(*hot),
            other => Err(unexpected(other)),
        }
    }

    /// The cluster as the node sees it.
    ///
    /// # Errors
    /// [`CheckError`].
    pub async fn ring(&self) -> Result<Ring, CheckError> {
        match self.ask(&AdminRequest::Ring).await? {
            AdminResponse::Ring(ring) => Ok(*ring),
            other => Err(unexpected(other)),
        }
    }

    /// Who owns `key`, as the node knows it.
    ///
    /// # Errors
    /// [`CheckError`].
    pub async fn owner(&self, key: &str) -> Result<Owner, CheckError> {
        check_key(key)?;
        match self.ask(&AdminRequest::Owner(key)).await? {
            AdminResponse::Owner(owner) => Ok(owner),
            other => Err(unexpected(other)),
        }
    }

    /// What the node knows and holds of a slot, 0 to 4095.
    ///
    /// # Errors
    /// [`CheckError`].
    pub async fn slot(&self, slot: u16) -> Result<SlotView, CheckError> {
        match self.ask(&AdminRequest::Slot(slot)).await? {
            AdminResponse::Slot(view) => Ok(*view),
            other => Err(unexpected(other)),
        }
    }

    /// Changes a node's part in the cluster; returns when the node has accepted the command, which
    /// it then goes on to carry out (see [`Admin::ring`]).
    ///
    /// # Errors
    /// [`CheckError`]. After [`CheckError::maybe_counted`] it may have been accepted or not; asking
    /// again does no harm.
    ///
    /// ```no_run
    /// use distributed_rate_limiter::client::{Admin, NodeCommand};
    /// # async fn example(admin: Admin) -> Result<(), Box<dyn std::error::Error>> {
    /// admin.node(NodeCommand::Drain).await?;
    /// while admin.ring().await?.load.slots > 0 {
    ///     tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn node(&self, command: NodeCommand) -> Result<(), CheckError> {
        match self.ask(&AdminRequest::Node(command)).await? {
            AdminResponse::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// The policy set in force on the node, as text.
    ///
    /// # Errors
    /// [`CheckError`].
    pub async fn policy_file(&self) -> Result<PolicyFile, CheckError> {
        match self.ask(&AdminRequest::PolicyFile).await? {
            AdminResponse::PolicyFile(file) => Ok(file),
            other => Err(unexpected(other)),
        }
    }

    /// Puts the policies of this `limits.toml`, at most 1 MiB, in force on the whole cluster;
    /// returns the set when the node has it, and the other nodes follow.
    ///
    /// # Errors
    /// [`CheckError`]: [`Malformed`](WireError::Malformed) with all that is wrong in the text, and
    /// then nothing has changed. Applying the same text again does no harm.
    pub async fn policy_apply(&self, text: &str) -> Result<PolicyFile, CheckError> {
        match self.ask(&AdminRequest::PolicyApply(text)).await? {
            AdminResponse::Applied(file) => Ok(file),
            other => Err(unexpected(other)),
        }
    }

    /// Asks as a client does, and counts if it is granted.
    ///
    /// # Errors
    /// [`CheckError`].
    pub async fn check(&self, check: impl Into<Check<'_>>) -> Result<Decision, CheckError> {
        let check = check.into();
        let body = RequestBody::Check(vec![check.ask()?]);
        self.decide(body, check.asked()).await
    }

    /// Asks whether `check` would pass, and counts nothing.
    ///
    /// # Errors
    /// [`CheckError`].
    pub async fn peek(&self, check: impl Into<Check<'_>>) -> Result<Decision, CheckError> {
        let check = check.into();
        let body = RequestBody::Peek(vec![check.ask()?]);
        self.decide(body, check.asked()).await
    }

    /// Forgets all counts of `key` under `policy`.
    ///
    /// # Errors
    /// [`CheckError`].
    pub async fn reset(&self, policy: &str, key: &str) -> Result<(), CheckError> {
        let target = target(policy, key)?;
        match self.ask_as_client(RequestBody::Reset { target }).await? {
            ResponseBody::Done => Ok(()),
            other => Err(unfitting(other)),
        }
    }

    async fn decide(&self, body: RequestBody<'_>, cost: u64) -> Result<Decision, CheckError> {
        match self.ask_as_client(body).await? {
            ResponseBody::Decisions(mut answers) if answers.len() == 1 => match answers.pop() {
                Some(answer) => Ok(answer?.decision(cost)),
                None => Err(CheckError::UnexpectedAnswer),
            },
            other => Err(unfitting(other)),
        }
    }

    /// Any request that a client may send.
    async fn ask_as_client(&self, body: RequestBody<'_>) -> Result<ResponseBody, CheckError> {
        match self.ask(&AdminRequest::Client(body)).await? {
            AdminResponse::Client(body) => Ok(body),
            other => Err(unexpected(other)),
        }
    }

    async fn ask(&self, request: &AdminRequest<'_>) -> Result<AdminResponse, CheckError> {
        let mut frame = Vec::new();
        encode_within(ADMIN_ANSWER_BYTES_MAX, request, &mut frame).map_err(|error| {
            WireError::Malformed {
                reason: error.to_string(),
            }
        })?;
        match tokio::time::timeout(self.deadline, self.exchange(&frame)).await {
            Ok(answer) => answer,
            Err(_) => Err(CheckError::Timeout {
                after: self.deadline,
                maybe_counted: true,
            }),
        }
    }

    async fn exchange(&self, frame: &[u8]) -> Result<AdminResponse, CheckError> {
        let lost = |error: &dyn std::error::Error| {
            tracing::debug!(error = %error, address = %self.session.address, "request failed");
            CheckError::ConnectionLost
        };
        let (mut send, mut recv) = self
            .session
            .connection
            .open_bi()
            .await
            .map_err(|error| lost(&error))?;
        send.write_all(frame).await.map_err(|error| lost(&error))?;
        if let Err(error) = send.finish() {
            return Err(lost(&error));
        }
        let answer = recv
            .read_to_end(ADMIN_ANSWER_BYTES_MAX + LENGTH_BYTES)
            .await
            .map_err(|error| lost(&error))?;
        let mut frames = FrameBuffer::with_max(ADMIN_ANSWER_BYTES_MAX);
        frames.push(&answer);
        let body = frames.take().ok().flatten();
        body.and_then(|body| decode(body).ok())
            .ok_or(CheckError::UnexpectedAnswer)
    }
}

fn unexpected(response: AdminResponse) -> CheckError {
    match response {
        AdminResponse::Failed(error) => error.into(),
        AdminResponse::Client(body) => unfitting(body),
        AdminResponse::Inspected(_)
        | AdminResponse::Policies(_)
        | AdminResponse::Status(_)
        | AdminResponse::Ring(_)
        | AdminResponse::Owner(_)
        | AdminResponse::Done
        | AdminResponse::PolicyFile(_)
        | AdminResponse::Applied(_)
        | AdminResponse::Hot(_)
        | AdminResponse::Slot(_) => CheckError::UnexpectedAnswer,
    }
}

fn unfitting(body: ResponseBody) -> CheckError {
    match body {
        ResponseBody::Failed(error) => error.into(),
        ResponseBody::Decisions(_)
        | ResponseBody::Refunded { .. }
        | ResponseBody::Reserved { .. }
        | ResponseBody::Done
        | ResponseBody::Routes(_)
        | ResponseBody::ReplicaRoutes(_) => CheckError::UnexpectedAnswer,
    }
}
