//! `ratelimitd dev`: a node to try things out, which leaves nothing behind.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use distributed_rate_limiter::config::{PolicyFile, Watch};
use distributed_rate_limiter::node::{Node, NodeOptions};
use distributed_rate_limiter::telemetry;
use distributed_rate_limiter::transport::Role;
use distributed_rate_limiter::transport::tls::Credentials;

use crate::arguments::Dev;
use crate::signals::Hearing;
use crate::{certificates, serve};

/// The sample policies of the repository.
const SAMPLE: &str = include_str!("../../../config/limits.toml");

/// Runs the node until it is stopped.
pub(crate) fn run(arguments: &Dev) -> anyhow::Result<()> {
    let level = arguments.log.log_level.as_deref().unwrap_or("info");
    telemetry::init(arguments.log.log_format.unwrap_or_default(), level)?;
    let home = tempfile::Builder::new()
        .prefix("ratelimit-dev-")
        .tempdir()?;
    let certs = home.path().join("certs");
    certificates::make(&certs)?;
    let file = if let Some(file) = &arguments.policies {
        file.clone()
    } else {
        let file = home.path().join("limits.toml");
        std::fs::write(&file, SAMPLE).context("cannot write the sample policies")?;
        file
    };
    let mut watch = Watch::start(PolicyFile::new(&file));
    let set = watch.load()?.value;
    let mut options = NodeOptions::new(Credentials::load(&certs, Role::Node)?);
    options.listen = arguments.listen;
    options.workers = arguments.workers.unwrap_or(0);
    options.data_dir = Some(home.path().join("data"));
    options.create = true;
    let mut hearing = Hearing::start()?;
    let node = Node::start(&options, &set)?;
    say_hello(
        &node,
        &certs,
        &file,
        set.policies.keys().next().map_or("api", String::as_str),
    );
    serve::until_stopped(&node, &mut watch, &mut hearing);
    serve::stop(node, Duration::from_secs(5), hearing)
}

#[expect(
    clippy::print_stdout,
    reason = "lines to copy are what this command is for"
)]
fn say_hello(node: &Node, certs: &Path, policies: &Path, policy: &str) {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.to_owned()));
    let ctl = beside
        .map(|dir| dir.join("ratelimitctl"))
        .filter(|ctl| ctl.exists());
    let ctl = ctl.map_or_else(
        || "ratelimitctl".to_owned(),
        |ctl| ctl.display().to_string(),
    );
    println!(
        "A limiter to try out is serving; everything is gone when it stops (Ctrl-C).\n\
         Policies: {policies}, read again when the file changes.\n\
         \n\
         Copy into another terminal:\n\
         \n  export RATELIMIT_ENDPOINT={address} RATELIMIT_CERTS={certs}\
         \n  {ctl} check {policy} user-42\
         \n  {ctl} inspect {policy} user-42\
         \n  {ctl} status\
         \n  {ctl} load --policy {policy} --keys 1000 --concurrency 64 --duration 5s\n",
        address = node.address(),
        certs = certs.display(),
        policies = policies.display(),
    );
}
