//! `certs`: the cluster's authority, and certificates for nodes, clients and admins.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use distributed_rate_limiter::transport::certs::{Authority, Existing};
use distributed_rate_limiter::transport::{CertError, Role};
use serde::Serialize;

use crate::outcome::{Exit, Failure};
use crate::output::{Output, Page, View};

const EXAMPLES: &str = "\
Examples:
  ratelimitctl certs init --dir certs
  ratelimitctl certs node node-1 --dir certs --host limits.example.org --host 10.0.0.7
  ratelimitctl certs client web-frontend --dir certs
  ratelimitctl certs admin ops --dir certs
  ratelimitctl certs node node-2 --ca certs --dir node-2 --host limits-2.example.org

`init` makes ca.pem and ca.key; the others sign with them. With --ca the authority is in another
directory, so that each node of a cluster has one of its own to be copied to its machine. A node needs ca.pem, node.pem and
node.key; a client ca.pem, client.pem and client.key; this program ca.pem, admin.pem and admin.key.
Whoever has ca.key can make a certificate of any role: keep it off the nodes.";

/// Arguments of `certs`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a certificate authority
    Init {
        #[command(flatten)]
        place: Place,
    },
    /// Make a node's certificate
    Node {
        /// Name of the node, for people
        name: String,
        /// DNS name or IP address that clients reach it by, besides loopback; may be repeated
        #[arg(long, value_name = "HOST")]
        host: Vec<String>,
        #[command(flatten)]
        issue: Issue,
    },
    /// Make a client's certificate: checks, refunds, reservations and resets
    Client {
        /// Name of the client, for people
        name: String,
        #[command(flatten)]
        issue: Issue,
    },
    /// Make an admin's certificate: all that a client may, and looking into the node
    Admin {
        /// Name of the admin, for people
        name: String,
        #[command(flatten)]
        issue: Issue,
    },
}

/// Where the files are.
#[derive(Debug, clap::Args)]
struct Place {
    /// Directory of the new files, and of the authority; made if it is not there
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Replace files that are there already
    #[arg(long)]
    force: bool,
}

/// Where a certificate is made, and by whose authority.
#[derive(Debug, clap::Args)]
struct Issue {
    /// Directory of the authority, if it is another one; its ca.pem is put beside the new files
    #[arg(long, value_name = "DIR")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

impl Place {
    const fn existing(&self) -> Existing {
        if self.force {
            Existing::Replace
        } else {
            Existing::Refuse
        }
    }
}

/// Runs `certs`.
pub(crate) fn run(args: &Args, output: Output) -> Result<Exit, Failure> {
    let made = match &args.action {
        Action::Init { place } => Authority::create("distributed-rate-limiter")
            .and_then(|authority| authority.save(&place.dir, place.existing())),
        Action::Node { name, host, issue } => issue.make(Role::Node, name, host),
        Action::Client { name, issue } => issue.make(Role::Client, name, &[]),
        Action::Admin { name, issue } => issue.make(Role::Admin, name, &[]),
    };
    let files = made.map_err(failure)?;
    output.show(&Made::of(&files))?;
    Ok(Exit::Ok)
}

impl Issue {
    fn make(&self, role: Role, name: &str, hosts: &[String]) -> Result<Vec<PathBuf>, CertError> {
        let Self { ca, place } = self;
        let authority = Authority::load(ca.as_ref().unwrap_or(&place.dir))?;
        let issued = authority.issue(role, name, hosts)?;
        let mut files = Vec::new();
        if ca.is_some() {
            files.extend(authority.save_cert(&place.dir, place.existing())?);
        }
        files.extend(issued.save(&place.dir, place.existing())?);
        Ok(files)
    }
}

fn failure(error: CertError) -> Failure {
    match &error {
        CertError::Exists { .. } => Failure::usage(error)
            .hint("--force replaces it, and what a replaced ca.key has signed is worthless then; for one more node, give a directory of its own with --dir, and --ca"),
        CertError::Make(_) | CertError::Tls(_) => Failure::internal(error),
        _ => Failure::usage(error),
    }
}

/// The files that were written.
#[derive(Debug, Serialize)]
struct Made {
    files: Vec<String>,
}

impl Made {
    fn of(files: &[PathBuf]) -> Self {
        let shown = |path: &PathBuf| Path::display(path).to_string();
        Self {
            files: files.iter().map(shown).collect(),
        }
    }
}

impl View for Made {
    fn page(&self, page: &mut Page) {
        for file in &self.files {
            page.line(file);
        }
    }
}
