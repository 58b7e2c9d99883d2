//! Many messages in flight to echo servers: each caller sends its next message, to a server at
//! random, when the last one has come back, as the callers of `ratelimitctl load` do. What is ready
//! at the same time travels in one write.

use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Barrier, LazyLock};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::echo::{self, BYTES, Line};
use crate::{now_ns, runtime};

/// Threads that send; as many as there are servers' threads on the machine that the README tells of.
const THREADS: usize = 2;

/// Pieces of a stream that are taken in one read.
const PIECES: usize = 32;

/// One thread each.
static SERVERS: LazyLock<[SocketAddr; 3]> = LazyLock::new(|| [(); 3].map(|()| echo::serve()));

/// Who sends to whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    clients: usize,
    /// Messages in flight of each client.
    callers: usize,
    /// Servers that each client has a connection to.
    servers: usize,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (servers, connections) = (self.servers, self.clients * self.servers);
        write!(f, "{servers} server(s), {connections} connections")
    }
}

/// What the tasks of one client share.
struct Shared {
    /// Messages to be sent to each server, and who is to be told of them.
    queued: Vec<(Cell<usize>, Notify)>,
    random: Cell<u64>,
    done: Cell<u64>,
}

impl Layout {
    /// One server, of two threads: each client is connected to one of them.
    pub(crate) const fn one_server(clients: usize, callers: usize) -> Self {
        Self {
            clients,
            callers,
            servers: 1,
        }
    }

    /// Three servers of one thread each.
    pub(crate) const fn three_servers(clients: usize, callers: usize) -> Self {
        Self {
            clients,
            callers,
            servers: 3,
        }
    }

    /// The servers of a client.
    fn servers_of(&self, client: usize) -> Vec<SocketAddr> {
        let first = if self.servers == 1 {
            client % THREADS
        } else {
            0
        };
        let servers = SERVERS.iter().skip(first).take(self.servers);
        servers.copied().collect()
    }

    /// How many messages come back in a second.
    pub(crate) fn messages_per_second(&self, time_ms: u64) -> u64 {
        let start = Arc::new(Barrier::new(THREADS));
        let threads: Vec<_> = (0..THREADS)
            .map(|n| {
                let (layout, start) = (*self, Arc::clone(&start));
                thread::spawn(move || layout.send(n, &start, time_ms))
            })
            .collect();
        let rates = threads.into_iter().map(|it| it.join().expect("a thread"));
        rates.sum()
    }

    /// The work of one thread: messages a second of its clients.
    fn send(self, thread: usize, start: &Barrier, time_ms: u64) -> u64 {
        let (runtime, local) = (runtime(), LocalSet::new());
        let clients = (thread..self.clients).step_by(THREADS);
        let connected = async {
            let mut connected = Vec::new();
            for client in clients {
                let mut lines = Vec::new();
                for server in self.servers_of(client) {
                    lines.push(echo::connect(server).await);
                }
                connected.push((client, lines));
            }
            connected
        };
        let connected = runtime.block_on(connected);
        start.wait();
        let began_ns = now_ns();
        let shared: Vec<_> = connected
            .into_iter()
            .map(|(client, lines)| self.start(&local, client, lines))
            .collect();
        let over = local.run_until(async {
            tokio::time::sleep(Duration::from_millis(time_ms)).await;
        });
        runtime.block_on(over);
        let done: u64 = shared.iter().map(|shared| shared.done.get()).sum();
        done * 1_000_000_000 / (now_ns() - began_ns).max(1)
    }

    fn start(&self, local: &LocalSet, client: usize, lines: Vec<Line>) -> Rc<Shared> {
        let queued = lines.iter().map(|_| (Cell::new(0), Notify::new()));
        let shared = Rc::new(Shared {
            queued: queued.collect(),
            random: Cell::new(u64::try_from(client).unwrap_or(0) + 1),
            done: Cell::new(0),
        });
        for (n, line) in lines.into_iter().enumerate() {
            let Line { send, receive, .. } = line;
            local.spawn_local(write(Rc::clone(&shared), n, send));
            local.spawn_local(read(Rc::clone(&shared), receive));
        }
        (0..self.callers).for_each(|_| shared.queue());
        shared
    }
}

impl Shared {
    /// A caller has its next message ready.
    fn queue(&self) {
        let mut random = self.random.get();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        self.random.set(random);
        let to = usize::try_from(random >> 33).unwrap_or(0) % self.queued.len();
        if let Some((count, told)) = self.queued.get(to) {
            count.set(count.get() + 1);
            told.notify_one();
        }
    }
}

async fn write(shared: Rc<Shared>, to: usize, mut send: SendStream) {
    let Some((count, told)) = shared.queued.get(to) else {
        return;
    };
    loop {
        told.notified().await;
        // Callers that are ready now, and would run next, come along.
        tokio::task::yield_now().await;
        let messages = vec![7; count.take() * BYTES];
        if send.write_all(&messages).await.is_err() {
            return;
        }
    }
}

async fn read(shared: Rc<Shared>, mut receive: RecvStream) {
    let mut pieces = [const { Bytes::new() }; PIECES];
    let mut bytes = 0;
    while let Ok(Some(count)) = receive.read_chunks(&mut pieces).await {
        bytes += pieces.iter().take(count).map(Bytes::len).sum::<usize>();
        while bytes >= BYTES {
            bytes -= BYTES;
            shared.done.set(shared.done.get() + 1);
            shared.queue();
        }
    }
}
