//! Whom a client connects to, and what it is told when it cannot.

use super::toy::{Peer, Toy, credentials, welcome};
use crate::client::{Builder, Client, ConnectError};
use crate::protocol::error::WireError;
use crate::protocol::hello::{HelloAnswer, VERSIONS, Welcome};
use crate::transport::certs::Authority;
use crate::transport::tls::{ClientAuth, Credentials};
use crate::transport::{CloseCode, Role};

/// Connects while the node accepts whoever comes.
async fn connect(toy: &Toy, builder: Builder) -> ConnectError {
    let accept = async {
        let connection = toy.endpoint.accept().await.unwrap().await;
        if let Ok(connection) = connection {
            connection.closed().await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        outcome = builder.connect() => outcome.unwrap_err(),
        () = accept => unreachable!(),
    }
}

async fn answered(toy: &Toy, answer: HelloAnswer) -> Result<(Client, Peer), ConnectError> {
    let (client, peer) = tokio::join!(toy.client().connect(), toy.greet_with(answer));
    Ok((client?, peer))
}

#[tokio::test]
async fn versions_that_do_not_fit_are_named_on_both_sides() {
    let toy = Toy::start();
    let (oldest, newest) = (7, 9);
    let refused = Err(WireError::VersionMismatch { oldest, newest });
    let version = VERSIONS.1 + 1;
    let imposed = Ok(Welcome {
        version,
        ..welcome()
    });
    for (answer, expected) in [(refused, (7, 9)), (imposed, (version, version))] {
        let error = answered(&toy, answer).await.unwrap_err();
        match &error {
            ConnectError::VersionMismatch { node, client, .. } => {
                assert_eq!((*node, *client), (expected, VERSIONS));
            }
            other => panic!("{other:?}"),
        }
        assert!(error.to_string().contains("upgrade"), "{error}");
    }
}

#[tokio::test]
async fn a_node_that_turns_clients_away_says_why() {
    let toy = Toy::start();
    let error = answered(&toy, Err(WireError::Unavailable)).await;
    assert!(matches!(
        error.unwrap_err(),
        ConnectError::Refused {
            source: WireError::Unavailable,
            ..
        }
    ));
    let (error, ()) = tokio::join!(toy.client().connect(), toy.refuse());
    assert!(matches!(
        error.unwrap_err(),
        ConnectError::Refused {
            source: WireError::Overloaded { .. },
            ..
        }
    ));
    for (code, told) in [
        (CloseCode::RoleRefused, "role"),
        (CloseCode::ShuttingDown, "turned this client away"),
        (CloseCode::NoHello, "broke while it was made"),
    ] {
        let (error, ()) = tokio::join!(toy.client().connect(), async {
            toy.accept().await.close(code.number(), b"");
        });
        let error = error.unwrap_err().to_string();
        assert!(error.contains(told), "{code}: {error}");
    }
}

#[tokio::test]
async fn certificates_of_another_cluster_are_named_as_the_reason() {
    let toy = Toy::start();
    let stranger = Authority::create("another").unwrap();
    let error = connect(&toy, toy.client().tls(credentials(&stranger, Role::Client))).await;
    assert!(
        matches!(error, ConnectError::NodeNotTrusted { .. }),
        "{error:?}"
    );
    let anonymous = Credentials::anonymous(&toy.authority).unwrap();
    let error = connect(&toy, toy.client().tls(anonymous)).await;
    assert!(
        matches!(error, ConnectError::CertificateRefused { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_client_without_a_certificate_connects_where_that_is_allowed() {
    let toy = Toy::with_client_auth(ClientAuth::Optional);
    let anonymous = Credentials::anonymous(&toy.authority).unwrap();
    let (client, _peer) = toy.connected(toy.client().tls(anonymous)).await;
    assert!(client.is_connected());
}

#[tokio::test]
async fn what_is_missing_or_wrong_in_the_builder_is_told_before_anything_is_sent() {
    let tls = credentials(&Authority::create("test").unwrap(), Role::Client);
    let none: [&str; 0] = [];
    let error = Client::builder().seeds(none).tls(tls.clone());
    assert!(matches!(
        error.connect().await.unwrap_err(),
        ConnectError::NoSeeds
    ));
    let error = Client::builder().seeds(["127.0.0.1:1"]);
    assert!(matches!(
        error.connect().await.unwrap_err(),
        ConnectError::NoTls
    ));
    let error = Client::builder().seeds(["127.0.0.1:1", "host"]).tls(tls);
    assert!(matches!(
        error.connect().await.unwrap_err(),
        ConnectError::BadSeed { seed } if seed == "host"
    ));
}

#[tokio::test]
async fn rubbish_instead_of_a_welcome_is_told() {
    let toy = Toy::start();
    let rubbish = async {
        let connection = toy.accept().await;
        let (mut send, _recv) = connection.accept_bi().await.unwrap();
        send.write_all(&[4, 0, 0, 0, 9, 9, 9, 9]).await.unwrap();
        connection.closed().await;
    };
    let (error, ()) = tokio::join!(toy.client().connect(), rubbish);
    let error = error.unwrap_err();
    assert!(matches!(error, ConnectError::Garbled { .. }), "{error:?}");
}

#[tokio::test]
async fn a_seed_that_fails_does_not_keep_the_next_one_from_answering() {
    let (gone, toy) = (Toy::start(), Toy::start());
    let seeds = [
        gone.endpoint.local_addr().unwrap(),
        toy.endpoint.local_addr().unwrap(),
    ];
    let (client, _peer) = toy.connected(toy.client().seeds(seeds)).await;
    assert!(client.is_connected());
}

#[tokio::test]
async fn several_connections_and_streams_share_the_calls() {
    let toy = Toy::start();
    let builder = toy.client().connections(2).streams(2);
    let (client, first) = toy.connected(builder).await;
    let second = toy.greet().await;
    let mut served = Vec::new();
    for peer in [first, second] {
        let connection = peer.connection.clone();
        served.push(tokio::spawn(peer.grant_all()));
        served.push(tokio::spawn(async move {
            let Ok(stream) = connection.accept_bi().await else {
                return (0, 0);
            };
            Peer::of(connection, stream).grant_all().await
        }));
    }
    for _ in 0..40 {
        client.check("api", "user").await.unwrap();
    }
    drop(client);
    let mut checks = Vec::new();
    for stream in served {
        checks.push(stream.await.unwrap().1);
    }
    assert_eq!(checks.iter().sum::<usize>(), 40);
    assert!(checks.iter().all(|&checks| checks > 0), "{checks:?}");
}
