//! HTTPS as another program meets it: `ratelimitd serve` with a certificate.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use distributed_rate_limiter::transport::Role;
use distributed_rate_limiter::transport::certs::Authority;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use crate::support::{Home, Node, field};

const POLICY: &str = "[policy.api]\nlimit = \"5/hour\"\n";

/// Has `dir` hold a new certificate of a new authority of this name.
fn put_certificate(dir: &Path, authority: &str) -> Authority {
    let authority = Authority::create(authority).unwrap();
    let own = authority.issue(Role::Node, "web", &["localhost".into()]);
    let own = own.unwrap();
    std::fs::write(dir.join("own.pem"), own.cert_pem()).unwrap();
    std::fs::write(dir.join("own.key"), own.key_pem()).unwrap();
    authority
}

/// A node that answers HTTPS by the files in `dir`, and where.
fn start(home: &Home, dir: &Path) -> (Node, SocketAddr) {
    let mut command = home.command(SocketAddr::from(([127, 0, 0, 1], 0)));
    command.args(["--http", "127.0.0.1:0", "--http-cert"]);
    command.arg(dir.join("own.pem")).arg("--http-key");
    command.arg(dir.join("own.key"));
    let node = Node::start(command);
    let line = node.log().line("serving HTTP").unwrap();
    let address = field(&line, "address").parse().unwrap();
    (node, address)
}

/// What is answered to a request over TLS by whoever `authority` vouches for.
fn ask(address: SocketAddr, authority: &Authority, path: &str) -> Result<String, String> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.cert_pem().as_bytes()).unwrap();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(session, TcpStream::connect(address).unwrap());
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let asked = stream.write_all(request.as_bytes());
    asked.map_err(|error| error.to_string())?;
    let mut told = String::new();
    stream
        .read_to_string(&mut told)
        .map_err(|e| e.to_string())?;
    Ok(told)
}

#[test]
fn checks_over_tls_are_decided_and_a_hangup_reads_the_certificate_again() {
    let home = Home::new(POLICY);
    let dir = TempDir::new().unwrap();
    let first = put_certificate(dir.path(), "first");
    let (mut node, address) = start(&home, dir.path());
    for (key, status) in [("a&cost=5", 200), ("a", 429), ("b", 200)] {
        let told = ask(address, &first, &format!("/v1/check/api?key={key}")).unwrap();
        let expected = format!("HTTP/1.1 {status} ");
        assert!(told.starts_with(&expected), "{told}");
    }
    // In the clear nothing is answered.
    let mut clear = TcpStream::connect(address).unwrap();
    clear.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").unwrap();
    let mut told = Vec::new();
    clear.read_to_end(&mut told).ok();
    assert!(!told.starts_with(b"HTTP"), "{told:?}");

    let second = put_certificate(dir.path(), "second");
    let mut said = node.log().len();
    node.signal("HUP");
    let line = node.log().line_after(said, "was read again");
    line.expect("the certificate is read again");
    let told = ask(address, &first, "/healthz").unwrap_err();
    assert!(told.contains("UnknownIssuer"), "{told}");
    assert!(ask(address, &second, "/healthz").unwrap().contains(" 200 "));

    std::fs::write(dir.path().join("own.key"), "none").unwrap();
    said = node.log().len();
    node.signal("HUP");
    let line = node.log().line_after(said, "stays the old one").unwrap();
    assert!(line.contains("there is no private key in"), "{line}");
    assert!(line.contains("own.key"), "{line}");
    assert!(ask(address, &second, "/healthz").unwrap().contains(" 200 "));
    node.stop();
}

#[test]
fn a_node_does_not_start_with_files_that_cannot_be_used_and_says_which() {
    let home = Home::new(POLICY);
    let dir = TempDir::new().unwrap();
    put_certificate(dir.path(), "web");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (cert, key, missing) = (path("own.pem"), path("own.key"), path("missing"));
    for (arguments, said) in [
        (
            &["--http-cert", &missing, "--http-key", &key][..],
            "missing; check that",
        ),
        (
            &["--http-cert", &key, "--http-key", &key],
            "no certificate in",
        ),
        (
            &["--http-cert", &cert, "--http-key", &cert],
            "no private key in",
        ),
        (&["--http-cert", &cert], "set `tls_key` too"),
        (&["--http-key", &key], "set `tls_cert` too"),
    ] {
        let mut command = home.command(SocketAddr::from(([127, 0, 0, 1], 0)));
        command.args(["--http", "127.0.0.1:0"]).args(arguments);
        let ended = command.output().unwrap();
        let told = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success(), "{told}");
        assert!(told.contains(said), "{arguments:?}: {told}");
    }
}
