//! The client: what can be asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::batch::{CHECK_VARIANT, PEEK_VARIANT};
use super::builder::Builder;
use super::call::CheckCall;
use super::check::Check;
use super::core::Core;
use super::error::CheckError;
use super::many::ask_all;
use super::reservation::ReserveCall;
use super::settings::{OnUnavailable, ResendLost, Settings};
use crate::limiter::policy::Limits;
use crate::protocol::client::{RequestBody, ResponseBody, Target};
use crate::types::{Decision, Grant};

/// Asks nodes for decisions, over a few long-lived connections that all clones share.
///
/// Cheap to clone. Calls that are ready at the same time travel in one frame, so thousands of
/// concurrent callers are welcome. Every call ends by its deadline, with a decision or with an
/// error that says whether a permit may have been counted. A lost connection is made again in the
/// background.
///
/// In a cluster the client learns from any seed which node owns which keys, and hears of every
/// change. It connects to a node when a key of that node is first asked, and asks owners directly;
/// while it has no connection to an owner, or the owner is silent, the replica that would take over
/// is asked, or another node, which passes the call on
/// ([`Source::Proxied`](crate::Source::Proxied)). A denial is remembered until it ends
/// ([`Builder::denial_cache`]).
///
/// ```no_run
/// use std::time::Duration;
/// use distributed_rate_limiter::client::{Client, OnUnavailable};
/// use distributed_rate_limiter::transport::{Role, tls::Credentials};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::builder()
///     .seeds(["limits-1.example:7400", "limits-2.example:7400"])
///     .tls(Credentials::load("/etc/limits".as_ref(), Role::Client)?)
///     .deadline(Duration::from_millis(100))
///     .on_unavailable(OnUnavailable::Allow)
///     .connect()
///     .await?;
/// let decision = client.check("api", "user-7").await?;
/// if !decision.allowed {
///     println!("come back in {:?}", decision.retry_after);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    settings: Settings,
}

/// What ends with the last clone.
#[derive(Debug)]
struct Shared {
    core: Arc<Core>,
    /// Ended when dropped.
    _tasks: JoinSet<()>,
}

