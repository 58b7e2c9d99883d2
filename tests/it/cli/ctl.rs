//! Runs the program.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Runs `ratelimitctl` with `stdin` as its input and none of the caller's environment.
pub(super) fn ctl_with(arguments: &[&str], stdin: &[u8]) -> Output {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let bytes = stdin.to_vec();
    // A program that ends early closes its end: that is its good right.
    let writer = std::thread::spawn(move || input.write_all(&bytes).ok());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

pub(super) fn ctl(arguments: &[&str]) -> Output {
    ctl_with(arguments, b"")
}

pub(super) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ratelimitctl"));
    command
        .args(arguments)
        .env_remove("RATELIMIT_ENDPOINT")
        .env_remove("RATELIMIT_CERTS");
    command
}

pub(super) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

pub(super) fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        unreachable!("no JSON on stdout: {out}\nstderr: {err}")
    })
}
