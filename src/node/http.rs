//! The HTTP edge of a node: its settings, its token, its TLS, and what the engine tells its metrics.

use std::net::SocketAddr;
use std::sync::Arc;

use super::edges::Edge;
use super::engine::Engine;
use super::error::StartError;
use super::forward::Clustered;
use crate::config::{BearerToken, HttpConfig, NotAToken};
use crate::server::{CommitFigures, Figures, Http, HttpSettings, NodeFigures};
use crate::transport::tls::web::{WebTls, WebTlsFiles};

/// Most bytes of a token's file that are read.
const TOKEN_FILE_BYTES_MAX: u64 = 4096;

/// What is spoken over TLS, best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Where HTTP is answered.
#[derive(Debug)]
pub(super) struct HttpDoor {
    pub(super) address: SocketAddr,
    pub(super) tls: Option<Arc<WebTls>>,
}

/// One file of TLS was named without the others that it needs.
#[derive(Debug, thiserror::Error)]
#[error("`{given}` was set without `{missing}`; set both, or neither for HTTP in the clear")]
struct HalfTls {
    given: &'static str,
    missing: &'static str,
}

/// What `config` says that HTTP is encrypted with, if it is answered at all.
pub(super) fn tls(config: &HttpConfig) -> Result<Option<Arc<WebTls>>, StartError> {
    if config.listen.is_none() {
        return Ok(None);
    }
    let half = |given, missing| Err(StartError::Http(HalfTls { given, missing }.into()));
    match (&config.tls_cert, &config.tls_key, &config.tls_client_ca) {
        (Some(cert), Some(key), client_ca) => {
            let files = WebTlsFiles {
                cert: cert.clone(),
                key: key.clone(),
                client_ca: client_ca.clone(),
            };
            let loaded = WebTls::load(files, &PROTOCOLS);
            loaded
                .map(|tls| Some(Arc::new(tls)))
                .map_err(|error| StartError::Http(error.into()))
        }
        (Some(_), None, _) => half("tls_cert", "tls_key"),
        (None, Some(_), _) => half("tls_key", "tls_cert"),
        (None, None, Some(_)) => half("tls_client_ca", "tls_cert"),
        (None, None, None) => Ok(None),
    }
}

/// Has `edges` answer HTTP if `config` says so, encrypted by `tls`; where.
pub(super) fn listen(
    (config, tls): (&HttpConfig, Option<Arc<WebTls>>),
    engine: &Arc<Engine>,
    workers: usize,
    edges: &mut Vec<Edge<Clustered<Engine>>>,
) -> Result<Option<HttpDoor>, StartError> {
    let Some(listen) = config.listen else {
        return Ok(None);
    };
    let settings = HttpSettings {
        headers: config.headers,
        deny_status: config.deny_status,
        key_from: config.key_from.clone(),
        trusted_proxies: config.trusted_proxies,
        token: token(config)?,
        timeout: config.timeout,
        tls: tls.clone(),
        wall_ms: super::clock::wall_now_ms,
    };
    let figures: Arc<dyn Figures> = Arc::clone(engine) as _;
    let protocol = Http::new(&settings, figures).map_err(|error| StartError::Http(error.into()))?;
    let edge = Edge::bind(listen, workers, &Arc::new(protocol))?;
    let address = edge.address();
    edges.push(edge);
    Ok(Some(HttpDoor { address, tls }))
}

/// Why a token's file cannot be used.
#[derive(Debug, thiserror::Error)]
enum TokenFile {
    /// It cannot be read.
    #[error("cannot read the token in {path}; check that it is there and may be read")]
    Read {
        path: String,
        #[source]
        source: std::io::Error,
    },
    /// It holds no token.
    #[error("there is no token in {path}; make one with: openssl rand -hex 32")]
    Parse {
        path: String,
        #[source]
        source: NotAToken,
    },
}

fn token(config: &HttpConfig) -> Result<Option<BearerToken>, StartError> {
    use std::io::Read as _;
    let Some(file) = &config.token_file else {
        return Ok(config.token.clone());
    };
    let path = file.display().to_string();
    let mut text = String::new();
    let read = std::fs::File::open(file)
        .and_then(|file| file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text));
    if let Err(source) = read {
        return Err(StartError::Http(TokenFile::Read { path, source }.into()));
    }
    let token = BearerToken::parse(&text).map_err(|source| TokenFile::Parse { path, source });
    token
        .map(Some)
        .map_err(|error| StartError::Http(error.into()))
}

impl Figures for Engine {
    fn figures(&self) -> NodeFigures {
        let set = self.policies.current();
        let timings = self.committer.timings();
        NodeFigures {
            policies: set.all().map(|policy| policy.figures()).collect(),
            commit_bytes: self.committer.bytes(),
            commits: CommitFigures {
                whole: timings.commits(),
                writes: timings.writes(),
                syncs: timings.syncs(),
            },
            dirty_keys: if self.about.keeps {
                self.table.unsaved_count()
            } else {
                0
            },
        }
    }
}
