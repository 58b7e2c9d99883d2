//! What an edge of another protocol is answered, and how its connections end.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::protocol::client::ResponseBody;
use crate::protocol::error::WireError;
use crate::server::{Desk, Mode, Protocol, Stopping, serve_tcp};

const LONG: Duration = Duration::from_secs(3600);

fn desk(bounds: Bounds) -> (Arc<Toy>, Desk<Toy>) {
    let toy = Arc::new(Toy::default());
    let clock = || MonoTime::from_ns(0);
    let server = Server::new(Arc::clone(&toy), bounds, clock);
    (toy, Desk::new(server))
}

/// Polls once: what is not there yet is `None`.
async fn now<T>(future: impl Future<Output = T> + Unpin) -> Option<T> {
    tokio::select! {
        biased;
        done = future => Some(done),
        () = tokio::task::yield_now() => None,
    }
}

#[tokio::test]
async fn what_is_late_and_what_must_be_kept_is_waited_for() {
    let (toy, desk) = desk(Bounds::default());
    toy.keep(|kept| kept.committed = 0);
    let asks = [
        ask("deny", "1"),
        ask("late", "22"),
        ask("process", "333"),
        ask("unknown", "4"),
    ];
    let mut all = Box::pin(desk.decide(&asks, Mode::Count, LONG));
    assert_eq!(now(&mut all).await, None);
    toy.open("22");
    assert_eq!(now(&mut all).await, None, "the grant is not kept yet");
    toy.keep(|kept| kept.committed = 1);
    let answers = all.await;
    let limits: Vec<_> = answers
        .iter()
        .map(|it| it.as_ref().map_or(0, |decision| decision.limit))
        .collect();
    assert_eq!(limits, [1, 2, 3, 0]);
    assert!(matches!(answers[3], Err(WireError::UnknownPolicy { .. })));
    let peeked = desk.decide(&asks[2..3], Mode::Look, LONG).await;
    assert_eq!(peeked[0].as_ref().unwrap().limit, 3);
}

#[tokio::test]
async fn a_grant_that_is_not_kept_is_never_told() {
    let (toy, desk) = desk(Bounds::default());
    let asks = [ask("process", "k"), ask("free", "k")];
    toy.keep(|kept| kept.committed = 0);
    let late = desk
        .decide(&asks, Mode::Count, Duration::from_millis(5))
        .await;
    assert_eq!(late[0], Err(WireError::AnswerLost));
    assert!(late[1].is_ok());
    toy.keep(|kept| kept.failed = true);
    let failed = desk.decide(&asks, Mode::Count, LONG).await;
    assert_eq!(failed[0], Err(WireError::StorageFailed));
    toy.keep(|kept| (kept.failed, kept.committed) = (false, 1));
    toy.lost.lock().insert(1);
    let lost = desk.decide(&asks, Mode::Count, LONG).await;
    assert_eq!(lost[0], Err(WireError::AnswerLost));
    assert!(lost[1].is_ok());
}

#[tokio::test]
async fn too_much_at_once_is_turned_away_before_it_counts() {
    let (toy, desk) = desk(Bounds {
        in_flight_max: 1,
        ..Bounds::default()
    });
    let asks = [ask("free", "k"), ask("free", "k")];
    let answers = desk.decide(&asks, Mode::Count, LONG).await;
    for answer in answers {
        assert!(matches!(answer, Err(WireError::Overloaded { .. })));
    }
    assert!(toy.batches.lock().is_empty());
    assert_eq!(*toy.turned_away.lock(), 1);
}

#[tokio::test]
async fn commands_wait_as_checks_do() {
    let (toy, desk) = desk(Bounds::default());
    let reset = RequestBody::Reset {
        target: ask("free", "k").target,
    };
    assert_eq!(desk.command(&reset, LONG).await, ResponseBody::Done);
    toy.lost.lock().insert(0);
    let lost = ResponseBody::Failed(WireError::AnswerLost);
    assert_eq!(desk.command(&reset, LONG).await, lost);
    let cancel = RequestBody::Cancel {
        target: ask("free", "k").target,
        reservation: 1,
    };
    let mut later = Box::pin(desk.command(&cancel, LONG));
    assert_eq!(now(&mut later).await, None);
    toy.open("cancel");
    assert_eq!(later.await, ResponseBody::Done);
}

/// Says one letter back, until the node stops.
struct Letters;

impl Protocol<Toy> for Letters {
    const NAME: &'static str = "letters";

    async fn serve(self: Arc<Self>, mut stream: TcpStream, _desk: Desk<Toy>, stopping: Stopping) {
        let mut stop = std::pin::pin!(stopping.begun());
        let mut letter = [0; 1];
        loop {
            tokio::select! {
                () = stop.as_mut() => break,
                read = stream.read_exact(&mut letter) => {
                    if read.is_err() || stream.write_all(&letter).await.is_err() {
                        break;
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn tcp_connections_are_counted_bounded_and_ended() {
    let toy = Arc::new(Toy::default());
    let bounds = Bounds {
        connections_max: 1,
        ..Bounds::default()
    };
    let server = Server::new(Arc::clone(&toy), bounds, || MonoTime::from_ns(0));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let running = tokio::spawn(serve_tcp(Arc::clone(&server), listener, Arc::new(Letters)));
    let mut letter = [0; 1];
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(b"a").await.unwrap();
    first.read_exact(&mut letter).await.unwrap();
    assert_eq!(&letter, b"a");
    assert_eq!(*toy.connections.borrow(), 1);

    let mut second = TcpStream::connect(address).await.unwrap();
    assert!(second.read_exact(&mut letter).await.is_err());
    assert_eq!(*toy.turned_away.lock(), 1);

    server.shutdown(LONG);
    running.await.unwrap();
    assert!(first.read_exact(&mut letter).await.is_err());
    assert_eq!(*toy.connections.borrow(), 0);
}