impl Client {
    /// Begins to describe a client.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(super) fn new(core: Arc<Core>, tasks: JoinSet<()>, settings: Settings) -> Self {
        Self {
            shared: Arc::new(Shared {
                core,
                _tasks: tasks,
            }),
            settings,
        }
    }

    pub(super) fn core(&self) -> &Core {
        &self.shared.core
    }

    pub(super) const fn settings(&self) -> Settings {
        self.settings
    }

    /// A clone whose calls have another deadline.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        let mut clone = self.clone();
        clone.settings.deadline = deadline;
        clone
    }

    /// A clone whose calls are answered otherwise when nobody who knows the counts can be asked.
    #[must_use]
    pub fn with_on_unavailable(&self, on_unavailable: OnUnavailable) -> Self {
        let mut clone = self.clone();
        clone.settings.on_unavailable = on_unavailable;
        clone
    }

    /// A clone whose lost checks are sent again, or not.
    #[must_use]
    pub fn with_resend_lost(&self, resend_lost: ResendLost) -> Self {
        let mut clone = self.clone();
        clone.settings.resend_lost = resend_lost;
        clone
    }

    /// Whether there is a connection at this moment; for health checks, not to decide by.
    pub fn is_connected(&self) -> bool {
        self.core().is_connected()
    }

    /// Asks whether `key` may pass `policy`, and counts it if so.
    ///
    /// If the connection is lost on the way, it is sent once more ([`ResendLost`]): then the key may
    /// be charged twice, never let through too often. If the node that is asked turns out not to be
    /// the owner any more, nothing was counted, and it is sent once to the one that it names.
    ///
    /// # Errors
    /// When awaited, [`CheckError`]; unless [`OnUnavailable`] says otherwise.
    ///
    /// ```no_run
    /// # async fn example(client: distributed_rate_limiter::client::Client)
    /// # -> Result<(), distributed_rate_limiter::client::CheckError> {
    /// let decision = client.check("api", "user-7").await?;
    /// let upload = client.check("bytes", "user-7").cost(20_000).await?;
    /// println!("{} {}, {} left", decision.allowed, upload.allowed, upload.remaining);
    /// # Ok(()) }
    /// ```
    pub fn check<'a>(&'a self, policy: &'a str, key: &'a str) -> CheckCall<'a> {
        self.call(Check::new(policy, key))
    }

    fn call<'a>(&'a self, check: Check<'a>) -> CheckCall<'a> {
        CheckCall::new(&self.shared.core, self.settings, check)
    }

    /// Asks by limits that the request brings along, counted under `name`; nodes take them where
    /// `allow_request_limits` is set.
    ///
    /// # Errors
    /// When awaited, [`CheckError`]; unless [`OnUnavailable`] says otherwise.
    ///
    /// ```no_run
    /// use distributed_rate_limiter::client::Limit;
    /// # async fn example(client: distributed_rate_limiter::client::Client)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// let limit: Limit = "20/min".parse()?;
    /// let decision = client.check_with("login", limit, "user-7").await?;
    /// println!("{}", decision.allowed);
    /// # Ok(()) }
    /// ```
    pub fn check_with<'a>(
        &'a self,
        name: &'a str,
        limits: impl Into<Limits>,
        key: &'a str,
    ) -> CheckCall<'a> {
        self.call(Check::new(name, key).limits(limits))
    }

    /// Asks many checks in a few frames, each decided by itself; the answers stand in the same
    /// order. In a cluster all owners are asked at the same time. One deadline holds for all of them.
    ///
    /// ```no_run
    /// use distributed_rate_limiter::client::Check;
    /// # async fn example(client: distributed_rate_limiter::client::Client) {
    /// let answers = client
    ///     .check_many([
    ///         Check::new("api", "user-7"),
    ///         Check::new("bytes", "user-7").cost(20_000),
    ///     ])
    ///     .await;
    /// for answer in answers {
    ///     match answer {
    ///         Ok(decision) => println!("{}", decision.allowed),
    ///         Err(error) => println!("not decided: {error}"),
    ///     }
    /// }
    /// # }
    /// ```
    pub async fn check_many<'a>(
        &self,
        checks: impl IntoIterator<Item = impl Into<Check<'a>>>,
    ) -> Vec<Result<Decision, CheckError>> {
        let checks: Vec<Check<'a>> = checks.into_iter().map(Into::into).collect();
        ask_all(self.core(), self.settings, CHECK_VARIANT, &checks).await
    }

    /// Asks whether `key` would pass `policy`, and counts nothing. If the answer takes long, another
    /// node is asked too; see [`Hedging`](super::Hedging).
    ///
    /// # Errors
    /// [`CheckError`]; unless [`OnUnavailable`] says otherwise.
    ///
    /// ```no_run
    /// # async fn example(client: distributed_rate_limiter::client::Client)
    /// # -> Result<(), distributed_rate_limiter::client::CheckError> {
    /// println!("{} left", client.peek("api", "user-7").await?.remaining);
    /// # Ok(()) }
    /// ```
    pub async fn peek(&self, policy: &str, key: &str) -> Result<Decision, CheckError> {
        self.peek_one(Check::new(policy, key)).await
    }

    /// Asks whether `check` would pass, and counts nothing.
    ///
    /// # Errors
    /// [`CheckError`]; unless [`OnUnavailable`] says otherwise.
    pub async fn peek_one(&self, check: impl Into<Check<'_>>) -> Result<Decision, CheckError> {
        let checks = [check.into()];
        let mut answers = ask_all(self.core(), self.settings, PEEK_VARIANT, &checks).await;
        answers.pop().unwrap_or(Err(CheckError::UnexpectedAnswer))
    }

    /// Gives back what a check counted (its [`Decision::grant`]), if it still counts; returns how
    /// many permits were given back.
    ///
    /// Never sent twice: if it fails with [`CheckError::maybe_counted`], it may have been carried
    /// out or not, and must not be repeated.
    ///
    /// # Errors
    /// [`CheckError`].
    ///
    /// ```no_run
    /// # async fn example(client: distributed_rate_limiter::client::Client)
    /// # -> Result<(), distributed_rate_limiter::client::CheckError> {
    /// let decision = client.check("mails", "user-7").cost(3).await?;
    /// if let Some(grant) = decision.grant {
    ///     // Nothing was sent after all.
    ///     client.refund("mails", "user-7", grant).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn refund(&self, policy: &str, key: &str, grant: Grant) -> Result<u64, CheckError> {
        let body = RequestBody::Refund {
            target: target(policy, key)?,
            at_ms: grant.at.as_ms(),
            cost: grant.cost,
        };
        let core = self.core();
        let aim = core.aim_at(policy, key);
        let _given_back = core.giving_back(aim);
        match core.request(aim, &body, self.settings.deadline).await? {
            ResponseBody::Refunded { permits } => Ok(permits),
            ResponseBody::Decisions(_)
            | ResponseBody::Reserved { .. }
            | ResponseBody::Done
            | ResponseBody::Routes(_)
            | ResponseBody::ReplicaRoutes(_)
            | ResponseBody::Failed(_) => Err(CheckError::UnexpectedAnswer),
        }
    }

    /// Counts an estimate now, for work whose cost is known only afterwards.
    ///
    /// Never sent twice. Dropped without being settled, the estimate stays counted in full.
    ///
    /// # Errors
    /// When awaited, [`CheckError`]; unless [`OnUnavailable`] says otherwise, and then there is
    /// nothing to settle.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// # async fn example(client: distributed_rate_limiter::client::Client)
    /// # -> Result<(), distributed_rate_limiter::client::CheckError> {
    /// let reserved = client
    ///     .reserve("tokens", "user-7", 4_000)
    ///     .ttl(Duration::from_secs(120))
    ///     .await?;
    /// if let Some(reservation) = reserved.reservation {
    ///     let used = 1_234; // the work
    ///     reservation.settle(used).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub const fn reserve<'a>(
        &'a self,
        policy: &'a str,
        key: &'a str,
        estimate: u64,
    ) -> ReserveCall<'a> {
        ReserveCall::new(self, policy, key, estimate)
    }

    /// Forgets all counts of `key` under `policy`.
    ///
    /// # Errors
    /// [`CheckError`].
    ///
    /// ```no_run
    /// # async fn example(client: distributed_rate_limiter::client::Client)
    /// # -> Result<(), distributed_rate_limiter::client::CheckError> {
    /// client.reset("api", "user-7").await?;
    /// # Ok(()) }
    /// ```
    pub async fn reset(&self, policy: &str, key: &str) -> Result<(), CheckError> {
        let target = target(policy, key)?;
        self.give_back(policy, key, &RequestBody::Reset { target })
            .await
    }

    /// Asks what gives permits of this key back and is answered by `Done`.
    pub(super) async fn give_back(
        &self,
        policy: &str,
        key: &str,
        body: &RequestBody<'_>,
    ) -> Result<(), CheckError> {
        let core = self.core();
        let aim = core.aim_at(policy, key);
        let _given_back = core.giving_back(aim);
        match core.request(aim, body, self.settings.deadline).await? {
            ResponseBody::Done => Ok(()),
            ResponseBody::Decisions(_)
            | ResponseBody::Refunded { .. }
            | ResponseBody::Reserved { .. }
            | ResponseBody::Routes(_)
            | ResponseBody::ReplicaRoutes(_)
            | ResponseBody::Failed(_) => Err(CheckError::UnexpectedAnswer),
        }
    }
}

/// A key under a policy of the node's, if name and key can be ones.
pub(super) fn target<'a>(policy: &'a str, key: &'a str) -> Result<Target<'a>, CheckError> {
    Check::new(policy, key).target()
}
