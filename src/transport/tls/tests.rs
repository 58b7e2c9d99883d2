//! Who gets through a handshake, over real connections on loopback.
#![cfg(feature = "server")]

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, ServerConfig};

use super::{Alpn, ClientAuth, Credentials, Peer, certificate_name, client_tls, server_tls};
use crate::protocol::hello::{ALPN_ADMIN, ALPN_CLIENT, ALPN_PEER};
use crate::transport::certs::{Authority, Existing};
use crate::transport::endpoint::{ServerSetup, bind, client_config, client_endpoint};
use crate::transport::{CertError, Role};

fn credentials(authority: &Authority, role: Role) -> Credentials {
    let issued = authority.issue(role, "someone", &[]).unwrap();
    Credentials::issued(authority, &issued).unwrap()
}

/// A node, and a task that accepts whoever comes.
fn node(credentials: &Credentials, client_auth: ClientAuth) -> Endpoint {
    let socket = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
    let setup = ServerSetup::new(credentials, client_auth).unwrap();
    setup.endpoint(socket).unwrap()
}

/// Both ends of a connection, or what the client was told: a client learns only after its own
/// handshake that its certificate was refused.
async fn connect(
    node: &Endpoint,
    config: ClientConfig,
) -> Result<(Connection, Connection), String> {
    let client = client_endpoint(node.local_addr().unwrap()).unwrap();
    let connecting = client
        .connect_with(config, node.local_addr().unwrap(), "localhost")
        .unwrap();
    let theirs = async { node.accept().await.unwrap().await };
    let (theirs, ours) = tokio::join!(theirs, connecting);
    match (theirs, ours) {
        (Ok(theirs), Ok(ours)) => Ok((theirs, ours)),
        (Err(error), Ok(ours)) => Err(format!("{}; {error}", ours.closed().await)),
        (_, Err(error)) => Err(error.to_string()),
    }
}

#[tokio::test]
async fn each_alpn_admits_the_roles_it_is_for() {
    let authority = Authority::create("test").unwrap();
    let node = node(&credentials(&authority, Role::Node), ClientAuth::Optional);
    let cases = [
        (ALPN_CLIENT, None, true),
        (ALPN_CLIENT, Some(Role::Node), true),
        (ALPN_CLIENT, Some(Role::Client), true),
        (ALPN_CLIENT, Some(Role::Admin), true),
        (ALPN_ADMIN, None, false),
        (ALPN_ADMIN, Some(Role::Node), false),
        (ALPN_ADMIN, Some(Role::Client), false),
        (ALPN_ADMIN, Some(Role::Admin), true),
        (ALPN_PEER, None, false),
        (ALPN_PEER, Some(Role::Node), true),
        (ALPN_PEER, Some(Role::Client), false),
        (ALPN_PEER, Some(Role::Admin), false),
    ];
    for (alpn, role, expected) in cases {
        let credentials = match role {
            Some(role) => credentials(&authority, role),
            None => Credentials::anonymous(&authority).unwrap(),
        };
        let config = client_config(&credentials, alpn).unwrap();
        let (theirs, _ours) = connect(&node, config).await.unwrap();
        let (spoken, peer) = (Alpn::of(&theirs).unwrap(), Peer::of(&theirs));
        assert_eq!(peer, role.map_or(Peer::Anonymous, Peer::Known));
        assert_eq!(spoken.admits(peer), expected, "{spoken:?} {peer:?}");
        assert!(!spoken.admits(Peer::WithoutRole));
        let name = role.map(|_| "someone".to_owned());
        assert_eq!(certificate_name(&theirs), name);
    }
}

