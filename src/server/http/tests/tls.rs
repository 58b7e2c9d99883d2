//! The edge over TLS.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::connections::speak_http_2;
use super::metrics::{read, value};
use super::*;
use crate::transport::Role;
use crate::transport::certs::Authority;
use crate::transport::tls::web::{WebTls, WebTlsFiles};

/// A site with a certificate, and who issued it.
struct Secured {
    site: Site,
    authority: Authority,
    tls: Arc<WebTls>,
    dir: tempfile::TempDir,
}

/// Puts a certificate of `authority` where a site reads it.
fn put(authority: &Authority, dir: &std::path::Path) {
    let own = authority.issue(Role::Node, "own", &["localhost".into()]);
    let own = own.unwrap();
    std::fs::write(dir.join("own.pem"), own.cert_pem()).unwrap();
    std::fs::write(dir.join("own.key"), own.key_pem()).unwrap();
    std::fs::write(dir.join("ca.pem"), authority.cert_pem()).unwrap();
}

impl Secured {
    async fn start() -> Self {
        Self::with(HttpBounds::default(), false).await
    }

    async fn with(bounds: HttpBounds, asks_for_certificates: bool) -> Self {
        let dir = tempfile::TempDir::new().unwrap();
        let authority = Authority::create("web").unwrap();
        put(&authority, dir.path());
        let files = WebTlsFiles {
            cert: dir.path().join("own.pem"),
            key: dir.path().join("own.key"),
            client_ca: asks_for_certificates.then(|| dir.path().join("ca.pem")),
        };
        let tls = Arc::new(WebTls::load(files, &[b"h2", b"http/1.1"]).unwrap());
        let settings = HttpSettings {
            tls: Some(Arc::clone(&tls)),
            ..settings()
        };
        Self {
            site: Site::with(&settings, bounds).await,
            authority,
            tls,
            dir,
        }
    }

    /// Who trusts the site's authority, speaks this protocol, and has a certificate of `own`.
    fn trusting(&self, alpn: &[u8], own: Option<&Authority>) -> ClientConfig {
        trusting(&self.authority, alpn, own)
    }

    async fn open(&self, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        open(self.site.address, Arc::new(config)).await
    }

    /// A connection that speaks HTTP/1.1; asks again where the site's time for a handshake is short.
    async fn line(&self) -> Line {
        loop {
            if let Ok(stream) = self.open(self.trusting(b"http/1.1", None)).await {
                return Line::over(stream);
            }
        }
    }

    /// Waits until so many handshakes have failed.
    async fn failed(&self, count: f64) {
        loop {
            let page = self.line().await.ask(&plain("GET /metrics", &[])).await;
            let families = read(std::str::from_utf8(&page.body).unwrap());
            if value(&families, "ratelimit_http_handshakes_failed_total", &[]) >= count {
                return;
            }
        }
    }
}

fn trusting(authority: &Authority, alpn: &[u8], own: Option<&Authority>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.cert_pem().as_bytes()).unwrap();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = if let Some(own) = own {
        let own = own.issue(Role::Client, "me", &[]).unwrap();
        let cert = CertificateDer::from_pem_slice(own.cert_pem().as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(own.key_pem().as_bytes()).unwrap();
        builder.with_client_auth_cert(vec![cert], key).unwrap()
    } else {
        builder.with_no_client_auth()
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}

async fn open(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(config).connect(name, stream).await
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_over_tls() {
    let secured = Secured::start().await;
    let stream = secured.open(secured.trusting(b"http/1.1", None)).await;
    let stream = stream.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut line = Line::over(stream);
    for n in 1..=3 {
        let key = "k".repeat(n);
        let request = plain(&format!("GET /v1/check/free?key={key}"), &[]);
        assert_eq!(line.ask(&request).await.json()["limit"], n);
    }
    let stream = secured.open(secured.trusting(b"h2", None)).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    speak_http_2(&secured.site, Line::over(stream)).await;
    let neither = secured.open(secured.trusting(b"spdy/3", None)).await;
    assert!(neither.is_err(), "no other protocol is");
}

/// Connects gRPC over TLS.
#[derive(Clone)]
struct Dial(SocketAddr, Arc<ClientConfig>);

impl tower_service::Service<Uri> for Dial {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self(address, config) = self.clone();
        Box::pin(async move { open(address, config).await.map(TokioIo::new) })
    }
}

#[tokio::test]
async fn grpc_is_spoken_over_tls() {
    let secured = Secured::start().await;
    let dial = Dial(
        secured.site.address,
        Arc::new(secured.trusting(b"h2", None)),
    );
    let endpoint = Endpoint::from_static("http://localhost");
    let channel: Channel = endpoint.connect_with_connector(dial).await.unwrap();
    let request = HealthCheckRequest {
        service: String::new(),
    };
    let answer = HealthClient::new(channel).check(request).await.unwrap();
    let status = answer.into_inner().status();
    assert!(
        [ServingStatus::Serving, ServingStatus::NotServing].contains(&status),
        "{status:?}"
    );
}

#[tokio::test]
async fn who_speaks_in_the_clear_or_trusts_another_authority_gets_nothing_and_is_counted() {
    let secured = Secured::start().await;
    let mut clear = secured.site.connect().await;
    clear.say(plain("GET /healthz", &[]).as_bytes()).await;
    let told = clear.closed().await;
    assert!(!told.starts_with(b"HTTP"), "{told:?}");
    secured.failed(1.0).await;
    let other = Authority::create("other").unwrap();
    let refused = secured.open(trusting(&other, b"h2", None)).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("UnknownIssuer"), "{refused}");
    secured.failed(2.0).await;
}

