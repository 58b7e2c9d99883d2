//! The rules of direction, size and naming that no lint keeps.

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms with those of ours that each may use; `node` and the programs may use all.
const ROOMS: [(&str, &str); 15] = [
    ("types", ""),
    ("protocol", "types"),
    ("routing", "types"),
    ("limiter", "types"),
    ("ownership", "types limiter"),
    ("replication", "types"),
    ("membership", "types"),
    (
        "server",
        "types protocol routing limiter transport telemetry",
    ),
    ("storage", "types protocol routing limiter telemetry"),
    ("transport", "types protocol routing limiter telemetry"),
    (
        "client",
        "types protocol routing limiter transport telemetry",
    ),
    ("config", "types protocol routing limiter telemetry"),
    ("telemetry", "types protocol routing limiter"),
    (
        "testing",
        "types limiter transport client config telemetry node",
    ),
    (
        "sim",
        "types limiter ownership replication membership routing",
    ),
];
const PURE: [&str; 8] = [
    "types",
    "protocol",
    "routing",
    "limiter",
    "ownership",
    "replication",
    "membership",
    "sim",
];
/// What a pure room has no use for: the world, time, chance, and the order of hashes.
#[rustfmt::skip]
const NOT_PURE: [&str; 14] = [
    "tokio", "quinn", "rustls", "rocksdb", "tracing", "std::fs", "std::net", "std::env", "std::thread",
    "Instant", "SystemTime", "HashMap", "HashSet", "rand::",
];
/// Words for which another one is used; see the naming rules.
#[rustfmt::skip]
const WORDS: [&str; 14] = [
    "shard", "partition", "leader", "quota", "user", "tenant", "manager", "handler", "helper",
    "util", "utils", "common", "data", "info",
];
const KINDS: [&str; 6] = ["struct", "enum", "trait", "type", "fn", "mod"];
/// Names that hold one of these words all the same, each with its reason.
const NAMES: [(&str, &str); 3] = [
    ("DataReport", "what a data directory holds"),
    ("user", "the field of an access log is called so"),
    (
        "common_version",
        "the version that two sides have in common",
    ),
];
const LINES_MAX: usize = 400;
/// Files above [`LINES_MAX`], each with its reason.
const LONG: [(&str, &str); 0] = [];

/// All Rust files below `dir`, with their paths from the top, in order.
fn files(dir: &str) -> Vec<(String, String)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open = vec![top.join(dir)];
    let mut files = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|it| it == "rs") {
            let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
            files.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    files.sort();
    assert!(!files.is_empty(), "{dir} is empty");
    files
}

/// The numbered lines of a file that are neither comments nor tests.
fn code<'a>(name: &str, text: &'a str) -> Vec<(usize, &'a str)> {
    if name.contains("/tests/") || name.ends_with("tests.rs") {
        return Vec::new();
    }
    let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    let lines = text[..end].lines().enumerate();
    lines
        .map(|(n, line)| (n + 1, line.split("//").next().unwrap_or("")))
        .collect()
}

#[test]
fn rooms_use_only_what_they_may() {
    let mut found = Vec::new();
    for (room, allowed) in ROOMS {
        let others = ROOMS.iter().map(|(other, _)| *other).chain(["node"]);
        let forbidden =
            others.filter(|it| *it != room && !allowed.split(' ').any(|may| may == *it));
        let mut forbidden: Vec<String> = forbidden.map(|it| format!("crate::{it}")).collect();
        if PURE.contains(&room) {
            forbidden.extend(NOT_PURE.map(String::from));
        }
        for (name, text) in files(&format!("src/{room}")) {
            for (n, line) in code(&name, &text) {
                let bad = forbidden.iter().filter(|it| line.contains(it.as_str()));
                found.extend(bad.map(|it| format!("{name}:{n}: {room} may not use {it}")));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn files_are_short_or_have_a_reason() {
    let all = ["src", "tests", "benches"].into_iter().flat_map(files);
    let long: Vec<_> = all
        .filter(|(_, text)| text.lines().count() > LINES_MAX)
        .map(|it| it.0)
        .collect();
    let listed = LONG.map(|(name, _)| name.to_owned());
    assert_eq!(
        long, listed,
        "the files above {LINES_MAX} lines, and those listed as such"
    );
}

/// The words of a name in snake or camel case, in small letters.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if (c == '_' || c.is_uppercase()) && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        words
            .last_mut()
            .unwrap()
            .extend(c.to_lowercase().filter(|c| *c != '_'));
    }
    words
}

#[test]
fn names_use_the_words_of_the_design() {
    let mut found = Vec::new();
    for (file, text) in files("src") {
        for (n, line) in code(&file, &text) {
            let mut tokens = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            if !tokens.any(|token| KINDS.contains(&token)) {
                continue;
            }
            let name = tokens.next().unwrap_or_default();
            let listed = name.contains("data_dir") || NAMES.iter().any(|(it, _)| *it == name);
            if !listed
                && words(name)
                    .iter()
                    .any(|word| WORDS.contains(&word.as_str()))
            {
                found.push(format!("{file}:{n}: {name}"));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_top_level_holds_nothing_else() {
    #[rustfmt::skip]
    let known = [
        "Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "benches", "config", "src", "target",
        "tests", "tools",
    ];
    let names = fs::read_dir(env!("CARGO_MANIFEST_DIR"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut others: Vec<_> = names.map(name).collect();
    others.retain(|name| !name.starts_with('.') && !known.contains(&name.as_str()));
    assert!(others.is_empty(), "{others:?}");
}
