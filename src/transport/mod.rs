//! QUIC endpoints, TLS, certificates and the roles in them.
