//! What one end proves itself with, and by whom it trusts the other.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, RootCertStore};

use crate::transport::certs::{Authority, Issued};
use crate::transport::files::{self, CA_CERT};
use crate::transport::{CertError, Role};

/// The authority that one end trusts, and the certificate and key it proves itself with.
///
/// Checked when made: the certificate is in its time, signed by the authority, has its role and
/// belongs to its key.
#[derive(Clone)]
pub struct Credentials {
    pub(super) roots: Arc<RootCertStore>,
    pub(super) identity: Option<Identity>,
}

/// A certificate with its key.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) role: Role,
    pub(super) key: Arc<CertifiedKey>,
    /// What the private key and nothing else gives, under a name of its own.
    #[cfg(feature = "server")]
    reset_key: ring::hmac::Key,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("role", &self.role())
            .finish_non_exhaustive()
    }
}

/// PEM texts and where they are from.
struct Texts<'a> {
    ca_file: String,
    ca: &'a [u8],
    identity: Option<IdentityTexts<'a>>,
}

/// A certificate and its key, each with its file.
struct IdentityTexts<'a> {
    role: Role,
    cert_file: String,
    cert: &'a [u8],
    key_file: String,
    key: &'a [u8],
}

impl Credentials {
    /// Reads `ca.pem` and the certificate and key of `role` from a directory as
    /// `ratelimitctl certs` makes it.
    ///
    /// # Errors
    /// [`CertError`], naming the file and what to do about it.
    pub fn load(dir: &Path, role: Role) -> Result<Self, CertError> {
        let path = |name: &str| dir.join(name);
        let shown = |name: &str| path(name).display().to_string();
        let (cert, key) = (files::cert_file(role), files::key_file(role));
        let ca = files::read(&path(CA_CERT), "init")?;
        let cert_pem = files::read(&path(cert), files::command(role))?;
        let key_pem = files::read(&path(key), files::command(role))?;
        Self::from_texts(&Texts {
            ca_file: shown(CA_CERT),
            ca: &ca,
            identity: Some(IdentityTexts {
                role,
                cert_file: shown(cert),
                cert: &cert_pem,
                key_file: shown(key),
                key: &key_pem,
            }),
        })
    }

    /// Reads `ca.pem` alone: enough to ask a node that takes clients without certificates.
    ///
    /// # Errors
    /// [`CertError`], naming the file and what to do about it.
    pub fn load_anonymous(dir: &Path) -> Result<Self, CertError> {
        let path = dir.join(CA_CERT);
        let ca = files::read(&path, "init")?;
        Self::from_texts(&Texts {
            ca_file: path.display().to_string(),
            ca: &ca,
            identity: None,
        })
    }

    /// The credentials of a certificate that was just issued, without files.
    ///
    /// # Errors
    /// [`CertError`], if `issued` is not of `authority`.
    pub fn issued(authority: &Authority, issued: &Issued) -> Result<Self, CertError> {
        Self::from_texts(&Texts {
            ca_file: CA_CERT.to_owned(),
            ca: authority.cert_pem().as_bytes(),
            identity: Some(IdentityTexts {
                role: issued.role(),
                cert_file: files::cert_file(issued.role()).to_owned(),
                cert: issued.cert_pem().as_bytes(),
                key_file: files::key_file(issued.role()).to_owned(),
                key: issued.key_pem().as_bytes(),
            }),
        })
    }

    /// Trust in `authority`, and nothing to prove oneself with.
    ///
    /// # Errors
    /// [`CertError`], if the authority's certificate cannot be read.
    pub fn anonymous(authority: &Authority) -> Result<Self, CertError> {
        Self::from_texts(&Texts {
            ca_file: CA_CERT.to_owned(),
            ca: authority.cert_pem().as_bytes(),
            identity: None,
        })
    }

    /// The role of the certificate, if there is one.
    pub fn role(&self) -> Option<Role> {
        self.identity.as_ref().map(|identity| identity.role)
    }

