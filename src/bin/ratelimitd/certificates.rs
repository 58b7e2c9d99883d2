//! The node's certificate: loaded, or with `--create` made where there is none.

use std::path::Path;

use anyhow::Context as _;
use distributed_rate_limiter::transport::Role;
use distributed_rate_limiter::transport::certs::{Authority, Existing};
use distributed_rate_limiter::transport::tls::Credentials;

/// Makes an authority and a certificate of each role in `dir`.
pub(crate) fn make(dir: &Path) -> anyhow::Result<()> {
    let making = || format!("cannot make certificates in {}", dir.display());
    let authority = Authority::create("ratelimit").with_context(making)?;
    authority.save(dir, Existing::Refuse).with_context(making)?;
    for role in Role::ALL {
        let issued = authority
            .issue(role, role.as_str(), &[])
            .with_context(making)?;
        issued.save(dir, Existing::Refuse).with_context(making)?;
    }
    Ok(())
}

/// The node's credentials in `dir`; if there are none at all and `create`, they are made.
pub(crate) fn load_or_make(dir: &Path, create: bool) -> anyhow::Result<Credentials> {
    if create && !dir.join("ca.pem").exists() && !dir.join("node.pem").exists() {
        make(dir)?;
        tracing::info!(dir = %dir.display(), "made certificates for node, client and admin");
    }
    Credentials::load(dir, Role::Node)
        .with_context(|| format!("cannot use the certificates in {}", dir.display()))
}