#[tokio::test]
async fn strangers_do_not_get_through_the_handshake() {
    let authority = Authority::create("test").unwrap();
    let stranger = Authority::create("test").unwrap();
    let node = node(&credentials(&authority, Role::Node), ClientAuth::Required);
    let client = credentials(&authority, Role::Client);
    let of_stranger = credentials(&stranger, Role::Client);
    let mixed = Credentials {
        roots: Arc::clone(&client.roots),
        identity: of_stranger.identity.clone(),
    };
    let cases = [
        (
            "without a certificate",
            Credentials::anonymous(&authority).unwrap(),
            ALPN_CLIENT,
        ),
        ("of another authority", mixed, ALPN_CLIENT),
        ("who trusts another authority", of_stranger, ALPN_CLIENT),
        ("with another protocol", client.clone(), b"h3".as_slice()),
    ];
    for (who, credentials, alpn) in cases {
        let config = client_config(&credentials, alpn).unwrap();
        let outcome = connect(&node, config).await;
        assert!(outcome.is_err(), "a client {who} got in");
    }
    let config = client_config(&client, ALPN_CLIENT).unwrap();
    assert!(connect(&node, config).await.is_ok());
}

#[tokio::test]
async fn a_client_talks_to_nodes_only() {
    let authority = Authority::create("test").unwrap();
    for role in Role::ALL {
        let own = credentials(&authority, role);
        let tls = server_tls(&own, ClientAuth::Optional);
        assert_eq!(tls.is_ok(), role == Role::Node);
    }
    // A certificate that may authenticate a server but names no node.
    let tls = {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let cert = params.self_signed(&key).unwrap();
        let mut own = credentials(&authority, Role::Node);
        let mut roots = rustls::RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = super::credentials::provider();
        let key = rustls::sign::CertifiedKey::from_der(vec![cert.der().clone()], key, &provider);
        own.identity.as_mut().unwrap().key = Arc::new(key.unwrap());
        let server = server_tls(&own, ClientAuth::Optional).unwrap();
        let mut client = Credentials::anonymous(&authority).unwrap();
        client.roots = Arc::new(roots);
        (server, client)
    };
    let server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls.0).unwrap()));
    let node = Endpoint::server(server, "127.0.0.1:0".parse().unwrap()).unwrap();
    let config = client_config(&tls.1, ALPN_CLIENT).unwrap();
    let error = connect(&node, config).await.unwrap_err();
    assert!(error.contains("NotANode"), "{error}");
}

/// Connects twice with a client that would send 0-RTT data if it could; whether it could.
async fn early_data_is_possible(server: rustls::ServerConfig, credentials: &Credentials) -> bool {
    let server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server).unwrap()));
    let node = Endpoint::server(server, "127.0.0.1:0".parse().unwrap()).unwrap();
    let mut eager = client_tls(credentials, ALPN_CLIENT).unwrap();
    eager.enable_early_data = true;
    eager.resumption = rustls::client::Resumption::in_memory_sessions(8);
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(eager).unwrap()));
    let (theirs, ours) = connect(&node, config.clone()).await.unwrap();
    // What is sent after the tickets arrives after them.
    let (mut send, _) = theirs.open_bi().await.unwrap();
    send.write_all(b"x").await.unwrap();
    let (_, mut receive) = ours.accept_bi().await.unwrap();
    receive.read_exact(&mut [0]).await.unwrap();
    let client = client_endpoint(node.local_addr().unwrap()).unwrap();
    let again = client.connect_with(config, node.local_addr().unwrap(), "localhost");
    again.unwrap().into_0rtt().is_ok()
}

#[tokio::test]
async fn early_data_is_off_on_both_ends() {
    let authority = Authority::create("test").unwrap();
    let client = credentials(&authority, Role::Client);
    let ours = server_tls(&credentials(&authority, Role::Node), ClientAuth::Required).unwrap();
    assert_eq!(ours.max_early_data_size, 0);
    assert!(!client_tls(&client, ALPN_CLIENT).unwrap().enable_early_data);

    // An eager client can send it to a server that allows it, but not to ours.
    let mut permissive = ours.clone();
    permissive.max_early_data_size = u32::MAX;
    permissive.send_tls13_tickets = 2;
    permissive.session_storage = rustls::server::ServerSessionMemoryCache::new(8);
    assert!(early_data_is_possible(permissive, &client).await);
    assert!(!early_data_is_possible(ours, &client).await);
}

#[tokio::test]
async fn several_endpoints_share_a_port_that_another_process_cannot_take() {
    let address = "127.0.0.1:0".parse().unwrap();
    let sockets = bind(address, 3).unwrap();
    let address = sockets[0].local_addr().unwrap();
    assert!(sockets.iter().all(|s| s.local_addr().unwrap() == address));
    for count in [1, 2] {
        let error = bind(address, count).unwrap_err();
        let told = error.to_string();
        assert!(told.contains(&address.to_string()), "{told}");
        assert!(told.contains("another process uses it"), "{told}");
    }
}

