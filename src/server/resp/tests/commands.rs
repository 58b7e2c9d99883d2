//! What each command is answered, in the order asked, and that all checks of a read are one batch.

use super::*;

/// What is said, and what is answered to it.
const TALKS: &[(&str, &str)] = &[
    ("PING", "+PONG\r\n"),
    ("ping hi", "$2\r\nhi\r\n"),
    ("ECHO \"a b\"", "$3\r\na b\r\n"),
    ("", ""),
    ("SELECT 0", "+OK\r\n"),
    (
        "SELECT 1",
        "-ERR DB index is out of range; there is only 0\r\n",
    ),
    ("CLIENT SETINFO LIB-NAME redis-py", "+OK\r\n"),
    ("CLIENT GETNAME", "$-1\r\n"),
    ("CLIENT SETNAME me\r\nCLIENT GETNAME", "+OK\r\n$2\r\nme\r\n"),
    ("CLIENT KILL x", "-ERR syntax error in 'client'\r\n"),
    ("COMMAND COUNT", ":12\r\n"),
    (
        "COMMAND INFO echo nothing",
        "*1\r\n*10\r\n$4\r\necho\r\n:2\r\n*1\r\n+fast\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*0\r\n",
    ),
    (
        "COMMAND DOCS quit",
        "*2\r\n$4\r\nquit\r\n*6\r\n$7\r\nsummary\r\n$19\r\nEnds the connection\r\n$5\r\nsince\r\n$5\r\n0.1.0\r\n$5\r\ngroup\r\n$12\r\nrate limiter\r\n",
    ),
    (
        "AUTH x",
        "-ERR AUTH called without any password configured; none is needed\r\n",
    ),
    (
        "HELLO 4",
        "-NOPROTO unsupported protocol version; 2 and 3 are spoken\r\n",
    ),
    ("HELLO 3 WHAT", "-ERR syntax error in 'hello'\r\n"),
    ("RESET", "+RESET\r\n"),
    (
        "GET a",
        "-ERR unknown command 'GET'; COMMAND lists those there are\r\n",
    ),
    (
        "ECHO",
        "-ERR wrong number of arguments for 'echo' command\r\n",
    ),
    (
        "RATELIMIT free",
        "-ERR wrong number of arguments for 'ratelimit' command\r\n",
    ),
    (
        "RATELIMIT free k 1 2",
        "-ERR wrong number of arguments for 'ratelimit' command\r\n",
    ),
    (
        "RATELIMIT free k -1",
        "-ERR value is not an integer or out of range\r\n",
    ),
    (
        "RATELIMIT free \"\\xff\"",
        "-BADKEY a key or policy must be valid UTF-8\r\n",
    ),
    (
        "RATELIMIT free key 2",
        "*5\r\n:0\r\n:3\r\n:0\r\n:-1\r\n:0\r\n",
    ),
    ("RATELIMIT deny key", "*5\r\n:1\r\n:3\r\n:0\r\n:1\r\n:0\r\n"),
    (
        "RATELIMIT process key",
        "*5\r\n:0\r\n:3\r\n:0\r\n:-1\r\n:0\r\n",
    ),
    (
        "RATELIMIT gone key",
        "-NOPOLICY no policy is named `gone`; `ratelimitctl policies` lists them\r\n",
    ),
    (
        "RATELIMIT \"a\\r\\nb\" key",
        "-NOPOLICY no policy is named `a??b`; `ratelimitctl policies` lists them\r\n",
    ),
    (
        "CL.THROTTLE key 15 30",
        "-ERR wrong number of arguments for 'cl.throttle' command\r\n",
    ),
    (
        "CL.THROTTLE key 15 30 x",
        "-ERR value is not an integer or out of range\r\n",
    ),
    (
        "CL.THROTTLE key 15 0 60",
        "-ERR count_per_period and period must be at least 1\r\n",
    ),
    (
        "CL.THROTTLE key 15 30 60",
        "-BADLIMIT the limit carried under `throttle:15:30:60` cannot be used: a reason that is longer than the limit was\r\n",
    ),
];

#[tokio::test]
async fn commands_are_answered_as_clients_expect() {
    let edge = Edge::start(Bounds::default(), None).await;
    for (said, expected) in TALKS {
        let answered = edge.answers(format!("{said}\r\n").as_bytes()).await;
        assert_eq!(&answered, expected, "{said}");
    }
}

#[tokio::test]
async fn version_3_answers_by_names() {
    let edge = Edge::start(Bounds::default(), None).await;
    let answered = edge
        .answers(
            b"HELLO 3\r\nRATELIMIT deny key\r\nCLIENT GETNAME\r\nHELLO 2\r\nRATELIMIT deny k\r\n",
        )
        .await;
    let hello = "$6\r\nserver\r\n$10\r\nratelimitd\r\n$7\r\nversion\r\n$5\r\n0.1.0\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n\
        $4\r\nrole\r\n$6\r\nmaster\r\n";
    let end = "$2\r\nid\r\n:1\r\n$7\r\nmodules\r\n*0\r\n";
    let expected = format!(
        "%7\r\n{hello}$5\r\nproto\r\n:3\r\n{end}\
         %7\r\n+allowed\r\n#f\r\n+limit\r\n:3\r\n+remaining\r\n:0\r\n+retry_after_ms\r\n:0\r\n\
         +reset_after_ms\r\n:0\r\n+source\r\n+owner\r\n+shadow_denied\r\n#f\r\n_\r\n\
         *14\r\n{hello}$5\r\nproto\r\n:2\r\n{end}*5\r\n:1\r\n:1\r\n:0\r\n:1\r\n:0\r\n"
    );
    assert_eq!(answered, expected);
}

