use super::*;
use crate::client::ResendLost;
use crate::protocol::client::{Request, RequestBody, Response, ResponseBody};
use crate::protocol::routes::Routes;
use crate::server::Carried;

/// A node that loses its first connection as soon as it was asked something, and then behaves;
/// it says how often each kind of request came.
struct Fickle {
    address: SocketAddr,
    seen: Arc<parking_lot::Mutex<Vec<&'static str>>>,
    serving: JoinHandle<()>,
}

impl Drop for Fickle {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Fickle {
    fn start(authority: &Authority, answer: Words) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), authority, answer)
    }

    fn start_at(address: SocketAddr, authority: &Authority, answer: Words) -> Self {
        let credentials = credentials(authority, Role::Node);
        let setup = ServerSetup::new(&credentials, ClientAuth::Required).unwrap();
        let socket = bind(address, 1).unwrap().remove(0);
        let address = socket.local_addr().unwrap();
        let endpoint = setup.endpoint(socket).unwrap();
        let seen = Arc::default();
        let serving = tokio::spawn(Self::serve(endpoint, answer, Arc::clone(&seen)));
        Self {
            address,
            seen,
            serving,
        }
    }

    async fn serve(
        endpoint: Endpoint,
        answer: Words,
        seen: Arc<parking_lot::Mutex<Vec<&'static str>>>,
    ) {
        for n in 0.. {
            let connection = endpoint.accept().await.unwrap().await.unwrap();
            let (mut send, mut receive, mut buffer) = greet(&connection).await;
            while let Ok(Some(piece)) = receive.read_chunk(1 << 16, true).await {
                buffer.push(&piece.bytes);
                let mut out = Vec::new();
                while let Some(frame) = buffer.take().unwrap() {
                    let request: Request<'_> = decode(frame).unwrap();
                    let (kind, body) = answer(&request.body);
                    seen.lock().push(kind);
                    let id = request.id;
                    encode(&Response { id, body }, &mut out).unwrap();
                }
                if n == 0 {
                    connection.close(0_u32.into(), b"");
                    break;
                }
                send.write_all(&out).await.unwrap();
            }
        }
    }
}

/// What a request is, and what it is answered.
type Words = fn(&RequestBody<'_>) -> (&'static str, ResponseBody);

/// Has no time for anything.
fn overloaded(_: &RequestBody<'_>) -> (&'static str, ResponseBody) {
    let error = WireError::Overloaded { retry_ms: 1 };
    ("check", ResponseBody::Failed(error))
}

fn answer(body: &RequestBody<'_>) -> (&'static str, ResponseBody) {
    match body {
        RequestBody::Check(asks) => {
            let each = asks
                .iter()
                .map(|ask| Ok(toy::decision(true, ask.target.key)));
            ("check", ResponseBody::Decisions(each.collect()))
        }
        _command => ("command", ResponseBody::Done),
    }
}

/// Node 1 of a cluster whose slot 50 belongs to a fickle node.
fn with_fickle(resend_lost: ResendLost, answer: Words) -> (Cluster, Fickle) {
    let waits = Waits {
        resend_lost,
        ..Waits::default()
    };
    let cluster = Cluster::start(1, waits);
    let fickle = Fickle::start(&cluster.authority, answer);
    let one = cluster.node(1);
    let address = fickle.address.to_string();
    one.forwarder.set_nodes(&[(NodeId(9), address)]);
    one.knows(50, 1, 9);
    (cluster, fickle)
}

#[tokio::test]
async fn a_lost_check_is_sent_once_more_at_most() {
    for (resend, expected, sent) in [
        (ResendLost::Once, granted("50:a", WireSource::Proxied), 2),
        (ResendLost::Never, degraded("50:a"), 1),
    ] {
        let (cluster, fickle) = with_fickle(resend, answer);
        let answers = cluster.node(1).decide(&["50:a"], LONG, Via::Caller).await;
        assert_eq!(answers, [expected]);
        assert_eq!(*fickle.seen.lock(), vec!["check"; sent]);
    }
}

#[tokio::test]
async fn an_owner_that_comes_back_is_waited_for_as_soon_as_it_is_known_to_live() {
    for owner_is_news in [false, true] {
        let cluster = Cluster::start(1, Waits::default());
        let one = cluster.node(1);
        let away = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = away.local_addr().unwrap();
        one.forwarder.set_nodes(&[(NodeId(9), address.to_string())]);
        one.knows(50, 1, 9);
        let answers = one.decide(&["50:a"], LONG, Via::Caller).await;
        assert_eq!(answers, [degraded("50:a")], "nobody answers there");
        drop(away);
        let _back = Fickle::start_at(address, &cluster.authority, answer);
        if owner_is_news {
            one.knows(50, 2, 9);
        } else {
            one.forwarder.reached(NodeId(9));
        }
        let answers = one.decide(&["50:a"], LONG, Via::Caller).await;
        assert_eq!(answers, [granted("50:a", WireSource::Proxied)]);
    }
}

#[tokio::test]
async fn after_a_loss_nobody_is_told_that_nothing_was_counted() {
    let (cluster, fickle) = with_fickle(ResendLost::Once, overloaded);
    let one = cluster.node(1);
    let answers = one.decide(&["50:a"], LONG, Via::Caller).await;
    assert_eq!(answers, [Err(WireError::AnswerLost)]);
    assert_eq!(fickle.seen.lock().len(), 2);
    // From then on nothing is lost, and the truth is told.
    let answers = one.decide(&["50:a"], LONG, Via::Caller).await;
    assert!(is_overloaded(&answers[0]), "{answers:?}");
}

