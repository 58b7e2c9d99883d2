//! Shell completions and man pages, made from the command line's own description; both programs
//! include this file.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Command, ValueHint};
use clap_complete::Shell;

/// Print the completions of a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ratelimitctl completions bash > /etc/bash_completion.d/ratelimitctl
  ratelimitd completions zsh > /usr/share/zsh/site-functions/_ratelimitd")]
pub(crate) struct Completions {
    /// Which shell
    shell: Shell,
}

/// Write a man page for each command
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ratelimitctl man /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// Directory to write to; it is made if it is missing
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: PathBuf,
}

impl Completions {
    /// Writes them to stdout.
    pub(crate) fn write(&self, mut command: Command) -> io::Result<()> {
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        let mut out = io::stdout().lock();
        out.write_all(&script)?;
        out.flush()
    }
}

impl Man {
    /// Writes them to the directory.
    pub(crate) fn write(&self, command: Command) -> io::Result<()> {
        std::fs::create_dir_all(&self.dir)?;
        clap_mangen::generate_to(command, &self.dir)
    }

    /// Where they go.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}
