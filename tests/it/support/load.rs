//! Clients that ask a node without pause, through all its deaths, and remember what was granted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use distributed_rate_limiter::Decision;
use distributed_rate_limiter::client::{Check, CheckError, Client};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinHandle;

use super::{Granted, now_ns};

/// A key under a policy.
pub(crate) type State = (&'static str, String);

/// What is asked, and how hard.
#[derive(Debug, Clone)]
pub(crate) struct Mix {
    /// Policies to ask under.
    pub(crate) policies: &'static [&'static str],
    /// Keys under each.
    pub(crate) keys: u32,
    /// So many of them are asked for half of the time; 0: all alike.
    pub(crate) hot: u32,
    /// Tasks that ask, each one frame at a time.
    pub(crate) tasks: u64,
    /// Longest pause of a task between two frames.
    pub(crate) pause: Duration,
}

/// The tasks that ask.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<Seen>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    answers: AtomicU64,
    stands: Mutex<BTreeMap<State, Stand>>,
}

/// How a key stands while the load goes on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stand {
    /// Permits that were granted.
    pub(crate) granted: u64,
    /// When it was decided last.
    pub(crate) decided_ns: u64,
    /// The longest that it was not decided, from one decision to the next.
    pub(crate) gap_ns: u64,
}

/// A check that got no decision, or one by nobody who knows the counts.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    pub(crate) sent_ns: u64,
    pub(crate) received_ns: u64,
    pub(crate) key: String,
    pub(crate) error: String,
}

/// What all tasks saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) granted: BTreeMap<State, Vec<Granted>>,
    pub(crate) denied: u64,
    pub(crate) failed: u64,
    /// The first of the failures of each task.
    pub(crate) failures: Vec<Failed>,
    /// The longest that a call took.
    pub(crate) slowest_ns: u64,
}

/// Failures that a task keeps.
const FAILURES_KEPT: usize = 10_000;

/// What is said of an answer by a node that does not know the counts.
pub(crate) const DEGRADED: &str = "Degraded";

impl Load {
    /// Starts to ask; must be called inside a runtime.
    pub(crate) fn start(client: &Client, mix: &Mix, seed: u64) -> Self {
        Self::start_with(std::slice::from_ref(client), mix, seed)
    }

    /// The same with several clients, which the tasks share.
    pub(crate) fn start_with(clients: &[Client], mix: &Mix, seed: u64) -> Self {
        let shared = Arc::new(Shared::default());
        let tasks = (0..mix.tasks).zip(clients.iter().cycle());
        let tasks = tasks.map(|(task, client)| {
            let asker = Asker {
                client: client.clone(),
                mix: mix.clone(),
                random: StdRng::seed_from_u64(seed ^ task),
                shared: Arc::clone(&shared),
                seen: Seen::default(),
            };
            tokio::spawn(asker.run())
        });
        let tasks = tasks.collect();
        Self { shared, tasks }
    }

    /// Decisions so far.
    pub(crate) fn answers(&self) -> u64 {
        self.shared.answers.load(Ordering::Relaxed)
    }

    /// How each key stands.
    pub(crate) fn stands(&self) -> BTreeMap<State, Stand> {
        self.shared.stands.lock().clone()
    }

    /// Ends all tasks; what they saw.
    pub(crate) async fn stop(self) -> Seen {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for task in self.tasks {
            let seen = task.await.unwrap();
            all.denied += seen.denied;
            all.failed += seen.failed;
            all.failures.extend(seen.failures);
            all.slowest_ns = all.slowest_ns.max(seen.slowest_ns);
            for (state, granted) in seen.granted {
                all.granted.entry(state).or_default().extend(granted);
            }
        }
        all
    }
}

impl Seen {
    /// All that was granted, of all keys.
    pub(crate) fn grants(&self) -> impl Iterator<Item = &Granted> {
        self.granted.values().flatten()
    }
}

struct Asker {
    client: Client,
    mix: Mix,
    random: StdRng,
    shared: Arc<Shared>,
    seen: Seen,
}

impl Asker {
    async fn run(mut self) -> Seen {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let asked: Vec<(State, u64)> = self.choose();
            let checks = asked
                .iter()
                .map(|((policy, key), cost)| Check::new(policy, key.as_str()).cost(*cost));
            let sent_ns = now_ns();
            let answers = self.client.check_many(checks).await;
            let received_ns = now_ns();
            let took_ns = received_ns - sent_ns;
            self.seen.slowest_ns = self.seen.slowest_ns.max(took_ns);
            for ((state, cost), answer) in asked.into_iter().zip(answers) {
                self.remember(
                    state,
                    Granted {
                        sent_ns,
                        received_ns,
                        cost,
                    },
                    &answer,
                );
            }
            let pause = self.mix.pause.mul_f64(self.random.random());
            tokio::time::sleep(pause).await;
        }
        self.seen
    }

    /// One to four checks, now and then of more than one permit.
    fn choose(&mut self) -> Vec<(State, u64)> {
        let checks = self.random.random_range(1..=4);
        let one = |_| {
            let policy = self.random.random_range(0..self.mix.policies.len());
            let hot = self.mix.hot > 0 && self.random.random_bool(0.5);
            let keys = if hot { self.mix.hot } else { self.mix.keys };
            let key = self.random.random_range(0..keys);
            let cost = if self.random.random_bool(0.1) { 3 } else { 1 };
            ((self.mix.policies[policy], format!("key-{key}")), cost)
        };
        (0..checks).map(one).collect()
    }

    fn remember(&mut self, state: State, call: Granted, answer: &Result<Decision, CheckError>) {
        match answer {
            Ok(decision) => {
                self.shared.answers.fetch_add(1, Ordering::Relaxed);
                if decision.is_degraded() {
                    self.fail(&state, call, DEGRADED.to_owned());
                } else {
                    let permits = if decision.allowed { call.cost } else { 0 };
                    self.shared.decided(&state, call.received_ns, permits);
                }
                if decision.allowed {
                    self.seen.granted.entry(state).or_default().push(call);
                } else {
                    self.seen.denied += 1;
                }
            }
            Err(error) => self.fail(&state, call, format!("{error:?}")),
        }
    }

    fn fail(&mut self, (_, key): &State, call: Granted, error: String) {
        self.seen.failed += 1;
        if self.seen.failures.len() < FAILURES_KEPT {
            self.seen.failures.push(Failed {
                sent_ns: call.sent_ns,
                received_ns: call.received_ns,
                key: key.clone(),
                error,
            });
        }
    }
}

impl Shared {
    fn decided(&self, state: &State, at_ns: u64, permits: u64) {
        let mut stands = self.stands.lock();
        let stand = match stands.get_mut(state) {
            Some(stand) => stand,
            None => stands.entry(state.clone()).or_default(),
        };
        if stand.decided_ns > 0 {
            let gap_ns = at_ns.saturating_sub(stand.decided_ns);
            stand.gap_ns = stand.gap_ns.max(gap_ns);
        }
        stand.decided_ns = stand.decided_ns.max(at_ns);
        stand.granted += permits;
    }
}
