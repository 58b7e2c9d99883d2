//! `ratelimitd dev`: a node or a few to try things out, which leave nothing behind.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use distributed_rate_limiter::config::{PolicyFile, Watch};
use distributed_rate_limiter::limiter::policy::PolicySet;
use distributed_rate_limiter::node::{Node, NodeOptions};
use distributed_rate_limiter::telemetry;
use distributed_rate_limiter::transport::Role;
use distributed_rate_limiter::transport::tls::Credentials;

use crate::arguments::Dev;
use crate::signals::Hearing;
use crate::{certificates, serve};

/// The sample policies of the repository.
const SAMPLE: &str = include_str!("../../../config/limits.toml");

/// Nodes without which no slot has more than one replica.
const NODES_MIN: usize = 3;

/// How far the port for HTTP is from the one for QUIC.
const HTTP_PORT_OFFSET: u16 = 80;

/// How long the nodes may take to stop: nothing of theirs is kept.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// Runs the nodes until they are stopped.
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
    let mut hearing = Hearing::start()?;
    let mut nodes: Vec<Node> = Vec::new();
    for n in 0..arguments.nodes {
        let first = nodes.first().map(Node::address);
        let options = options(arguments, home.path(), n, first)?;
        let node = Node::start(&options, &set)
            .with_context(|| format!("cannot start node {} of {}", n + 1, arguments.nodes))?;
        nodes.push(node);
    }
    say_hello(&Hello {
        addresses: nodes.iter().map(Node::address).collect(),
        certs,
        policies: file,
        policy: first_policy(&set),
        replicas: arguments.replicas,
        http: nodes.first().and_then(Node::http_address),
        resp: nodes.first().and_then(Node::resp_address),
    });
    serve::until_stopped(&nodes, &mut watch, &mut hearing);
    serve::stop(nodes, STOP_WAIT, hearing)
}

/// How the node numbered `n`, from 0, runs: the first makes the cluster, all others join it.
fn options(
    arguments: &Dev,
    home: &Path,
    n: u16,
    first: Option<SocketAddr>,
) -> anyhow::Result<NodeOptions> {
    let certs = home.join("certs");
    let own = home.join(format!("node-{}", n + 1));
    let credentials = match first {
        None => Credentials::load(&certs, Role::Node)?,
        Some(_) => certificates::make_node(
            &certs,
            &own.join("certs"),
            &format!("node-{}", n + 1),
            &arguments.listen.ip().to_string(),
        )?,
    };
    let mut options = NodeOptions::new(credentials);
    options.listen = listen(arguments.listen, n)?;
    options.workers = match (arguments.workers, arguments.nodes) {
        (Some(workers), _) => workers,
        (None, 1) => 0,
        (None, _) => 1,
    };
    options.data_dir = Some(own.join("data"));
    options.create = first.is_none();
    options.replicas = arguments.replicas;
    options.join = first.iter().map(ToString::to_string).collect();
    options.drain_timeout = STOP_WAIT;
    options.http.listen = first.is_none().then(|| http(arguments));
    options.resp = arguments.resp.map(|first| listen(first, n)).transpose()?;
    Ok(options)
}

/// Where the first node answers HTTP.
fn http(arguments: &Dev) -> SocketAddr {
    let port = match arguments.listen.port() {
        0 => 0,
        port => port.checked_add(HTTP_PORT_OFFSET).unwrap_or(0),
    };
    let nearby = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    arguments.http.unwrap_or(nearby)
}

/// The address of the node numbered `n`: each has the port after the last one's, or a free one.
fn listen(first: SocketAddr, n: u16) -> anyhow::Result<SocketAddr> {
    let port = match first.port() {
        0 => Some(0),
        port => port.checked_add(n),
    };
    let port = port.context("there are not that many ports after the one of --listen")?;
    Ok(SocketAddr::new(first.ip(), port))
}

fn first_policy(set: &PolicySet) -> String {
    let first = set.policies.keys().next();
    first.map_or("api", String::as_str).to_owned()
}

/// What a person has to know to try it.
struct Hello {
    addresses: Vec<SocketAddr>,
    certs: PathBuf,
    policies: PathBuf,
    policy: String,
    replicas: u8,
    http: Option<SocketAddr>,
    resp: Option<SocketAddr>,
}

#[expect(
    clippy::print_stdout,
    reason = "lines to copy are what this command is for"
)]
fn say_hello(hello: &Hello) {
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
    println!("{}", hello.text(&ctl));
}