#[tokio::test]
async fn all_that_is_read_is_one_batch_answered_in_order() {
    let edge = Edge::start(Bounds::default(), None).await;
    let mut said = Vec::new();
    let mut expected = String::new();
    for n in 1..=100 {
        let key = "k".repeat(n);
        said.extend(command(&[
            "RATELIMIT",
            if n % 7 == 0 { "gone" } else { "free" },
            &key,
        ]));
        let answer = if n % 7 == 0 {
            "-NOPOLICY no policy is named `gone`; `ratelimitctl policies` lists them\r\n".to_owned()
        } else {
            format!("*5\r\n:0\r\n:{n}\r\n:0\r\n:-1\r\n:0\r\n")
        };
        expected.push_str(&answer);
        if n % 10 == 0 {
            said.extend(command(&["PING", &key]));
            expected.extend([format!("${n}\r\n"), key, "\r\n".to_owned()]);
        }
    }
    assert_eq!(edge.answers(&said).await, expected);
    let batches = edge.toy.batches.lock().clone();
    assert_eq!(batches.iter().sum::<usize>(), 100);
    assert!(batches.len() < 10, "{batches:?}");
}

#[tokio::test]
async fn a_round_holds_no_more_checks_than_may_wait() {
    let bounds = Bounds {
        in_flight_max: 3,
        ..Bounds::default()
    };
    let edge = Edge::start(bounds, None).await;
    let said = b"RATELIMIT free k\r\n".repeat(10);
    let answered = edge.answers(&said).await;
    assert_eq!(answered, "*5\r\n:0\r\n:1\r\n:0\r\n:-1\r\n:0\r\n".repeat(10));
    assert_eq!(*edge.toy.turned_away.lock(), 0);
    assert!(edge.toy.batches.lock().iter().all(|checks| *checks <= 3));
}

#[tokio::test]
async fn a_grant_is_told_when_it_is_kept_and_late_checks_hold_their_place() {
    let edge = Edge::start(Bounds::default(), None).await;
    edge.toy.keep(|kept| kept.committed = 0);
    let mut stream = edge.connect().await;
    stream
        .write_all(b"RATELIMIT late 22\r\nRATELIMIT process 333\r\n")
        .await
        .unwrap();
    edge.toy.decided(2).await;
    edge.toy.open("22");
    tokio::task::yield_now().await;
    assert!(stream.try_read(&mut [0; 1]).is_err(), "it is not kept yet");
    edge.toy.keep(|kept| kept.committed = 1);
    let answered = talk(&mut stream, b"").await;
    assert_eq!(
        answered,
        "*5\r\n:0\r\n:2\r\n:0\r\n:-1\r\n:0\r\n*5\r\n:0\r\n:3\r\n:0\r\n:-1\r\n:0\r\n"
    );
    edge.toy.keep(|kept| kept.failed = true);
    let failed = talk(&mut stream, b"RATELIMIT process 1\r\n").await;
    assert!(failed.starts_with("-STORAGEFAILED "), "{failed}");
}

#[tokio::test]
async fn nothing_is_told_without_the_password() {
    let edge = Edge::start(Bounds::default(), Some("open sesame")).await;
    let no_auth = "-NOAUTH Authentication required.\r\n";
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    for (said, expected) in [
        ("PING", no_auth.to_owned()),
        ("RATELIMIT free k", no_auth.to_owned()),
        ("HELLO 3", no_auth.to_owned()),
        ("AUTH open", format!("{wrong}{no_auth}")),
        ("AUTH \"open sesame \"", format!("{wrong}{no_auth}")),
        ("AUTH root \"open sesame\"", format!("{wrong}{no_auth}")),
        (
            "AUTH \"open sesame\"\r\nPING",
            "+OK\r\n+PONG\r\n".to_owned(),
        ),
        (
            "AUTH default \"open sesame\"\r\nPING",
            "+OK\r\n+PONG\r\n".to_owned(),
        ),
        (
            "AUTH \"open sesame\"\r\nRESET",
            format!("+OK\r\n+RESET\r\n{no_auth}"),
        ),
    ] {
        let mut answered = edge.answers(format!("{said}\r\n").as_bytes()).await;
        // Where the first refusal was read alone, that of the mark is still to come.
        if !expected.starts_with("+OK\r\n+PONG") && answered.matches("NOAUTH").count() > 1 {
            answered = answered.replacen(no_auth, "", 1);
        }
        let expected_alone = expected.replacen(no_auth, "", 1);
        assert!(
            answered == expected || answered == expected_alone + no_auth,
            "{said}: {answered}"
        );
    }
    assert!(edge.toy.batches.lock().is_empty(), "a check came through");
    let guesses = edge.answers(&b"AUTH x\r\n".repeat(20)).await;
    assert_eq!(guesses, format!("{}closed", wrong.repeat(8)));
}

#[tokio::test]
async fn quit_and_a_stop_end_a_connection_after_its_answers() {
    let edge = Edge::start(Bounds::default(), None).await;
    let answered = edge.answers(b"RATELIMIT free k\r\nQUIT\r\nPING\r\n").await;
    assert_eq!(
        answered,
        "*5\r\n:0\r\n:1\r\n:0\r\n:-1\r\n:0\r\n+OK\r\nclosed"
    );
    let mut stream = edge.connect().await;
    assert_eq!(talk(&mut stream, b"PING\r\n").await, "+PONG\r\n");
    edge.server.shutdown(LONG);
    edge.running.await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}
