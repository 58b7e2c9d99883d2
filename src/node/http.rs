//! The HTTP edge of a node: its settings, its token, and what the engine tells its metrics.

use std::net::SocketAddr;
use std::sync::Arc;

use super::edges::Edge;
use super::engine::Engine;
use super::error::StartError;
use super::forward::Clustered;
use crate::config::{BearerToken, HttpConfig, NotAToken};
use crate::server::{Figures, Http, HttpSettings, NodeFigures};

/// Most bytes of a token's file that are read.
const TOKEN_FILE_BYTES_MAX: u64 = 4096;

/// Has `edges` answer HTTP if `config` says so; where.
pub(super) fn listen(
    config: &HttpConfig,
    engine: &Arc<Engine>,
    workers: usize,
    edges: &mut Vec<Edge<Clustered<Engine>>>,
) -> Result<Option<SocketAddr>, StartError> {
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
        wall_ms: super::clock::wall_now_ms,
    };
    let figures: Arc<dyn Figures> = Arc::clone(engine) as _;
    let protocol = Http::new(&settings, figures).map_err(|error| StartError::Http(error.into()))?;
    let edge = Edge::bind(listen, workers, &Arc::new(protocol))?;
    let address = edge.address();
    edges.push(edge);
    Ok(Some(address))
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
        NodeFigures {
            policies: set.all().map(|policy| policy.figures()).collect(),
            commit_bytes: self.committer.bytes(),
        }
    }
}
