//! The command: the `limits.toml` on stdout, what could not be carried over on stderr.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Subcommand;
use distributed_rate_limiter::config::render_policies;
use serde::Serialize;

use super::draft::{Draft, Note};
use super::{envoy, limitador, yaml};
use crate::outcome::{Exit, Failure};
use crate::output::{Output, Page, View, say};

/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 16 << 20;

const EXAMPLES: &str = "\
Examples:
  ratelimitctl import envoy ratelimit.yaml > limits.toml
  ratelimitctl import limitador limits.yaml > limits.toml
  ratelimitctl config validate limits.toml

What is written is a whole limits.toml. What could not be carried over is told on stderr, with its
line: read it before you put the file in force.";

/// Arguments of `import`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// A file of envoyproxy/ratelimit: a domain and its descriptors
    #[command(after_help = EXAMPLES)]
    Envoy {
        /// File to read
        file: PathBuf,
    },
    /// A limits file of Limitador
    #[command(after_help = EXAMPLES)]
    Limitador {
        /// File to read
        file: PathBuf,
    },
}

/// Runs `import`.
pub(crate) fn run(args: &Args, output: Output) -> Result<Exit, Failure> {
    let (file, import): (_, fn(&yaml::Node<'_>, &mut Draft)) = match &args.from {
        From::Envoy { file } => (file, envoy::import),
        From::Limitador { file } => (file, limitador::import),
    };
    let text = read(file).map_err(Failure::usage)?;
    let shown = imported(&text, import)
        .with_context(|| format!("cannot import {}", file.display()))
        .map_err(Failure::usage)?;
    output.show(&shown)?;
    for note in &shown.notes {
        say(&format!(
            "{}:{}: {}",
            file.display(),
            note.line,
            note.message
        ));
    }
    Ok(Exit::Ok)
}

/// What was made of a file.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    /// The `limits.toml`.
    pub(super) limits: String,
    /// What could not be carried over.
    pub(super) notes: Vec<Note>,
}

/// Makes a `limits.toml` of the documents in `text`.
pub(super) fn imported(
    text: &str,
    import: fn(&yaml::Node<'_>, &mut Draft),
) -> anyhow::Result<Shown> {
    let mut draft = Draft::default();
    let documents = yaml::parse(text)?;
    for document in &documents {
        import(&yaml::Node::new(document, text), &mut draft);
    }
    let (set, notes) = draft.finish()?;
    Ok(Shown {
        limits: render_policies(&set),
        notes,
    })
}

fn read(path: &Path) -> anyhow::Result<String> {
    let cannot = || format!("cannot read {}", path.display());
    let mut text = String::new();
    let file = File::open(path).with_context(cannot)?;
    let mut bounded = file.take(FILE_BYTES_MAX.saturating_add(1));
    bounded.read_to_string(&mut text).with_context(cannot)?;
    let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
    ensure!(
        bytes <= FILE_BYTES_MAX,
        "{} is larger than {FILE_BYTES_MAX} bytes",
        path.display()
    );
    Ok(text)
}

impl View for Shown {
    fn page(&self, page: &mut Page) {
        page.line(self.limits.trim_end());
    }
}