#[test]
fn credentials_are_read_from_the_files_that_certs_writes() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("made/on/the/way");
    Authority::create("test")
        .unwrap()
        .save(&dir, Existing::Refuse)
        .unwrap();
    let authority = Authority::load(&dir).unwrap();
    for role in Role::ALL {
        let error = Credentials::load(&dir, role).unwrap_err();
        assert!(matches!(error, CertError::Missing { .. }), "{error}");
        assert!(
            error.to_string().contains(&format!("certs {role}")),
            "{error}"
        );

        let issued = authority
            .issue(role, "me", &["example.org".to_owned()])
            .unwrap();
        let paths = issued.save(&dir, Existing::Refuse).unwrap();
        assert_eq!(Credentials::load(&dir, role).unwrap().role(), Some(role));

        let error = issued.save(&dir, Existing::Refuse).unwrap_err();
        assert!(matches!(error, CertError::Exists { .. }), "{error}");
        issued.save(&dir, Existing::Replace).unwrap();
        #[cfg(unix)]
        for path in paths {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            if path.extension().unwrap() == "key" {
                assert_eq!(mode, 0o600, "{}", path.display());
            }
        }
    }
    assert_eq!(Credentials::load_anonymous(&dir).unwrap().role(), None);
}

#[test]
fn what_cannot_be_used_names_its_file() {
    type Spoil = fn(&std::path::Path, &Authority);
    let cases: &[(&str, &str, Spoil)] = &[
        ("node.pem", "does not exist", |dir, _| {
            std::fs::remove_file(dir.join("node.pem")).unwrap();
        }),
        ("node.key", "does not exist", |dir, _| {
            std::fs::remove_file(dir.join("node.key")).unwrap();
        }),
        ("node.pem", "no usable certificate", |dir, _| {
            std::fs::write(dir.join("node.pem"), "not PEM").unwrap();
        }),
        ("node.key", "no usable private key", |dir, _| {
            std::fs::write(dir.join("node.key"), b"\xff").unwrap();
        }),
        ("ca.pem", "no usable certificate", |dir, _| {
            std::fs::write(dir.join("ca.pem"), "").unwrap();
        }),
        ("node.pem", "not signed by", |dir, _| {
            let other = Authority::create("test").unwrap();
            let issued = other.issue(Role::Node, "n", &[]).unwrap();
            issued.save(dir, Existing::Replace).unwrap();
        }),
        (
            "node.pem",
            "does not belong to the private key",
            |dir, authority| {
                let issued = authority.issue(Role::Node, "n", &[]).unwrap();
                std::fs::write(dir.join("node.key"), issued.key_pem()).unwrap();
            },
        ),
        ("node.pem", "role `node`", |dir, authority| {
            let issued = authority.issue(Role::Client, "n", &[]).unwrap();
            std::fs::write(dir.join("node.pem"), issued.cert_pem()).unwrap();
        }),
        ("node.pem", "has expired", |dir, authority| {
            let made = Duration::from_secs(1_000_000_000);
            let issued = authority.issue_at(made, Role::Node, "n", &[]).unwrap();
            issued.save(dir, Existing::Replace).unwrap();
        }),
        ("node.pem", "not valid yet", |dir, authority| {
            let made = Duration::from_secs(4_000_000_000);
            let issued = authority.issue_at(made, Role::Node, "n", &[]).unwrap();
            issued.save(dir, Existing::Replace).unwrap();
        }),
    ];
    for (file, told, spoil) in cases {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create("test").unwrap();
        authority.save(dir.path(), Existing::Refuse).unwrap();
        let issued = authority.issue(Role::Node, "n", &[]).unwrap();
        issued.save(dir.path(), Existing::Refuse).unwrap();
        spoil(dir.path(), &authority);
        let error = Credentials::load(dir.path(), Role::Node).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(told) && text.contains(file), "{told}: {text}");
    }
}