    /// The name in the certificate, if there is one.
    #[cfg(feature = "server")]
    pub(crate) fn name(&self) -> Option<String> {
        let own = self.identity.as_ref()?.key.cert.first()?;
        crate::transport::role::name_of_certificate(own)
    }

    /// The key under which a node's stateless resets are recognised; `None` without a certificate.
    #[cfg(feature = "server")]
    pub(crate) fn reset_key(&self) -> Option<ring::hmac::Key> {
        let identity = self.identity.as_ref();
        identity.map(|identity| identity.reset_key.clone())
    }

    fn from_texts(texts: &Texts<'_>) -> Result<Self, CertError> {
        let mut roots = RootCertStore::empty();
        for root in certificates(texts.ca, &texts.ca_file)? {
            roots
                .add(root)
                .map_err(|error| unusable(&texts.ca_file, "certificate", &error))?;
        }
        let roots = Arc::new(roots);
        let identity = match &texts.identity {
            Some(texts) => Some(Identity::from_texts(texts, &roots)?),
            None => None,
        };
        Ok(Self { roots, identity })
    }
}

impl Identity {
    fn from_texts(
        texts: &IdentityTexts<'_>,
        roots: &Arc<RootCertStore>,
    ) -> Result<Self, CertError> {
        let chain = certificates(texts.cert, &texts.cert_file)?;
        check(&chain, roots, texts.role, &texts.cert_file)?;
        let bad_key = |error: &dyn ToString| unusable(&texts.key_file, "private key", error);
        let key = PrivateKeyDer::from_pem_slice(texts.key).map_err(|error| bad_key(&error))?;
        #[cfg(feature = "server")]
        let reset_key = reset_key(&key);
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
            if matches!(error, rustls::Error::InconsistentKeys(_)) {
                CertError::KeyMismatch {
                    file: texts.cert_file.clone(),
                }
            } else {
                bad_key(&error)
            }
        })?;
        Ok(Self {
            role: texts.role,
            key: Arc::new(key),
            #[cfg(feature = "server")]
            reset_key,
        })
    }
}

/// The key for stateless resets: the same for all lives of a node, known to nobody else.
#[cfg(feature = "server")]
fn reset_key(key: &PrivateKeyDer<'_>) -> ring::hmac::Key {
    use ring::hmac::{HMAC_SHA256, Key, sign};
    let secret = Key::new(HMAC_SHA256, key.secret_der());
    let derived = sign(&secret, b"ratelimit stateless reset 1");
    Key::new(HMAC_SHA256, derived.as_ref())
}

/// The cryptography of both ends.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certificates(pem: &[u8], file: &str) -> Result<Vec<CertificateDer<'static>>, CertError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(file, "certificate", &error))?;
    if chain.is_empty() {
        return Err(unusable(file, "certificate", &"it has no PEM section"));
    }
    Ok(chain)
}

/// Every certificate of ours may authenticate a client, so that one check serves all roles.
fn check(
    chain: &[CertificateDer<'static>],
    roots: &Arc<RootCertStore>,
    role: Role,
    file: &str,
) -> Result<(), CertError> {
    let Some((own, intermediates)) = chain.split_first() else {
        return Err(unusable(file, "certificate", &"it is empty"));
    };
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider())
        .build()
        .map_err(|error| unusable(CA_CERT, "certificate", &error))?;
    let file_name = || file.to_owned();
    verifier
        .verify_client_cert(own, intermediates, UnixTime::now())
        .map_err(|error| match error {
            rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            ) => CertError::Expired { file: file_name() },
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
            ) => CertError::NotYetValid { file: file_name() },
            rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            ) => CertError::OtherAuthority { file: file_name() },
            other => unusable(file, "certificate", &other),
        })?;
    if Role::of_certificate(own) == Some(role) {
        Ok(())
    } else {
        Err(CertError::OtherRole {
            file: file_name(),
            needed: role,
        })
    }
}

fn unusable(file: &str, what: &'static str, reason: &dyn ToString) -> CertError {
    CertError::Unusable {
        file: file.to_owned(),
        what,
        reason: reason.to_string(),
    }
}
