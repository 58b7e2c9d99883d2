//! Makes a cluster's certificate authority and the certificates of nodes, clients and admins.
//!
//! All keys are Ed25519. A directory of certificates holds
//!
//! | file | what | mode |
//! |---|---|---|
//! | `ca.pem` | the authority's certificate; everybody needs it | 0644 |
//! | `ca.key` | the authority's key; only who issues certificates needs it | 0600 |
//! | `node.pem`, `node.key` | a node's | 0644, 0600 |
//! | `client.pem`, `client.key` | a client's | 0644, 0600 |
//! | `admin.pem`, `admin.key` | the command line's | 0644, 0600 |
//!
//! Certificates live in wall time, which is read here and nowhere else in this room.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, date_time_ymd,
};
use rustls::pki_types::UnixTime;

pub use super::files::Existing;
use super::files::{self, CA_CERT, CA_KEY, NewFile};
use super::{CertError, Role};

/// How long an authority is valid: ten years, since replacing it means touching every machine.
pub const CA_VALIDITY: Duration = Duration::from_secs(3652 * 86_400);

/// How long a certificate is valid: 825 days, the longest that every TLS library accepts.
pub const CERT_VALIDITY: Duration = Duration::from_secs(825 * 86_400);

/// Certificates are valid from an hour before they are made, for machines whose clocks are late.
const LATE_CLOCKS: Duration = Duration::from_secs(3600);

/// Names that every certificate bears besides those asked for, so that loopback just works.
const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A cluster's certificate authority: its certificate and key.
pub struct Authority {
    cert_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a new authority in memory; `name` stands in its certificate for people to read.
    ///
    /// # Errors
    /// [`CertError::Make`].
    pub fn create(name: &str) -> Result<Self, CertError> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(name, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        valid_for(&mut params, now(), CA_VALIDITY);
        let cert_pem = params.self_signed(&key)?.pem();
        Ok(Self {
            cert_pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// Reads `ca.pem` and `ca.key` from `dir`.
    ///
    /// # Errors
    /// [`CertError`], naming the file and what to do.
    pub fn load(dir: &Path) -> Result<Self, CertError> {
        let text = |name: &str| {
            let path = dir.join(name);
            let bytes = files::read(&path, "init")?;
            String::from_utf8(bytes).map_err(|_| unusable(&path, "PEM text", &"it is not text"))
        };
        let (cert_pem, key_pem) = (text(CA_CERT)?, text(CA_KEY)?);
        let key = KeyPair::from_pem(&key_pem)
            .map_err(|error| unusable(&dir.join(CA_KEY), "private key", &error))?;
        let issuer = Issuer::from_ca_cert_pem(&cert_pem, key)
            .map_err(|error| unusable(&dir.join(CA_CERT), "certificate", &error))?;
        Ok(Self { cert_pem, issuer })
    }

    /// Writes `ca.pem` and `ca.key` into `dir` (made if it is not there) and names them.
    ///
    /// # Errors
    /// [`CertError::Exists`] if one is there already and `existing` does not allow it;
    /// [`CertError::Write`].
    pub fn save(&self, dir: &Path, existing: Existing) -> Result<Vec<PathBuf>, CertError> {
        let cert = NewFile {
            name: CA_CERT,
            text: &self.cert_pem,
            secret: false,
        };
        let key = NewFile {
            name: CA_KEY,
            text: &self.issuer.key().serialize_pem(),
            secret: true,
        };
        files::write_all(dir, &[key, cert], existing)
    }

    /// Writes `ca.pem` alone into `dir`, as a node or client needs it, and names it; nothing if it
    /// is there already.
    ///
    /// # Errors
    /// [`CertError::Exists`] if another authority's is there and `existing` does not allow it;
    /// [`CertError::Write`].
    pub fn save_cert(&self, dir: &Path, existing: Existing) -> Result<Vec<PathBuf>, CertError> {
        let there = std::fs::read_to_string(dir.join(CA_CERT));
        if there.is_ok_and(|there| there == self.cert_pem) {
            return Ok(Vec::new());
        }
        let cert = NewFile {
            name: CA_CERT,
            text: &self.cert_pem,
            secret: false,
        };
        files::write_all(dir, &[cert], existing)
    }

    /// The authority's certificate as PEM.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// Issues a certificate of `role` to `name`, for `hosts` (DNS names or IP addresses) and
    /// loopback.
    ///
    /// # Errors
    /// [`CertError::HostName`], [`CertError::Make`].
    pub fn issue(&self, role: Role, name: &str, hosts: &[String]) -> Result<Issued, CertError> {
        self.issue_at(now(), role, name, hosts)
    }

    /// Issues a certificate as [`Authority::issue`] would have at another time.
    pub(crate) fn issue_at(
        &self,
        since_1970: Duration,
        role: Role,
        name: &str,
        hosts: &[String],
    ) -> Result<Issued, CertError> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let mut names: Vec<String> = LOOPBACK_NAMES.map(str::to_owned).to_vec();
        names.extend(hosts.iter().cloned());
        names.dedup();
        let mut params = CertificateParams::new(names).map_err(|error| match error {
            rcgen::Error::InvalidAsn1String(_) => CertError::HostName {
                name: hosts.join(", "),
            },
            other => CertError::Make(other),
        })?;
        params.distinguished_name = subject(name, role.as_str());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match role {
            Role::Node => vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
            Role::Client | Role::Admin => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.use_authority_key_identifier_extension = true;
        valid_for(&mut params, since_1970, CERT_VALIDITY);
        Ok(Issued {
            role,
            cert_pem: params.signed_by(&key, &self.issuer)?.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

/// A certificate with its key, in memory.
pub struct Issued {
    role: Role,
    cert_pem: String,
    key_pem: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl Issued {
    /// The role that the certificate names.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The certificate as PEM.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The private key as PEM (PKCS #8).
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Writes the role's two files into `dir` (made if it is not there) and names them.
    ///
    /// # Errors
    /// [`CertError::Exists`] if one is there already and `existing` does not allow it;
    /// [`CertError::Write`].
    pub fn save(&self, dir: &Path, existing: Existing) -> Result<Vec<PathBuf>, CertError> {
        let cert = NewFile {
            name: files::cert_file(self.role),
            text: &self.cert_pem,
            secret: false,
        };
        let key = NewFile {
            name: files::key_file(self.role),
            text: &self.key_pem,
            secret: true,
        };
        files::write_all(dir, &[key, cert], existing)
    }
}

fn subject(name: &str, unit: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "distributed-rate-limiter");
    subject.push(DnType::OrganizationalUnitName, unit);
    subject.push(DnType::CommonName, name);
    subject
}

fn valid_for(params: &mut CertificateParams, since_1970: Duration, validity: Duration) {
    let begin = date_time_ymd(1970, 1, 1);
    params.not_before = begin + since_1970.saturating_sub(LATE_CLOCKS);
    params.not_after = begin + since_1970.saturating_add(validity);
}

/// Wall time, since 1970.
fn now() -> Duration {
    Duration::from_secs(UnixTime::now().as_secs())
}

fn unusable(path: &Path, what: &'static str, reason: &dyn ToString) -> CertError {
    CertError::Unusable {
        file: path.display().to_string(),
        what,
        reason: reason.to_string(),
    }
}
