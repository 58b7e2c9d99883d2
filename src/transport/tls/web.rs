//! TLS for protocols over TCP, such as HTTPS: with a certificate that the operator brings, of whatever
//! authority, since those who connect know nothing of the cluster's own.
//!
//! Version 1.3 only, as everywhere here, and without 0-RTT: what can be replayed would count twice.
//! The files can be read again while connections are open; if they cannot be used then, what was
//! read before stays.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::credentials::provider;

/// Most bytes of a file that are read: an authority's whole store of certificates has a quarter of it.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The files that a listener's TLS is made of, all in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WebTlsFiles {
    /// The listener's certificate, and behind it those that lead to its authority.
    pub(crate) cert: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
    /// Certificates of the authorities of those who may connect; `None`: anybody may.
    pub(crate) client_ca: Option<PathBuf>,
}

/// Why such files cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebTlsError {
    /// A file cannot be read.
    #[error(
        "cannot read the {what} in {path}; check that it is there and that this program's user may read it",
        path = path.display()
    )]
    Read {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file holds nothing of its kind.
    #[error(
        "there is no {what} in {path}; it must be PEM, with a section like -----BEGIN {section}-----",
        path = path.display()
    )]
    Nothing {
        what: &'static str,
        path: PathBuf,
        section: &'static str,
    },
    /// What a file holds is damaged, or of a kind that is not known here.
    #[error(
        "cannot use the {what} in {path} ({reason}); put a whole one there, of RSA, ECDSA or Ed25519",
        path = path.display()
    )]
    Unusable {
        what: &'static str,
        path: PathBuf,
        reason: String,
    },
    /// The key is another certificate's.
    #[error(
        "the private key in {key} does not fit the first certificate in {cert}; put those there that were made together, the listener's own certificate before its authority's",
        key = key.display(), cert = cert.display()
    )]
    KeyMismatch { cert: PathBuf, key: PathBuf },
    /// The TLS library refused it all.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
}

/// What a listener encrypts with, as its files say.
#[derive(Debug)]
pub(crate) struct WebTls {
    files: WebTlsFiles,
    protocols: Vec<Vec<u8>>,
    current: RwLock<Arc<ServerConfig>>,
}

impl WebTls {
    /// Reads the files; the listener speaks these protocols (ALPN), best first.
    ///
    /// # Errors
    /// [`WebTlsError`], naming the file and what to do about it.
    pub(crate) fn load(files: WebTlsFiles, protocols: &[&[u8]]) -> Result<Self, WebTlsError> {
        let protocols: Vec<_> = protocols.iter().map(|name| name.to_vec()).collect();
        let current = RwLock::new(Arc::new(read(&files, &protocols)?));
        Ok(Self {
            files,
            protocols,
            current,
        })
    }

    /// Reads the files again: connections that begin later have what they say now.
    ///
    /// # Errors
    /// [`WebTlsError`]; what was read before stays.
    pub(crate) fn reload(&self) -> Result<(), WebTlsError> {
        let read = Arc::new(read(&self.files, &self.protocols)?);
        *self.current.write() = read;
        Ok(())
    }

    /// What a connection that begins now is encrypted with.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read())
    }
}

fn read(files: &WebTlsFiles, protocols: &[Vec<u8>]) -> Result<ServerConfig, WebTlsError> {
    let key = own_key(files)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier(files)?)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.alpn_protocols = protocols.to_vec();
    config.max_early_data_size = 0;
    if files.client_ca.is_some() {
        // Without tickets there is nothing to resume: every connection proves its certificate anew.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
    }
    Ok(config)
}

fn own_key(files: &WebTlsFiles) -> Result<Arc<CertifiedKey>, WebTlsError> {
    const WHAT: &str = "private key";
    let chain = certificates(&files.cert)?;
    if chain.first().is_some_and(|own| !is_in_time(own)) {
        tracing::warn!(
            path = %files.cert.display(),
            "this certificate has expired or is not valid yet; clients will refuse it"
        );
    }
    let path = &files.key;
    let unusable = |error: &dyn ToString| WebTlsError::Unusable {
        what: WHAT,
        path: path.clone(),
        reason: error.to_string(),
    };
    let text = text_of(path, WHAT)?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => WebTlsError::Nothing {
            what: WHAT,
            path: path.clone(),
            section: "PRIVATE KEY",
        },
        damaged => unusable(&damaged),
    })?;
    let signing = provider().key_provider.load_private_key(key);
    let key = CertifiedKey::new(chain, signing.map_err(|error| unusable(&error))?);
    match key.keys_match() {
        // Some keys do not tell their public half.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(Arc::new(key))
        }
        Err(rustls::Error::InconsistentKeys(_)) => Err(WebTlsError::KeyMismatch {
            cert: files.cert.clone(),
            key: path.clone(),
        }),
        Err(error) => Err(bad_certificate(&files.cert, &error)),
    }
}

fn verifier(files: &WebTlsFiles) -> Result<Arc<dyn ClientCertVerifier>, WebTlsError> {
    let Some(path) = &files.client_ca else {
        return Ok(Arc::new(NoClientAuth));
    };
    let mut roots = RootCertStore::empty();
    for root in certificates(path)? {
        let added = roots.add(root);
        added.map_err(|error| bad_certificate(path, &error))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    verifier
        .map(|it| it as _)
        .map_err(|error| bad_certificate(path, &error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, WebTlsError> {
    const WHAT: &str = "certificate";
    let text = text_of(path, WHAT)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| bad_certificate(path, &error))?;
    if chain.is_empty() {
        return Err(WebTlsError::Nothing {
            what: WHAT,
            path: path.to_owned(),
            section: "CERTIFICATE",
        });
    }
    Ok(chain)
}

fn bad_certificate(path: &Path, reason: &dyn ToString) -> WebTlsError {
    WebTlsError::Unusable {
        what: "certificate",
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

fn text_of(path: &Path, what: &'static str) -> Result<Vec<u8>, WebTlsError> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut text));
    read.map_err(|source| WebTlsError::Read {
        what,
        path: path.to_owned(),
        source,
    })?;
    Ok(text)
}

/// Whether the certificate's time has come and is not over; what cannot be read is not judged here.
fn is_in_time(der: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(der).map_or(true, |(_, own)| own.validity().is_valid())
}

#[cfg(test)]
#[path = "web_tests.rs"]
mod tests;
