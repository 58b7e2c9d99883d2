//! `ratelimitd serve`: a node on its data directory, until it is told to stop.

use std::time::Duration;

use anyhow::Context as _;
use distributed_rate_limiter::config::{
    Checked, ConfigError, Diagnostic, NodeConfig, NodeOverrides, PolicyFile, Watch,
};
use distributed_rate_limiter::limiter::policy::PolicySet;
use distributed_rate_limiter::node::{Node, NodeOptions, StartError, holds_counts};
use distributed_rate_limiter::telemetry;

use crate::arguments::Serve;
use crate::certificates;
use crate::signals::{Asked, Hearing, Signals};

/// Runs the node until it is stopped.
pub(crate) fn run(arguments: &Serve) -> anyhow::Result<()> {
    let Checked {
        value: mut config,
        warnings,
        ..
    } = NodeConfig::load(overrides(arguments))?;
    config.workers = arguments.workers.unwrap_or(config.workers);
    let log = &config.log;
    // Sends what waits at the end.
    let _traces = telemetry::init_with_traces(log.format, &log.level, log.otlp.as_deref())?;
    warn(&warnings);
    let mut watch = Watch::start(PolicyFile::new(&config.policies));
    let policies = match watch.load() {
        // Nothing is made, no certificates either, where there is nothing to start with.
        Err(error) if !holds_counts(&config.data_dir) => return Err(error.into()),
        loaded => loaded,
    };
    let mut hearing = Hearing::start()?;
    let node = start(&options(&config)?, policies)?;
    tracing::info!(
        address = %node.address(),
        policies = node.policy_count(),
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    if let Some(address) = node.http_address() {
        tracing::info!(%address, tls = config.http.tls_cert.is_some(), "serving HTTP");
    }
    if let Some(address) = node.resp_address() {
        tracing::info!(%address, "serving the Redis protocol");
    }
    if config.advertised().is_none() {
        tracing::info!(
            listen = %config.listen,
            "other nodes cannot join this one: nothing is known that leads them here; set --advertise HOST:PORT"
        );
    }
    let nodes = vec![node];
    until_stopped(&nodes, &mut watch, &mut hearing);
    stop(nodes, config.server.drain_timeout, hearing)
}

/// Starts the node; if its policy file cannot be used, with the policies that it has stored.
fn start(
    options: &NodeOptions,
    policies: Result<Checked<PolicySet>, ConfigError>,
) -> anyhow::Result<Node> {
    let error = match policies {
        Ok(policies) => {
            warn(&policies.warnings);
            return Ok(Node::start(options, &policies.value)?);
        }
        Err(error) => error,
    };
    match Node::start_with_stored_policies(options, &error.to_string()) {
        Err(StartError::NoStoredPolicies) => Err(error.into()),
        started => Ok(started?),
    }
}

fn overrides(arguments: &Serve) -> NodeOverrides {
    NodeOverrides {
        config: arguments.config.clone(),
        data_dir: arguments.data_dir.clone(),
        listen: arguments.listen,
        policies: arguments.policies.clone(),
        certs: arguments.certs.clone(),
        create: arguments.create.then_some(true),
        join: arguments.join.clone(),
        advertise: arguments.advertise.clone(),
        weight: arguments.weight,
        replicas: arguments.replicas,
        zone: arguments.zone.clone(),
        insecure: arguments.insecure.then_some(true),
        log_format: arguments.log.log_format,
        log_level: arguments.log.log_level.clone(),
        http: arguments.http,
        http_cert: arguments.http_cert.clone(),
        http_key: arguments.http_key.clone(),
        resp: arguments.resp,
    }
}

fn options(config: &NodeConfig) -> anyhow::Result<NodeOptions> {
    let credentials = certificates::load_or_make(config)?;
    let mut options = NodeOptions::new(credentials);
    options.listen = config.listen;
    options.insecure = config.insecure;
    options.workers = config.workers;
    options.data_dir = Some(config.data_dir.clone());
    options.create = config.create;
    options.join.clone_from(&config.cluster.join);
    options.advertise.clone_from(&config.cluster.advertise);
    options.weight = config.cluster.weight;
    options.replicas = config.cluster.replicas;
    options.zone.clone_from(&config.cluster.zone);
    options.repair_after = config.cluster.repair_after;
    options.drain_timeout = config.server.drain_timeout;
    options.hand_off_bytes_per_second = config.cluster.hand_off_bytes_per_second;
    options.max_keys = config.table.max_keys;
    options.max_memory_bytes = config.table.max_memory_bytes;
    options.sync_interval = config.storage.sync_interval;
    options.checkpoint_interval = config.storage.checkpoint_interval;
    options.checkpoint_bytes = config.storage.checkpoint_bytes;
    options.max_clock_error = config.clock.max_error;
    options.after_power_loss = config.after_power_loss;
    options.max_connections = config.server.max_connections;
    options.max_in_flight = config.server.max_in_flight;
    options.http = config.http.clone();
    options.resp = config.resp.listen;
    options.resp_password = config.resp.load_password()?;
    Ok(options)
}

fn warn(warnings: &[Diagnostic]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

/// Serves until a signal says to stop, or until the storage failed and other nodes take over; takes
/// changed policies in meanwhile.
pub(crate) fn until_stopped(nodes: &[Node], watch: &mut Watch, hearing: &mut Hearing) {
    let Hearing { runtime, signals } = hearing;
    runtime.block_on(async {
        loop {
            let loaded = tokio::select! {
                asked = signals.next() => match asked {
                    Asked::Reload => {
                        read_certificates_again(nodes);
                        watch.load()
                    }
                    Asked::Stop(signal) => {
                        tracing::info!(signal, "stopping: answering what was asked, then syncing");
                        return;
                    }
                },
                loaded = watch.changed() => loaded,
                () = any_stood_down(nodes) => return,
            };
            put_in_force(nodes, loaded);
        }
    });
}

/// Resolves when one of the nodes has given up; it has said why.
async fn any_stood_down(nodes: &[Node]) {
    let all = nodes.iter().map(|node| Box::pin(node.stood_down()));
    futures_util::future::select_all(all).await;
}

/// Reads the certificates of HTTPS again; mistakes change nothing.
fn read_certificates_again(nodes: &[Node]) {
    for node in nodes {
        match node.read_http_certificate_again() {
            Ok(true) => tracing::info!("the certificate of HTTPS was read again"),
            Ok(false) => {}
            Err(error) => {
                let error = anyhow::Error::new(error);
                tracing::error!("the certificate of HTTPS stays the old one: {error:#}");
            }
        }
    }
}

/// Puts newly read policies in force; mistakes change nothing.
fn put_in_force(nodes: &[Node], loaded: Result<Checked<PolicySet>, ConfigError>) {
    let policies = match loaded {
        Ok(policies) => policies,
        Err(error) => {
            tracing::error!("policies not reloaded; the old ones stay in force:\n{error}");
            let why = error.to_string();
            for node in nodes {
                node.policies_broken(&why);
            }
            return;
        }
    };
    warn(&policies.warnings);
    let put = |node: &Node| node.set_policies(&policies.value);
    match nodes.iter().try_for_each(put) {
        Ok(()) => tracing::info!(
            policies = policies.value.policies.len(),
            "policies reloaded"
        ),
        Err(error) => {
            tracing::error!(%error, "policies not reloaded; the old ones stay in force");
        }
    }
}

/// Stops the nodes, the last one first; a second signal ends the process at once.
pub(crate) fn stop(nodes: Vec<Node>, drain: Duration, hearing: Hearing) -> anyhow::Result<()> {
    let Hearing {
        runtime,
        mut signals,
    } = hearing;
    let _impatient = std::thread::Builder::new()
        .name("second-signal".to_owned())
        .spawn(move || {
            let signal = runtime.block_on(second_stop(&mut signals));
            tracing::warn!(
                signal,
                "stopping at once; counts are recovered at the next start"
            );
            #[expect(clippy::exit, reason = "a second signal means: now")]
            std::process::exit(1);
        });
    for node in nodes.into_iter().rev() {
        node.stop(drain).context("the node did not stop cleanly")?;
    }
    tracing::info!("stopped; all counts are synced");
    Ok(())
}

async fn second_stop(signals: &mut Signals) -> &'static str {
    loop {
        if let Asked::Stop(signal) = signals.next().await {
            return signal;
        }
    }
}