impl Hello {
    fn text(&self, ctl: &str) -> String {
        let addresses: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        let several = addresses.len() > 1;
        let what = if several {
            format!("A cluster of {} nodes to try out", addresses.len())
        } else {
            "A limiter to try out".to_owned()
        };
        let policy = &self.policy;
        let mut lines = vec![
            format!("{ctl} check {policy} user-42"),
            format!("{ctl} inspect {policy} user-42"),
            format!("{ctl} status"),
            format!("{ctl} load --policy {policy} --keys 1000 --concurrency 64 --duration 5s"),
        ];
        if let Some(http) = self.http {
            lines.push(format!(
                "curl -i 'http://{http}/v1/check/{policy}?key=user-42'"
            ));
        }
        if let Some(resp) = self.resp {
            let (ip, port) = (resp.ip(), resp.port());
            lines.push(format!(
                "redis-cli -h {ip} -p {port} RATELIMIT {policy} user-42"
            ));
        }
        let changed = if several {
            lines.push(format!("{ctl} ring"));
            lines.push(format!("{ctl} owner user-42"));
            if self.replicas > 1 {
                lines.push(format!("{ctl} cluster status"));
                lines.push(format!("{ctl} slot --key user-42"));
                lines.push(format!("{ctl} cluster set replicas 1"));
            } else if addresses.len() >= NODES_MIN {
                lines.push(format!("{ctl} cluster set replicas 3"));
            }
            lines.push(format!("{ctl} top"));
            if let Some(last) = addresses.last() {
                lines.push(format!("{ctl} node drain --node {last}"));
            }
            format!("in force; after a change: {ctl} policy apply")
        } else {
            "read again when the file changes:".to_owned()
        };
        format!(
            "{what} is serving; everything is gone when it stops (Ctrl-C).\n\
             Policies {changed} {policies}\n\
             \n\
             Copy into another terminal:\n\
             \n  export RATELIMIT_ENDPOINT={endpoint} RATELIMIT_CERTS={certs}\n  {lines}\n",
            policies = self.policies.display(),
            endpoint = addresses.join(","),
            certs = self.certs.display(),
            lines = lines.join("\n  "),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_has_a_port_of_its_own() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        for (first, n, expected) in [
            ("127.0.0.1:7400", 0, Some("127.0.0.1:7400")),
            ("[::1]:7400", 2, Some("[::1]:7402")),
            ("127.0.0.1:0", 2, Some("127.0.0.1:0")),
            ("127.0.0.1:65535", 1, None),
        ] {
            let given = listen(address(first), n).ok();
            assert_eq!(given, expected.map(address), "{first} {n}");
        }
    }

    #[test]
    fn the_lines_name_every_node_and_what_a_cluster_can_do() {
        let hello = |count: u16, replicas: u8| Hello {
            addresses: (0..count)
                .map(|n| listen(SocketAddr::from(([127, 0, 0, 1], 7400)), n).unwrap())
                .collect(),
            certs: "/c".into(),
            policies: "/p".into(),
            policy: "api".into(),
            replicas,
            http: Some(SocketAddr::from(([127, 0, 0, 1], 7480))),
            resp: None,
        };
        let one = hello(1, 1).text("ctl");
        assert!(!one.contains("ctl ring"), "{one}");
        assert!(one.contains("RATELIMIT_ENDPOINT=127.0.0.1:7400 "), "{one}");
        let three = hello(3, 1).text("ctl");
        for said in [
            "A cluster of 3 nodes",
            "curl -i 'http://127.0.0.1:7480/v1/check/api?key=user-42'",
            "RATELIMIT_ENDPOINT=127.0.0.1:7400,127.0.0.1:7401,127.0.0.1:7402 ",
            "\n  ctl ring\n",
            "ctl node drain --node 127.0.0.1:7402",
            "ctl policy apply /p",
            "\n  ctl cluster set replicas 3\n",
        ] {
            assert!(three.contains(said), "{said} in {three}");
        }
        let held = hello(3, 3).text("ctl");
        for said in [
            "cluster status",
            "slot --key user-42",
            "cluster set replicas 1",
        ] {
            assert!(held.contains(&format!("\n  ctl {said}\n")), "{held}");
        }
        assert!(!hello(2, 1).text("ctl").contains("replicas"));
    }
}
