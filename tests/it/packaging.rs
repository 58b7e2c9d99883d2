//! The files in `config/` for services use only options that there are, and completions and man pages
//! are made.

use std::fs;
use std::process::Command;

const CTL: &str = env!("CARGO_BIN_EXE_ratelimitctl");
const DAEMON: &str = env!("CARGO_BIN_EXE_ratelimitd");

fn config(path: &str) -> String {
    fs::read_to_string(format!("{}/config/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The options of `ratelimitd serve` that a text uses.
fn options(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let calls = lines.iter().enumerate();
    let calls = calls.filter(|(_, line)| line.contains("ratelimitd serve"));
    let mut options = Vec::new();
    for (n, _) in calls {
        for line in &lines[n..] {
            let words = line.split_whitespace().filter(|it| it.starts_with("--"));
            options.extend(words.map(str::to_owned));
            if !line.trim_end().ends_with('\\') {
                break;
            }
        }
    }
    options
}

#[test]
fn services_start_the_node_with_options_that_there_are() {
    let help = Command::new(DAEMON)
        .args(["serve", "--help"])
        .output()
        .unwrap()
        .stdout;
    let help = String::from_utf8(help).unwrap();
    for path in ["systemd/ratelimitd.service", "kubernetes/ratelimit.yaml"] {
        let used = options(&config(path));
        assert!(used.len() > 1, "{path}: {used:?}");
        for option in used {
            assert!(help.contains(&format!("{option} ")), "{path}: {option}");
        }
    }
}

#[test]
fn completions_and_man_pages_are_made() {
    for (program, path) in [("ratelimitctl", CTL), ("ratelimitd", DAEMON)] {
        let made = Command::new(path)
            .args(["completions", "bash"])
            .output()
            .unwrap();
        assert!(made.status.success());
        assert!(String::from_utf8(made.stdout).unwrap().contains(program));
        let dir = tempfile::tempdir().unwrap();
        let pages = Command::new(path).arg("man").arg(dir.path()).status();
        assert!(pages.unwrap().success());
        let page = dir.path().join(format!("{program}.1"));
        assert!(fs::read_to_string(page).unwrap().contains(".TH"));
    }
}
