//! One check at a time over QUIC on loopback, beside a bare `quinn` echo of as many bytes: what
//! the limiter adds to a round trip. `cargo bench --bench loopback`.
#![expect(clippy::expect_used, reason = "a failed set-up fails the benchmark")]

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use distributed_rate_limiter::limiter::policy::{Durability, Limit, Policy, PolicySet};
use distributed_rate_limiter::testing::Server;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, ServerConfig};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::runtime::{Builder, Runtime};

/// About as many as a check of one key takes, there and back.
const ECHO_BYTES: usize = 32;

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

/// An echo server in a thread of its own, and a stream to it.
fn echo(client: &Runtime) -> (Endpoint, Connection, SendStream, RecvStream) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let names = vec!["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .expect("a server's certificate");
    let trusting = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = QuicServerConfig::try_from(server).expect("QUIC's ciphers");
    let trusting = QuicClientConfig::try_from(trusting).expect("QUIC's ciphers");
    let loopback = "127.0.0.1:0".parse().expect("an address");

    let (sender, address) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        runtime().block_on(async move {
            let config = ServerConfig::with_crypto(Arc::new(server));
            let endpoint = Endpoint::server(config, loopback).expect("a socket");
            sender
                .send(endpoint.local_addr().expect("an address"))
                .expect("a listener");
            let incoming = endpoint.accept().await.expect("a connection");
            let connection = incoming.await.expect("a handshake");
            let (mut send, mut receive) = connection.accept_bi().await.expect("a stream");
            let mut bytes = [0; ECHO_BYTES];
            while receive.read_exact(&mut bytes).await.is_ok() {
                send.write_all(&bytes).await.expect("an echo");
            }
        });
    });
    let address = address.recv().expect("the server's address");
    client.block_on(async {
        let mut endpoint = Endpoint::client(loopback).expect("a socket");
        endpoint.set_default_client_config(ClientConfig::new(Arc::new(trusting)));
        let connecting = endpoint.connect(address, "localhost").expect("a name");
        let connection = connecting.await.expect("a handshake");
        let (send, receive) = connection.open_bi().await.expect("a stream");
        (endpoint, connection, send, receive)
    })
}

fn loopback(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one at a time");
    let client = runtime();
    let (_endpoint, _connection, mut send, mut receive) = echo(&client);
    group.bench_function("bare echo", |bench| {
        let mut bytes = [7; ECHO_BYTES];
        bench.iter(|| {
            client.block_on(async {
                send.write_all(&bytes).await.expect("sent");
                receive.read_exact(&mut bytes).await.expect("echoed");
            });
        });
    });
    let limit: Limit = "1000000000/min".parse().expect("a limit");
    for durability in [Durability::None, Durability::Process] {
        let policy = Policy {
            durability,
            ..Policy::new(limit)
        };
        let mut set = PolicySet::default();
        set.policies.insert("api".to_owned(), policy);
        let directory = tempfile::tempdir().expect("a directory");
        let server = Server::start_with(&set, |options| {
            options.data_dir = Some(directory.path().join("node"));
            options.create = true;
        });
        let server = server.expect("a server");
        let asking = runtime();
        let connected = asking.block_on(server.client().connections(1).connect());
        let connected = connected.expect("a connection");
        group.bench_function(format!("check, {}", durability.as_str()), |bench| {
            bench.iter(|| {
                let check = async { connected.check("api", "user-42").await };
                asking.block_on(check).expect("a decision")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, loopback);
criterion_main!(benches);
