//! The limiter in process, without a network: the same engine, called directly.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::engine::Engine;
use super::error::StartError;
use super::forward::Local;
use super::start::{Birth, EngineOptions};
use super::upkeep::{Checkpoints, UpkeepThread, write_checkpoint};
use crate::config::AfterPowerLoss;
use crate::limiter::policy::PolicySet;
use crate::protocol::client::{Ask, PolicyRef, RequestBody, ResponseBody, Target};
use crate::protocol::error::WireError;
use crate::server::{Mode, Wait};
use crate::types::{Decision, Grant};

/// How a [`Limiter`] is to run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LimiterOptions {
    /// The policies.
    pub policies: PolicySet,
    /// Where to keep counts; `None` (the default): in memory only, whatever the policies say.
    pub data_dir: Option<PathBuf>,
    /// Most keys in memory; default 10 million. Beyond it, keys that are on disk are evicted, and
    /// without a data directory new keys are answered [`WireError::Overloaded`].
    pub max_keys: u64,
    /// Most bytes of key states in memory; default 2 GiB.
    pub max_memory_bytes: u64,
    /// Longest time that a grant of durability `process` stays unsynced; default 1 s.
    pub sync_interval: Duration,
    /// How often changed states are written so that the journal can be dropped; default 5 s.
    pub checkpoint_interval: Duration,
    /// Bytes of commit records after which that is done at once; default 64 MiB.
    pub checkpoint_bytes: u64,
    /// What to do after a start that follows a possible power loss.
    pub after_power_loss: AfterPowerLoss,
}

impl LimiterOptions {
    /// A limiter of these policies that counts in memory.
    pub const fn in_memory(policies: PolicySet) -> Self {
        Self {
            policies,
            data_dir: None,
            max_keys: 10_000_000,
            max_memory_bytes: 2 << 30,
            sync_interval: Duration::from_secs(1),
            checkpoint_interval: Duration::from_secs(5),
            checkpoint_bytes: 64 << 20,
            after_power_loss: AfterPowerLoss::Accept,
        }
    }

    /// A limiter of these policies that keeps its counts in `data_dir`, which is made if it is
    /// missing or empty.
    pub fn at(data_dir: impl Into<PathBuf>, policies: PolicySet) -> Self {
        Self {
            data_dir: Some(data_dir.into()),
            ..Self::in_memory(policies)
        }
    }
}

/// Why the limiter did not decide. Unless the error says otherwise, nothing was counted.
pub type CheckError = WireError;

/// A limiter in this process: for tests, and for programs that are one process.
///
/// Cheap to clone; all clones are one limiter. Counts that are kept survive as the policy's
/// durability says. Call [`Limiter::close`] at the end; a limiter that is just dropped recovers
/// like after a crash.
///
/// ```
/// use distributed_rate_limiter::limiter::policy::{Limit, Policy, PolicySet};
/// use distributed_rate_limiter::node::{Limiter, LimiterOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut policies = PolicySet::default();
/// policies.policies.insert("api".into(), Policy::new("2/min".parse::<Limit>()?));
/// let limiter = Limiter::open(LimiterOptions::in_memory(policies))?;
///
/// assert!(limiter.check("api", "user-42", 1).await?.allowed);
/// assert!(limiter.check("api", "user-42", 1).await?.allowed);
/// let denied = limiter.check("api", "user-42", 1).await?;
/// assert!(!denied.allowed && denied.retry_after.as_secs() >= 59);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Limiter {
    engine: Arc<Engine>,
    upkeep: Arc<parking_lot::Mutex<UpkeepThread>>,
}

impl Limiter {
    /// Opens a limiter, with the counts that its data directory holds.
    ///
    /// # Errors
    /// [`StartError`], for example if another process uses the directory.
    pub fn open(options: LimiterOptions) -> Result<Self, StartError> {
        let engine = Engine::open(
            &EngineOptions {
                data_dir: options.data_dir,
                create: true,
                keys_max: options.max_keys,
                bytes_max: options.max_memory_bytes,
                sync_interval: options.sync_interval,
                max_clock_error: Some(Duration::from_secs(5)),
                after_power_loss: options.after_power_loss,
                in_flight_max: 0,
                birth: Birth::Alone,
            },
            &options.policies,
        )?;
        let checkpoints = Checkpoints {
            interval: options.checkpoint_interval,
            bytes: options.checkpoint_bytes,
        };
        let upkeep =
            UpkeepThread::start(Arc::clone(&engine), checkpoints).map_err(StartError::Thread)?;
        Ok(Self {
            engine,
            upkeep: Arc::new(parking_lot::Mutex::new(upkeep)),
        })
    }

    /// Decides a request of `cost` permits of `key` under `policy`, and counts it if it is granted.
    ///
    /// Resolves once the grant is kept as the policy's durability says. Dropped before that, the
    /// grant may stay counted.
    ///
    /// # Errors
    /// [`CheckError`]; after `StorageFailed` the grant may have been counted.
    pub async fn check(&self, policy: &str, key: &str, cost: u64) -> Result<Decision, CheckError> {
        let answer = self.engine.one(policy, key, cost);
        if let Some(wait) = answer.wait {
            self.kept(wait).await?;
        }
        Ok(answer.decision?.decision(cost))
    }

