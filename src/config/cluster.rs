//! `[cluster]` of `node.toml`: how a node finds the others, and how they reach it.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use toml::de::DeValue;

use super::diagnostic::{Diagnostic, Severity};
use super::node::NodeConfig;
use super::node_file::{Origin, count};
use super::reader::{Found, Reader, Table};

/// Bounds of `weight`. The ring has 1024 points for each unit; with 16 that of a hundred such nodes
/// has 1.6 million, and more would be slow to make.
const WEIGHT: RangeInclusive<u64> = 1..=16;

/// Bounds of `hand_off_bytes_per_second`: below it a hand-off takes hours.
const HAND_OFF_BYTES: RangeInclusive<u64> = 64 << 10..=16 << 30;

/// Most addresses in `join`: one that answers is enough.
const JOIN_MAX: usize = 32;

/// The keys of the table.
pub(super) const CLUSTER_KEYS: &[&str] = &[
    "join",
    "advertise",
    "weight",
    "replicas",
    "zone",
    "repair_after",
    "hand_off_bytes_per_second",
];

/// Longest name of a zone, in bytes.
const ZONE_BYTES_MAX: usize = 64;

/// Bounds of `repair_after`.
const REPAIR_AFTER: RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(30 * 86_400);

/// `[cluster]`: how a node finds the others, and how they reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterConfig {
    /// `join`: nodes of the cluster to join, as `host:port`, at most 32; one that answers is
    /// enough. Looked at only where `data_dir` is missing or empty. Default none.
    pub join: Vec<String>,
    /// `advertise`: where other nodes and clients reach this node, as `host:port`. `None`, the
    /// default: `listen`, if that is one address; see [`NodeConfig::advertised`].
    pub advertise: Option<String>,
    /// `weight`: the node's share of the slots against the others', 1 to 16. Default 1: equal
    /// shares, and the smallest ring.
    pub weight: u32,
    /// `replicas`: nodes that hold each slot of a cluster that is created, 1 or 3. Looked at only
    /// where a cluster is created; `ratelimitctl cluster set replicas` changes it later. Default 1.
    pub replicas: u8,
    /// `zone`: where the node stands, in your words, at most 64 bytes: the replicas of a slot are in
    /// different zones where there are enough. Default none: a place of its own.
    pub zone: String,
    /// `repair_after`: how long a node may be down until its replicas are made elsewhere, 10 s to 30
    /// days. Default 10 minutes: longer than a restart of a machine, which costs nothing.
    pub repair_after: Duration,
    /// `hand_off_bytes_per_second`: most bytes of state that the node sends a second while slots
    /// move, 64 KiB to 16 GiB. Default 64 MiB: half of a gigabit link, which leaves the other half
    /// to the checks.
    pub hand_off_bytes_per_second: u64,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            join: Vec::new(),
            advertise: None,
            weight: 1,
            replicas: 1,
            zone: String::new(),
            repair_after: Duration::from_secs(600),
            hand_off_bytes_per_second: 64 << 20,
        }
    }
}

/// Reads the table.
pub(super) fn cluster(reader: &mut Reader<'_>, table: &Table<'_>) -> ClusterConfig {
    let default = ClusterConfig::default();
    let weight = count(reader, table, "weight", WEIGHT);
    ClusterConfig {
        join: join(reader, table).unwrap_or_default(),
        advertise: advertise(reader, table),
        weight: weight
            .and_then(|weight| u32::try_from(weight).ok())
            .unwrap_or(default.weight),
        replicas: replicas(reader, table).unwrap_or(default.replicas),
        zone: zone(reader, table).unwrap_or_default(),
        repair_after: reader
            .duration(table, "repair_after", REPAIR_AFTER)
            .unwrap_or(default.repair_after),
        hand_off_bytes_per_second: reader
            .size(table, "hand_off_bytes_per_second", HAND_OFF_BYTES)
            .unwrap_or(default.hand_off_bytes_per_second),
    }
}

