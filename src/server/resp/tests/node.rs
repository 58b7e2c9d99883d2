//! A real node behind the Redis protocol.

use super::*;
use crate::client::Role;
use crate::limiter::policy::{Limit, Policy, PolicySet};
use crate::testing::Server;

fn server(allow_request_limits: bool) -> Server {
    let mut set = PolicySet::default();
    let limit: Limit = "2/min".parse().unwrap();
    set.policies.insert("api".to_owned(), Policy::new(limit));
    set.allow_request_limits = allow_request_limits;
    let listen = "127.0.0.1:0".parse().unwrap();
    Server::start_with(&set, |options| options.resp = Some(listen)).unwrap()
}

async fn connect(server: &Server) -> TcpStream {
    let address = server.node().resp_address().unwrap();
    TcpStream::connect(address).await.unwrap()
}

/// Answers of five numbers, each in a line; what is told of times is checked to be `seconds` or less.
async fn numbers(stream: &mut TcpStream, said: &str, seconds: i64) -> Vec<String> {
    let answered = talk(stream, said.as_bytes()).await;
    let mut all = Vec::new();
    for answer in answered.split("*5\r\n").skip(1) {
        let numbers: Vec<i64> = answer
            .lines()
            .map(|line| line[1..].parse().unwrap())
            .collect();
        let [limited, limit, left, retry, reset] = numbers[..] else {
            panic!("{answered}");
        };
        assert!((1..=seconds).contains(&reset), "{answered}");
        let retry = if retry > 0 {
            assert!(retry <= seconds, "{answered}");
            "later"
        } else {
            assert_eq!(retry, -1, "{answered}");
            "-1"
        };
        all.push(format!("{limited} {limit} {left} {retry}"));
    }
    all
}

#[tokio::test]
async fn a_throttle_is_counted_as_redis_cell_answers() {
    let server = server(true);
    let mut stream = connect(&server).await;
    // Two in two minutes.
    let said = "CL.THROTTLE k 1 60 3600\r\n".repeat(3)
        + "CL.THROTTLE k 1 60 3600 3\r\nCL.THROTTLE other 1 60 3600 2\r\n";
    let answered = numbers(&mut stream, &said, 125).await;
    assert_eq!(
        answered,
        [
            "0 2 1 -1",
            "0 2 0 -1",
            "1 2 0 later",
            "1 2 0 -1",
            "0 2 0 -1"
        ]
    );
    let looked = numbers(&mut stream, "CL.THROTTLE k 1 60 3600 0\r\n", 125).await;
    assert_eq!(looked, ["0 2 0 -1"]);
    let by_name = numbers(&mut stream, &"RATELIMIT api k\r\n".repeat(3), 65).await;
    assert_eq!(by_name, ["0 2 1 -1", "0 2 0 -1", "1 2 0 later"]);
    let answered = talk(&mut stream, b"RATELIMIT api k 3\r\nRATELIMIT api \"\"\r\n").await;
    let words = answered.lines().map(|line| line.split(' ').next().unwrap());
    assert_eq!(words.collect::<Vec<_>>(), ["-COSTABOVELIMIT", "-BADKEY"]);
}

#[tokio::test]
async fn a_throttle_needs_request_limits_to_be_allowed() {
    let server = server(false);
    let mut stream = connect(&server).await;
    let answered = talk(&mut stream, b"CL.THROTTLE k 1 60 3600\r\n").await;
    assert!(answered.starts_with("-NOREQUESTLIMITS "), "{answered}");
    assert!(
        answered.contains("allow_request_limits in limits.toml"),
        "{answered}"
    );
}

#[tokio::test]
async fn keys_that_are_asked_for_most_are_told_to_an_admin() {
    let server = server(false);
    let mut stream = connect(&server).await;
    for n in 0..20 {
        let said = "RATELIMIT api hot\r\n".repeat(50) + &format!("RATELIMIT api cold-{n}\r\n");
        talk(&mut stream, said.as_bytes()).await;
    }
    let admin = server
        .client()
        .tls(server.credentials(Role::Admin).unwrap());
    let told = admin.connect_admin().await.unwrap().hot().await.unwrap();
    for list in [&told.asked, &told.denied] {
        let first = list.first().unwrap();
        assert_eq!((first.policy.as_str(), first.key.as_str()), ("api", "hot"));
        assert!((300..=3000).contains(&first.checks), "{first:?} of 1000");
    }
    assert!(told.asked[0].denied > 0);
    assert!(told.denied.iter().all(|line| !line.key.starts_with("cold")));
}
