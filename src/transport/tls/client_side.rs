//! The client's TLS: it trusts nodes of its cluster's authority and nobody else.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme,
};

use super::Credentials;
use super::credentials::provider;
use crate::transport::{CertError, Role};

/// The configuration of a client that speaks `alpn`.
///
/// # Errors
/// [`CertError::Tls`], if the TLS library refuses the authority.
pub(crate) fn client_tls(
    credentials: &Credentials,
    alpn: &[u8],
) -> Result<ClientConfig, CertError> {
    let webpki =
        WebPkiServerVerifier::builder_with_provider(Arc::clone(&credentials.roots), provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(NodeVerifier(webpki)));
    let mut config = match &credentials.identity {
        Some(identity) => builder
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.key)))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    // 0-RTT data can be replayed by anybody who saw it. Without resumption there is none to send,
    // and every connection proves its certificate anew.
    config.enable_early_data = false;
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The usual verification, and then that the certificate is a node's.
#[derive(Debug)]
struct NodeVerifier(Arc<WebPkiServerVerifier>);

/// A certificate of the right authority, but not a node's.
#[derive(Debug, thiserror::Error)]
#[error("the server's certificate does not have the role `node`")]
struct NotANode;

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.0.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        if Role::of_certificate(end_entity) == Some(Role::Node) {
            Ok(verified)
        } else {
            Err(CertificateError::Other(OtherError(Arc::new(NotANode))).into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
