//! A bare `quinn` echo: a server that sends back whatever comes, and a stream to it.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, ServerConfig};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::runtime;

/// About as many as a check of one key takes, there and back.
pub(crate) const BYTES: usize = 32;

/// Pieces of a stream that are taken in one read.
const PIECES: usize = 32;

/// Both ends trust this certificate.
static TRUST: LazyLock<(CertificateDer<'static>, Vec<u8>)> = LazyLock::new(|| {
    let names = vec!["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    (made.cert.der().clone(), made.signing_key.serialize_der())
});

/// A stream to an echo server, and what keeps it open.
pub(crate) struct Line {
    _endpoint: Endpoint,
    _connection: Connection,
    pub(crate) send: SendStream,
    pub(crate) receive: RecvStream,
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn server_config() -> ServerConfig {
    let (certificate, key) = &*TRUST;
    let key = PrivatePkcs8KeyDer::from(key.clone());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .expect("a server's certificate");
    let tls = QuicServerConfig::try_from(tls).expect("QUIC's ciphers");
    ServerConfig::with_crypto(Arc::new(tls))
}

fn client_config() -> ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(TRUST.0.clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = QuicClientConfig::try_from(tls).expect("QUIC's ciphers");
    ClientConfig::new(Arc::new(tls))
}

/// Starts an echo server in a thread of its own, which lives as long as the process.
pub(crate) fn serve() -> SocketAddr {
    let (sender, address) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        runtime().block_on(async move {
            let endpoint = Endpoint::server(server_config(), loopback()).expect("a socket");
            let address = endpoint.local_addr().expect("an address");
            sender.send(address).expect("a listener");
            while let Some(incoming) = endpoint.accept().await {
                tokio::spawn(async move {
                    let connection = incoming.await.expect("a handshake");
                    while let Ok((send, receive)) = connection.accept_bi().await {
                        tokio::spawn(send_back(send, receive));
                    }
                });
            }
        });
    });
    address.recv().expect("the server's address")
}

/// Sends back what comes: all that is there in one write.
async fn send_back(mut send: SendStream, mut receive: RecvStream) {
    let mut pieces = [const { Bytes::new() }; PIECES];
    while let Ok(Some(count)) = receive.read_chunks(&mut pieces).await {
        let Some(pieces) = pieces.get_mut(..count) else {
            return;
        };
        if send.write_all_chunks(pieces).await.is_err() {
            return;
        }
    }
}

/// Opens a stream to an echo server, on a socket of its own.
pub(crate) async fn connect(address: SocketAddr) -> Line {
    let mut endpoint = Endpoint::client(loopback()).expect("a socket");
    endpoint.set_default_client_config(client_config());
    let connecting = endpoint.connect(address, "localhost").expect("a name");
    let connection = connecting.await.expect("a handshake");
    let (send, receive) = connection.open_bi().await.expect("a stream");
    Line {
        _endpoint: endpoint,
        _connection: connection,
        send,
        receive,
    }
}
