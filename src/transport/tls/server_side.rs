//! The node's TLS, and who may speak which ALPN.

use std::sync::Arc;

use quinn::crypto::rustls::HandshakeData;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;

use super::Credentials;
use super::credentials::provider;
use crate::protocol::hello::{ALPN_ADMIN, ALPN_CLIENT, ALPN_PEER};
use crate::transport::role::name_of_certificate;
use crate::transport::{CertError, Role};

/// Whether clients must have a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ClientAuth {
    /// Only holders of a certificate of the cluster's authority get in. The default.
    #[default]
    Required,
    /// Anybody may ask for decisions (admins still need their certificate): `--insecure`.
    Optional,
}

/// The configuration of a node.
///
/// # Errors
/// [`CertError`], if `credentials` are not a node's or the TLS library refuses them.
pub(crate) fn server_tls(
    credentials: &Credentials,
    client_auth: ClientAuth,
) -> Result<ServerConfig, CertError> {
    let identity = credentials
        .identity
        .as_ref()
        .filter(|identity| identity.role == Role::Node)
        .ok_or_else(|| CertError::OtherRole {
            file: "the certificate given".to_owned(),
            needed: Role::Node,
        })?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&credentials.roots), provider());
    let verifier = match client_auth {
        ClientAuth::Required => verifier,
        ClientAuth::Optional => verifier.allow_unauthenticated(),
    }
    .build()
    .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.key))));
    config.alpn_protocols = vec![
        ALPN_CLIENT.to_vec(),
        ALPN_PEER.to_vec(),
        ALPN_ADMIN.to_vec(),
    ];
    // 0-RTT data can be replayed by anybody who saw it: a check would count twice, and a refund
    // would over-admit. Without tickets there is nothing to resume either, so that every
    // connection proves its certificate anew.
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// The protocols that a node speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alpn {
    /// `drl-client/1`.
    Client,
    /// `drl-admin/1`.
    Admin,
    /// `drl-peer/1`.
    Peer,
}

/// Who is at the other end, by its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Without a certificate, which only [`ClientAuth::Optional`] lets through the handshake.
    Anonymous,
    /// With a certificate of the cluster's authority, in this role.
    Known(Role),
    /// With a certificate of the cluster's authority that names no role.
    WithoutRole,
}

impl Alpn {
    /// The protocol that was agreed on, once the handshake is done.
    pub(crate) fn of(connection: &quinn::Connection) -> Option<Self> {
        let handshake = connection.handshake_data()?;
        match handshake
            .downcast_ref::<HandshakeData>()?
            .protocol
            .as_deref()?
        {
            ALPN_CLIENT => Some(Self::Client),
            ALPN_ADMIN => Some(Self::Admin),
            ALPN_PEER => Some(Self::Peer),
            _other => None,
        }
    }

    /// Whether `peer` may speak this protocol.
    pub(crate) const fn admits(self, peer: Peer) -> bool {
        match (self, peer) {
            (Self::Client, Peer::Anonymous | Peer::Known(_))
            | (Self::Admin, Peer::Known(Role::Admin))
            | (Self::Peer, Peer::Known(Role::Node)) => true,
            (Self::Client | Self::Admin | Self::Peer, Peer::WithoutRole)
            | (Self::Admin, Peer::Anonymous | Peer::Known(Role::Node | Role::Client))
            | (Self::Peer, Peer::Anonymous | Peer::Known(Role::Client | Role::Admin)) => false,
        }
    }

    /// The role that would be let in.
    pub(crate) const fn needed(self) -> Role {
        match self {
            Self::Client => Role::Client,
            Self::Admin => Role::Admin,
            Self::Peer => Role::Node,
        }
    }
}

impl Peer {
    /// Who is at the other end of `connection`, once the handshake is done.
    pub(crate) fn of(connection: &quinn::Connection) -> Self {
        if connection.peer_identity().is_none() {
            return Self::Anonymous;
        }
        of_certificate(connection, |own| Role::of_certificate(own))
            .map_or(Self::WithoutRole, Self::Known)
    }
}

/// The name in the certificate of the other end of `connection`, once the handshake is done.
pub(crate) fn certificate_name(connection: &quinn::Connection) -> Option<String> {
    of_certificate(connection, |own| name_of_certificate(own))
}

fn of_certificate<T>(
    connection: &quinn::Connection,
    read: impl FnOnce(&CertificateDer<'static>) -> Option<T>,
) -> Option<T> {
    let identity = connection.peer_identity()?;
    let chain = identity.downcast_ref::<Vec<CertificateDer<'static>>>()?;
    chain.first().and_then(read)
}