#[tokio::test]
async fn a_lost_command_is_never_sent_again_and_its_caller_is_told() {
    let (cluster, fickle) = with_fickle(ResendLost::Once, answer);
    let refund = || RequestBody::Refund {
        target: ask("free", "50:a").target,
        at_ms: 1,
        cost: 1,
    };
    let one = cluster.node(1);
    let lost = one.carry_out(refund(), LONG, Via::Caller).await;
    assert_eq!(lost, ResponseBody::Failed(WireError::AnswerLost));
    assert_eq!(*fickle.seen.lock(), ["command"]);
    let done = one.carry_out(refund(), LONG, Via::Caller).await;
    assert_eq!(done, ResponseBody::Done, "the connection is made again");
}

#[tokio::test]
async fn a_dead_owner_costs_its_own_keys_until_their_deadline() {
    let cluster = Cluster::with_owners(2, Waits::default());
    let one = cluster.node(1);
    // Nobody answers at this address.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let two = cluster.node(2).peers.to_string();
    one.forwarder
        .set_nodes(&[(NodeId(9), address), (NodeId(2), two)]);
    one.knows(50, 1, 9);
    let short = Duration::from_millis(20);
    let dead = one.decide(&["50:a", "50:bb"], short, Via::Caller);
    let (dead, alive) = tokio::join!(dead, one.decide(&["20:c"], LONG, Via::Caller));
    assert_eq!(dead, [degraded("50:a"), degraded("50:bb")]);
    assert_eq!(alive, [granted("20:c", WireSource::Proxied)]);
    assert_eq!(one.forwarder.counts().degraded, 2);
}

#[tokio::test]
async fn an_owner_that_answers_too_late_is_as_good_as_dead() {
    let cluster = Cluster::with_owners(2, Waits::default());
    let one = cluster.node(1);
    // The connection is there, the answer is not.
    one.decide(&["20:a"], LONG, Via::Caller).await;
    let asks = [ask("held", "20:b")];
    let short = Duration::from_millis(20);
    let late = one.decide_all(&asks, Mode::Count, short, Via::Caller).await;
    assert_eq!(late, [degraded("20:b")]);
    let command = RequestBody::Reset {
        target: ask("free", "20:b").target,
    };
    // Behind the check, whose commit the owner's stream waits for.
    let answer = one.carry_out(command, short, Via::Caller).await;
    assert_eq!(answer, ResponseBody::Failed(WireError::AnswerLost));
    cluster.node(2).toy.release();
}

#[tokio::test]
async fn what_a_gone_owner_gave_away_meanwhile_is_asked_of_the_new_one() {
    let cluster = Cluster::with_owners(2, Waits::default());
    let one = cluster.node(1);
    let credentials = credentials(&cluster.authority, Role::Node);
    let setup = ServerSetup::new(&credentials, ClientAuth::Required).unwrap();
    let socket = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
    let gone = (NodeId(9), socket.local_addr().unwrap().to_string());
    let endpoint = setup.endpoint(socket).unwrap();
    let two = (NodeId(2), cluster.node(2).peers.to_string());
    one.forwarder.set_nodes(&[gone, two]);
    one.knows(22, 2, 9);
    let check = one.decide(&["22:a"], LONG, Via::Caller);
    let give_away = async {
        let newcomer = endpoint.accept().await.unwrap();
        one.knows(22, 3, 2);
        newcomer.refuse();
    };
    let (answers, ()) = tokio::join!(check, give_away);
    assert_eq!(answers, [granted("22:a", WireSource::Proxied)]);
    assert_eq!(cluster.node(2).toy.counted("22:a"), 1);
}

#[tokio::test]
async fn what_only_looks_does_not_wait_for_an_owner_whose_slot_was_taken_over() {
    for (mode, source, counted) in [
        (Mode::Look, WireSource::Owner, 0),
        (Mode::Count, WireSource::Proxied, 1),
    ] {
        let cluster = Cluster::with_owners(2, Waits::default());
        let (one, two) = (cluster.node(1), cluster.node(2));
        // It answers when it may.
        two.toy.chill("20:a");
        let asks = [ask("free", "20:a")];
        let asked = one.decide_all(&asks, mode, LONG, Via::Caller);
        let taken_over = async {
            one.knows(20, 2, 1);
            one.serve(20);
            if mode == Mode::Count {
                two.toy.let_read();
            }
        };
        let (answers, ()) = tokio::join!(asked, taken_over);
        assert_eq!(answers, [granted("20:a", source)]);
        let counts = [&one.toy, &two.toy].map(|toy| toy.counted("20:a"));
        assert_eq!(
            counts,
            [0, counted],
            "counted where it was sent, or nowhere"
        );
        if mode == Mode::Look {
            two.toy.let_read();
        }
    }
}

#[tokio::test]
async fn clients_are_told_replicas_if_they_ask_and_else_owners() {
    let cluster = Cluster::with_owners(2, Waits::default());
    let one = cluster.node(1);
    let asked = |body| match one.clustered.command(&body, LONG, Via::Caller) {
        Carried::Open(answer) => answer,
        Carried::Now(..) | Carried::Later(_) => panic!("routes hang"),
    };
    let owners = asked(RequestBody::Routes { known: 0 }).await;
    let all = asked(RequestBody::ReplicaRoutes { known: 0 }).await;
    let (ResponseBody::Routes(owners), ResponseBody::ReplicaRoutes(all)) = (owners, all) else {
        panic!("other answers");
    };
    assert_eq!(owners.runs[1], (10, 0));
    assert_eq!(all.sets[1][0], 0);
    assert_eq!(*owners, Routes::from(*all));
}