#[tokio::test]
async fn only_holders_of_a_certificate_get_in_where_one_is_asked_for() {
    let secured = Secured::with(HttpBounds::default(), true).await;
    let other = Authority::create("other").unwrap();
    for (own, gets_in) in [
        (None, false),
        (Some(&other), false),
        (Some(&secured.authority), true),
    ] {
        let config = secured.trusting(b"http/1.1", own);
        // With TLS 1.3 the client has finished before the certificate it sent is judged.
        let answer = match secured.open(config).await {
            Ok(mut stream) => {
                let request = plain("GET /healthz", &[]);
                stream.write_all(request.as_bytes()).await.ok();
                Line::over(stream).reply(false).await
            }
            Err(_) => None,
        };
        assert_eq!(answer.is_some(), gets_in);
    }
}

#[tokio::test]
async fn a_slow_handshake_costs_its_own_connection_only() {
    let bounds = HttpBounds {
        handshake_timeout: Duration::from_millis(50),
        ..HttpBounds::default()
    };
    let secured = Secured::with(bounds, false).await;
    let silent = secured.site.connect().await;
    let mut half = secured.site.connect().await;
    // The beginning of a record of 512 bytes.
    half.say(&[22, 3, 1, 2, 0, 1]).await;
    let mut line = secured.line().await;
    assert_eq!(line.ask(&plain("GET /healthz", &[])).await.status, 200);
    for line in [silent, half] {
        assert_eq!(line.closed().await, b"");
    }
    // One that was there before goes on.
    assert_eq!(line.ask(&plain("GET /healthz", &[])).await.status, 200);
    secured.failed(2.0).await;
}

#[tokio::test]
async fn a_node_that_stops_waits_for_no_handshake() {
    let secured = Secured::start().await;
    let silent = secured.site.connect().await;
    let mut line = secured.line().await;
    assert_eq!(line.ask(&plain("GET /healthz", &[])).await.status, 200);
    secured.site.server.shutdown(LONG);
    assert_eq!(silent.closed().await, b"");
    assert_eq!(line.closed().await, b"");
    secured.site.running.await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_was_read_again_is_shown_to_those_who_come_later() {
    let secured = Secured::start().await;
    let mut before = secured.line().await;
    let newer = Authority::create("newer").unwrap();
    put(&newer, secured.dir.path());
    let known = secured.open(secured.trusting(b"http/1.1", None)).await;
    known.expect("nothing changes by itself");
    secured.tls.reload().unwrap();
    let refused = secured.open(secured.trusting(b"http/1.1", None)).await;
    refused.expect_err("the old authority's is gone");
    let now = secured.open(trusting(&newer, b"http/1.1", None)).await;
    let mut now = Line::over(now.unwrap());
    for line in [&mut before, &mut now] {
        assert_eq!(line.ask(&plain("GET /healthz", &[])).await.status, 200);
    }
}
