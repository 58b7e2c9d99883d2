//! Workers: the threads that serve. Each has a runtime, which drives one of the node's sockets, the
//! connections that come there, and its share of the links to other nodes: so a commit reaches the
//! wire, and its acknowledgement whoever waits for it, without another thread in between.
//!
//! What one worker answers may wait for links that another one drives. So none ends before all have
//! served to the end.

use std::net::UdpSocket;
use std::sync::Arc;
use std::thread::JoinHandle;

use futures_util::future::{join, join_all};
use quinn::Endpoint;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};

use super::edges::{Edge, Serve};
use super::engine::Engine;
use super::error::StartError;
use super::forward::Clustered;
use crate::server::Server;
use crate::transport::endpoint::ServerSetup;

/// The server of a node.
type NodeServer = Arc<Server<Clustered<Engine>>>;

/// See the module. Dropped, those that do not serve end; of the others the server is to be shut down
/// before.
#[derive(Debug)]
pub(super) struct Workers {
    list: Vec<Worker>,
    /// How many serve.
    serving: Arc<watch::Sender<usize>>,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    /// Has it serve; taken when it does.
    begin: Option<oneshot::Sender<Work>>,
    thread: JoinHandle<()>,
}

/// What a worker is to serve.
struct Work {
    server: NodeServer,
    endpoint: Endpoint,
    edges: Vec<Serve<Clustered<Engine>>>,
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work")
            .field("endpoint", &self.endpoint)
            .field("edges", &self.edges.len())
            .finish_non_exhaustive()
    }
}

/// Counts a worker among those that serve, until dropped.
struct Serving(Arc<watch::Sender<usize>>);

impl Serving {
    fn begin(serving: &Arc<watch::Sender<usize>>) -> Self {
        serving.send_modify(|count| *count = count.saturating_add(1));
        Self(Arc::clone(serving))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl Workers {
    /// Starts so many; their runtimes are driven from here on, but nobody serves yet.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub(super) fn start(count: usize) -> std::io::Result<Self> {
        let mut workers = Self {
            list: Vec::with_capacity(count),
            serving: Arc::new(watch::Sender::new(0)),
        };
        for n in 0..count {
            let worker = Worker::start(n, Arc::clone(&workers.serving))?;
            workers.list.push(worker);
        }
        Ok(workers)
    }

    /// Where their tasks run.
    pub(super) fn runtimes(&self) -> Vec<Handle> {
        let runtimes = self.list.iter();
        runtimes.map(|worker| worker.runtime.clone()).collect()
    }

    /// Has each serve on a socket, and its part of the edges, until the server is shut down.
    ///
    /// # Errors
    /// [`StartError::Listen`]; some may serve then.
    pub(super) fn serve(
        &mut self,
        server: &NodeServer,
        sockets: Vec<UdpSocket>,
        setup: &ServerSetup,
        edges: &mut [Edge<Clustered<Engine>>],
    ) -> Result<(), StartError> {
        for (worker, socket) in self.list.iter_mut().zip(sockets) {
            let endpoint = {
                let _inside = worker.runtime.enter();
                setup.endpoint(socket).map_err(StartError::Listen)?
            };
            let begun = worker.begin.take();
            // It fails only if the thread has panicked, which is told when it is waited for.
            drop(begun.map(|begin| {
                begin.send(Work {
                    server: Arc::clone(server),
                    endpoint,
                    edges: edges.iter_mut().filter_map(Edge::next_worker).collect(),
                })
            }));
        }
        Ok(())
    }

    /// Waits until all have ended.
    pub(super) fn join(&mut self) {
        self.list.iter_mut().for_each(|worker| worker.begin = None);
        for worker in self.list.drain(..) {
            if worker.thread.join().is_err() {
                tracing::error!("a worker panicked; please report this");
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.join();
    }
}

impl Worker {
    fn start(n: usize, serving: Arc<watch::Sender<usize>>) -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (begin, begun) = oneshot::channel::<Work>();
        let work = async move {
            let Ok(work) = begun.await else {
                return;
            };
            let own = Serving::begin(&serving);
            let mut all = serving.subscribe();
            let server = &work.server;
            let edges = work.edges.into_iter();
            let edges = join_all(edges.map(|serve| serve(Arc::clone(server))));
            join(Arc::clone(server).run(work.endpoint), edges).await;
            server.service().leave();
            // The connections' own tasks tell the other nodes.
            tokio::task::yield_now().await;
            drop(own);
            // Fails only without a sender, of which this task holds one.
            drop(all.wait_for(|count| *count == 0).await);
        };
        let thread = std::thread::Builder::new().name(format!("worker-{n}"));
        let thread = thread.spawn(move || runtime.block_on(work))?;
        Ok(Self {
            runtime: handle,
            begin: Some(begin),
            thread,
        })
    }
}
