//! The life of a load: connect, begin all at once, watch, end, sum up.

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use distributed_rate_limiter::client::{Check, Client};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::command::Args;
use super::history::{History, Recorder, WriterGone};
use super::keys::Keys;
use super::progress::Progress;
use super::report::Report;
use super::tally::{Counters, Counts, Tally};
use super::worker::{Desk, Pace, Worker, now_ns};
use crate::nodes::{self, Nodes};
use crate::outcome::Failure;

/// One thread's share of the load.
struct Share<'a> {
    args: &'a Args,
    nodes: &'a Nodes,
    /// Its number among `count`.
    number: u64,
    count: u64,
    counters: Arc<Counters>,
    recorder: Option<Recorder>,
    /// Ends the load for all.
    end: &'a watch::Sender<()>,
    over: watch::Receiver<()>,
    /// Where all threads wait for each other, connected, before the first call.
    start: &'a Barrier,
}

/// Carries out a load.
pub(super) fn generate(args: &Args, nodes: &Nodes) -> Result<Report, Failure> {
    nodes::wait_for(probe(args, nodes))?;
    let control = new_runtime()?;
    let create = |path| History::create(path, &args.policy, args.cost);
    let history = args.history.as_deref().map(create).transpose();
    let history = history.map_err(Failure::usage)?;
    let outcome = drive(args, nodes, history.as_ref(), &control);
    // A history with holes is the graver fault.
    if let Some(history) = history {
        history.finish().map_err(Failure::internal)?;
    }
    outcome
}

/// Looks at one key, so that a wrong policy, cost or address is told before the load begins.
async fn probe(args: &Args, nodes: &Nodes) -> Result<(), Failure> {
    let client = nodes.client(args.deadline).await?;
    let check = Check::new(&args.policy, "key-0").cost(args.cost);
    client.peek_one(check).await?;
    Ok(())
}

fn drive(
    args: &Args,
    nodes: &Nodes,
    history: Option<&History>,
    control: &Runtime,
) -> Result<Report, Failure> {
    let signals = Signals::listen(control).map_err(Failure::internal)?;
    let count = args.threads();
    let counters: Vec<_> = (0..count).map(|_| Arc::new(Counters::default())).collect();
    let (end, over) = watch::channel(());
    let start = Barrier::new(counters.len() + 1);
    thread::scope(|scope| {
        let shares = counters.iter().zip(0..).map(|(counters, number)| Share {
            args,
            nodes,
            number,
            count,
            counters: Arc::clone(counters),
            recorder: history.map(History::recorder),
            end: &end,
            over: over.clone(),
            start: &start,
        });
        let threads: Vec<_> = shares.map(|share| scope.spawn(|| share.run())).collect();
        start.wait();
        let began_ns = now_ns();
        let watched = control.block_on(watch_over(args.duration, signals, &counters, over));
        end.send_replace(());
        let mut total = Tally::new().map_err(Failure::internal)?;
        for thread in threads {
            let tally = thread.join().unwrap_or_else(|_| Err(thread_failed()))?;
            total.add(&tally).map_err(Failure::internal)?;
        }
        watched.map_err(Failure::internal)?;
        let elapsed = Duration::from_nanos(now_ns() - began_ns);
        Ok(Report::new(Counts::of(&counters), &total, elapsed))
    })
}

/// The signals that end a load in order. Taken over before the first check is sent, so that none
/// of them ends the process with a history half-written.
struct Signals {
    interrupted: Signal,
    terminated: Signal,
}

impl Signals {
    fn listen(control: &Runtime) -> io::Result<Self> {
        let _inside = control.enter();
        Ok(Self {
            interrupted: signal(SignalKind::interrupt())?,
            terminated: signal(SignalKind::terminate())?,
        })
    }
}

/// Shows the progress until the time is over, a signal comes, or a thread ends the load.
async fn watch_over(
    duration: Duration,
    mut signals: Signals,
    counters: &[Arc<Counters>],
    mut over: watch::Receiver<()>,
) -> io::Result<()> {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    seconds.tick().await;
    let mut progress = Progress::new();
    let mut ends = pin!(sleep(duration));
    loop {
        // Each arm is cancel safe: they only wait.
        tokio::select! {
            _ = seconds.tick() => progress.second(Counts::of(counters)),
            () = &mut ends => break,
            _ = signals.interrupted.recv() => break,
            _ = signals.terminated.recv() => break,
            _ = over.changed() => break,
        }
    }
    progress.end();
    Ok(())
}

impl Share<'_> {
    fn run(self) -> Result<Tally, Failure> {
        let prepared = self.prepare();
        if prepared.is_err() {
            self.end.send_replace(());
        }
        // Whatever has happened here, the others wait.
        self.start.wait();
        let (runtime, clients) = prepared?;
        let local = LocalSet::new();
        local.block_on(&runtime, self.work(clients))
    }

    /// A runtime, and this share's connections on it.
    fn prepare(&self) -> Result<(Runtime, Vec<Client>), Failure> {
        let runtime = new_runtime()?;
        let connections = self.mine(self.args.connections()).count();
        let clients = runtime.block_on(async {
            let mut clients = Vec::with_capacity(connections);
            for _ in 0..connections {
                let builder = self.nodes.builder(self.args.deadline)?;
                let builder = builder.routing(self.args.route.into());
                let builder = builder.denial_cache(self.args.denial_cache);
                clients.push(builder.connect().await?);
            }
            Ok::<_, Failure>(clients)
        })?;
        Ok((runtime, clients))
    }

    /// This share's numbers of `total`.
    fn mine(&self, total: u64) -> impl Iterator<Item = u64> + use<> {
        let step = usize::try_from(self.count).unwrap_or(1);
        (self.number..total).step_by(step)
    }

    async fn work(mut self, clients: Vec<Client>) -> Result<Tally, Failure> {
        let desk = Rc::new(Desk {
            policy: self.args.policy.clone(),
            cost: self.args.cost,
            batch: self.args.batch(),
            counters: Arc::clone(&self.counters),
            tally: RefCell::new(Tally::new().map_err(Failure::internal)?),
            recorder: self.recorder.take().map(RefCell::new),
        });
        let mut calls = JoinSet::new();
        for (number, client) in self.mine(self.args.concurrency).zip(clients.iter().cycle()) {
            let worker = self.worker(number, client.clone(), Rc::clone(&desk));
            calls.spawn_local(worker.run());
        }
        while let Some(ended) = calls.join_next().await {
            if let Err(WriterGone) = ended.map_err(Failure::internal)? {
                self.end.send_replace(());
            }
        }
        drop(clients);
        nodes::say_goodbye().await;
        let desk = Rc::into_inner(desk).ok_or_else(thread_failed)?;
        if let Some(recorder) = desk.recorder
            && recorder.into_inner().take().send().await == Err(WriterGone)
        {
            // The history's end says why.
            self.end.send_replace(());
        }
        Ok(desk.tally.into_inner())
    }

    fn worker(&self, number: u64, client: Client, desk: Rc<Desk>) -> Worker {
        let args = self.args;
        let mut keys = Keys::new(args.dist, args.keys.get(), args.seed ^ (number << 32));
        let pace = args.step_ns().map(|step_ns| Pace {
            next_ns: now_ns() + keys.below(step_ns),
            step_ns,
        });
        Worker {
            desk,
            client,
            keys,
            pace,
            over: self.over.clone(),
        }
    }
}

fn new_runtime() -> Result<Runtime, Failure> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().build().map_err(Failure::internal)
}

fn thread_failed() -> Failure {
    Failure::internal(anyhow::anyhow!("a thread of the load has failed"))
}