    /// Decides several requests, each by itself, as one batch: several times as fast as one by
    /// one. The answers are in the order of the requests.
    pub async fn check_many(
        &self,
        requests: &[(&str, &str, u64)],
    ) -> Vec<Result<Decision, CheckError>> {
        let asks: Vec<_> = requests
            .iter()
            .map(|(policy, key, cost)| ask(policy, key, *cost))
            .collect();
        let mut answers = Vec::with_capacity(asks.len());
        Local::decide_reading(&*self.engine, &asks, Mode::Count, &mut answers);
        let wait = answers
            .iter()
            .filter_map(|answer| answer.wait)
            .reduce(Wait::join);
        let kept = match wait {
            Some(wait) => self.kept(wait).await,
            None => Ok(()),
        };
        let decided = answers.into_iter().zip(requests);
        let decisions = decided.map(|(answer, (_, _, cost))| match (answer.wait, &kept) {
            (Some(_), Err(error)) => Err(error.clone()),
            (Some(_), Ok(())) | (None, _) => answer.decision.map(|known| known.decision(*cost)),
        });
        decisions.collect()
    }

    /// What a check would be answered, counting nothing.
    ///
    /// # Errors
    /// [`CheckError`].
    pub fn peek(&self, policy: &str, key: &str, cost: u64) -> Result<Decision, CheckError> {
        let mut answers = Vec::with_capacity(1);
        let asks = [ask(policy, key, cost)];
        Local::decide_reading(&*self.engine, &asks, Mode::Look, &mut answers);
        let answer = answers.pop().ok_or(CheckError::Unavailable)?;
        answer.decision.map(|decision| decision.decision(cost))
    }

    /// Gives back what a check counted, while it still counts; returns how many permits.
    ///
    /// # Errors
    /// [`CheckError`]; after `StorageFailed` it may have been given back.
    pub async fn refund(&self, policy: &str, key: &str, grant: Grant) -> Result<u64, CheckError> {
        let target = target(policy, key);
        let body = RequestBody::Refund {
            target,
            at_ms: grant.at.as_ms(),
            cost: grant.cost,
        };
        match self.command(body).await? {
            ResponseBody::Refunded { permits } => Ok(permits),
            _ => Err(CheckError::Unavailable),
        }
    }

    /// Forgets all counts of a key under a policy.
    ///
    /// # Errors
    /// [`CheckError`].
    pub async fn reset(&self, policy: &str, key: &str) -> Result<(), CheckError> {
        self.command(RequestBody::Reset {
            target: target(policy, key),
        })
        .await
        .map(drop)
    }

    /// Puts another set of policies in force. Counts stay with the names of the policies.
    ///
    /// # Errors
    /// [`StartError::Policies`]; the old set stays in force.
    pub fn set_policies(&self, policies: &PolicySet) -> Result<(), StartError> {
        self.engine.put_in_force(policies)
    }

    /// Commits and syncs all counts and closes the store. Checks fail from here on.
    ///
    /// # Errors
    /// [`CheckError::StorageFailed`]: what was granted last may not survive power loss.
    pub async fn close(self) -> Result<(), CheckError> {
        self.upkeep.lock().stop();
        self.engine.close().await
    }

    /// Waits until a change is kept. There are no other nodes, so nothing is lost on them.
    async fn kept(&self, wait: Wait) -> Result<(), CheckError> {
        Local::kept(&*self.engine, wait).await.map(drop)
    }

    async fn command(&self, body: RequestBody<'_>) -> Result<ResponseBody, CheckError> {
        // In process all slots are served here.
        let done = self.engine.carry_out_reading(&body);
        let (response, wait) = done.ok_or(CheckError::Unavailable)?;
        if let Some(wait) = wait {
            self.kept(wait).await?;
        }
        match response {
            ResponseBody::Failed(error) => Err(error),
            response => Ok(response),
        }
    }
}

impl Engine {
    /// Commits, checkpoints and syncs what there is, and marks the store as cleanly closed.
    pub(crate) async fn close(&self) -> Result<(), WireError> {
        let failed = |_| WireError::StorageFailed;
        if self.about.keeps {
            super::stamp::put(self).map_err(failed)?;
            self.committer.flush().await.map_err(failed)?;
            write_checkpoint(self).map_err(failed)?;
        }
        self.committer.close().await.map_err(failed)?;
        self.store
            .close()
            .map_err(|error| failed(self.fence.close(error)))
    }
}

const fn target<'a>(policy: &'a str, key: &'a str) -> Target<'a> {
    Target {
        policy: PolicyRef::Named(policy),
        key,
    }
}

const fn ask<'a>(policy: &'a str, key: &'a str, cost: u64) -> Ask<'a> {
    Ask {
        target: target(policy, key),
        cost,
    }
}
