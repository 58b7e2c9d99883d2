//! The node's certificate: loaded, or with `--create` made where there is none. A node that joins
//! makes none: the others would not know its authority.

use std::path::Path;

use anyhow::Context as _;
use distributed_rate_limiter::config::NodeConfig;
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

/// Makes the certificate of one more node by the authority in `dir`, for `host` as well as loopback,
/// and gives its credentials; they are kept in `own`.
pub(crate) fn make_node(
    dir: &Path,
    own: &Path,
    name: &str,
    host: &str,
) -> anyhow::Result<Credentials> {
    let making = || format!("cannot make a certificate in {}", own.display());
    let authority = Authority::load(dir).with_context(making)?;
    let issued = authority.issue(Role::Node, name, &[host.to_owned()]);
    let issued = issued.with_context(making)?;
    issued.save(own, Existing::Refuse).with_context(making)?;
    authority
        .save_cert(own, Existing::Refuse)
        .with_context(making)?;
    Credentials::load(own, Role::Node).with_context(making)
}

/// The node's credentials; a node that makes a cluster makes them too, if there are none at all.
pub(crate) fn load_or_make(config: &NodeConfig) -> anyhow::Result<Credentials> {
    let dir = config.certs_dir();
    let joins = !config.cluster.join.is_empty();
    let absent = !dir.join("ca.pem").exists() && !dir.join("node.pem").exists();
    if config.create && !joins && absent {
        make(&dir)?;
        tracing::info!(dir = %dir.display(), "made certificates for node, client and admin");
    }
    let dir = dir.display();
    anyhow::ensure!(
        !(joins && absent),
        "a node that joins needs a certificate that the others know, and there is none in {dir}: \
         where their ca.key is, run `ratelimitctl certs node NAME --host HOST --dir DIR`, and copy \
         ca.pem, node.pem and node.key here"
    );
    Credentials::load(&config.certs_dir(), Role::Node)
        .with_context(|| format!("cannot use the certificates in {dir}"))
}