fn replicas(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<u8> {
    let number = reader.whole(table, "replicas", 1..=3)?;
    let replicas = u8::try_from(number).ok()?;
    if let Some(wrong) = not_replicas(replicas)
        && let Some(found) = table.get("replicas")
    {
        reader.error(&found.span, wrong, Some("write 1 or 3"));
    }
    Some(replicas)
}

fn not_replicas(replicas: u8) -> Option<String> {
    let told = "`replicas` is 1 or 3: with 2, the loss of either node stops grants";
    (!matches!(replicas, 1 | 3)).then(|| told.to_owned())
}

fn zone(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<String> {
    let text = reader.text(table, "zone")?;
    if let Some(wrong) = bad_zone(text.value) {
        reader.error(&text.span, wrong, None);
    }
    Some(text.value.to_owned())
}

fn bad_zone(zone: &str) -> Option<String> {
    let bad = zone.len() > ZONE_BYTES_MAX || zone.chars().any(char::is_control);
    bad.then(|| format!("`zone` has more than {ZONE_BYTES_MAX} bytes, or control characters"))
}

fn join(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<Vec<String>> {
    let found = table.get("join")?;
    let DeValue::Array(items) = found.value else {
        let hint = matches!(found.value, DeValue::String(_))
            .then_some("one address is written `join = [\"…\"]`");
        reader.wrong_type(&found, "an array of strings", hint);
        return None;
    };
    if items.len() > JOIN_MAX {
        let message = format!(
            "`join` has {} addresses; {JOIN_MAX} are enough",
            items.len()
        );
        reader.error(&found.span, message, None);
    }
    let addresses = items.iter().filter_map(|item| {
        let found = Found {
            value: item.get_ref(),
            key: found.key,
            span: item.span(),
        };
        let text = reader.as_text(&found, "an array of strings")?;
        if let Err(wrong) = address(text.value) {
            let message = wrong.told("join", text.value);
            reader.error(&text.span, message, Some(&wrong.hint(text.value)));
        }
        Some(text.value.to_owned())
    });
    Some(addresses.collect())
}

fn advertise(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<String> {
    let text = reader.text(table, "advertise")?;
    if let Err(wrong) = reachable(text.value) {
        let message = wrong.told("advertise", text.value);
        reader.error(&text.span, message, Some(&wrong.hint(text.value)));
    }
    Some(text.value.to_owned())
}

/// Why a text is not the address of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// No port, and all else may be right.
    NoPort,
    /// Not of the form `host:port`.
    Form,
    /// It stands for every address of a machine.
    Unspecified,
}

impl Wrong {
    fn told(self, name: &str, given: &str) -> String {
        match self {
            Self::NoPort => format!("`{name}` has \"{given}\" without a port"),
            Self::Form => format!("`{name}` cannot be \"{given}\"; it must be host:port"),
            Self::Unspecified => format!("\"{given}\" in `{name}` leads nobody to a node"),
        }
    }

    fn hint(self, given: &str) -> String {
        match self {
            Self::NoPort => format!("write \"{given}:7400\", if that is its port"),
            Self::Form => "write it like \"limits-2.example:7400\" or \"10.0.0.2:7400\"".to_owned(),
            Self::Unspecified => "write the name or address that other machines know".to_owned(),
        }
    }
}

/// `text` as host and port.
fn address(text: &str) -> Result<(&str, u16), Wrong> {
    let Some((host, port)) = text.rsplit_once(':') else {
        let is_name = !text.is_empty() && !text.contains(char::is_whitespace);
        return Err(if is_name { Wrong::NoPort } else { Wrong::Form });
    };
    let port = port.parse().ok().filter(|&port| port > 0);
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.strip_suffix(']').unwrap_or_default(),
        None if host.contains(':') => "",
        None => host,
    };
    match port {
        Some(port) if !host.is_empty() && !host.contains(['/', ' ', ',']) => Ok((host, port)),
        Some(_) | None => Err(Wrong::Form),
    }
}

/// `text` as an address that others can use.
fn reachable(text: &str) -> Result<(&str, u16), Wrong> {
    let (host, port) = address(text)?;
    match host.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => Err(Wrong::Unspecified),
        Ok(_) | Err(_) => Ok((host, port)),
    }
}

impl NodeConfig {
    /// Where other nodes and clients are told to reach this node: `advertise`, or `listen` if that
    /// is one address. `None`: nowhere, so that no other node can join. A port of 0 stands for the
    /// one that the node gets.
    pub fn advertised(&self) -> Option<String> {
        let listen = (!self.listen.ip().is_unspecified()).then(|| self.listen.to_string());
        self.cluster.advertise.clone().or(listen)
    }

    /// What is wrong with the settings of the cluster together.
    pub(super) fn check_cluster(&self, origin: &Origin) -> Vec<Diagnostic> {
        let error = |place, message: &str, hint: &str| {
            origin.diagnostic(Severity::Error, place, message, hint)
        };
        let mut found = self.check_flags();
        let join = &self.cluster.join;
        // A directory in use says by itself what cluster it belongs to.
        if join.is_empty() || is_in_use(&self.data_dir) {
            return found;
        }
        let place = origin.join.as_ref();
        if self.create {
            let message = "`create` makes a new cluster and `join` enters one that is there";
            let hint = "the first node is started with --create, all others with --join";
            found.push(error(place, message, hint));
        }
        if self.advertised().is_none() {
            let listen = self.listen;
            let message = format!(
                "a node that joins must be reached by others, and `listen` is {listen}, which leads nobody to it"
            );
            let hint = "set `advertise`, or --advertise HOST:PORT, to its name or address";
            found.push(error(origin.listen.as_ref(), &message, hint));
        }
        if let Some(advertised) = self.advertised()
            && is_loopback(&advertised) == Some(true)
            && let Some(far) = join.iter().find(|other| is_loopback(other) == Some(false))
        {
            let message = format!("{far} could not reach this node at {advertised}");
            let hint = "listen on an address of the network, or set `advertise` to one";
            found.push(error(origin.listen.as_ref(), &message, hint));
        }
        if join.iter().all(|other| self.is_own(other)) {
            let message = format!(
                "`join` names only this node itself, {}; there is nobody to join",
                join.join(", ")
            );
            let hint = "name a node that serves already, or make a cluster with --create";
            found.push(error(place, &message, hint));
        }
        found
    }

    /// What is wrong with the command line's values, which no file's reader has seen.
    fn check_flags(&self) -> Vec<Diagnostic> {
        let cluster = &self.cluster;
        let told = |flag: &str, wrong: Wrong, name: &str, given: &str| {
            let (message, hint) = (wrong.told(name, given), wrong.hint(given));
            Diagnostic::new(Severity::Error, flag, None, &message, Some(&hint))
        };
        let join = cluster.join.iter().filter_map(|given| {
            let wrong = address(given).err()?;
            Some(told("--join", wrong, "join", given))
        });
        let advertise = cluster.advertise.iter().filter_map(|given| {
            let wrong = reachable(given).err()?;
            Some(told("--advertise", wrong, "advertise", given))
        });
        let weight = (!WEIGHT.contains(&u64::from(cluster.weight))).then(|| {
            let (least, most) = (WEIGHT.start(), WEIGHT.end());
            let message = format!(
                "the weight is {}; it must be from {least} to {most}",
                cluster.weight
            );
            Diagnostic::new(Severity::Error, "--weight", None, &message, None)
        });
        let flag = |flag: &str, message: String| {
            Diagnostic::new(Severity::Error, flag, None, &message, None)
        };
        let replicas = not_replicas(cluster.replicas).map(|it| flag("--replicas", it));
        let zone = bad_zone(&cluster.zone).map(|it| flag("--zone", it));
        let many = (cluster.join.len() > JOIN_MAX).then(|| {
            let message = format!("{} addresses; {JOIN_MAX} are enough", cluster.join.len());
            Diagnostic::new(Severity::Error, "--join", None, &message, None)
        });
        let others = weight.into_iter().chain(replicas).chain(zone).chain(many);
        join.chain(advertise).chain(others).collect()
    }

    /// Whether `other` is surely this node: what a name means is for its name server to say.
    fn is_own(&self, other: &str) -> bool {
        if self.cluster.advertise.as_deref() == Some(other) {
            return true;
        }
        let Ok((host, port)) = address(other) else {
            return false;
        };
        let ip = match host {
            "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
            host => host.parse().ok(),
        };
        let listen = self.listen;
        ip.is_some_and(|ip| {
            let everywhere =
                listen.ip().is_unspecified() && (ip.is_loopback() || ip.is_unspecified());
            port == listen.port() && (SocketAddr::new(ip, port) == listen || everywhere)
        })
    }
}

/// Whether the address is one of this machine alone; unknown for a name.
fn is_loopback(text: &str) -> Option<bool> {
    match address(text).ok()?.0 {
        "localhost" => Some(true),
        host => Some(host.parse::<IpAddr>().ok()?.to_canonical().is_loopback()),
    }
}

/// Whether a node has kept counts in `dir`: certificates may be there before it does.
fn is_in_use(dir: &Path) -> bool {
    dir.join("db").join("CURRENT").exists()
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
