//! `--watch`: shows a result again and again.

use std::time::Duration;

use tokio::select;
use tokio::signal::ctrl_c;
use tokio::time::sleep;

use crate::outcome::{Exit, Failure};
use crate::output::{self, Output, View};

/// The option, for the commands that have it.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Watch {
    /// Show it again every so many seconds, until Ctrl-C; 2 if no number is given
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "2",
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    watch: Option<u64>,
}

impl Watch {
    /// Shows what `look` gives, once or as often as is asked. Later looks may fail: it says so, and
    /// looks again.
    pub(crate) async fn show<V: View>(
        self,
        output: Output,
        mut look: impl AsyncFnMut() -> Result<V, Failure>,
    ) -> Result<Exit, Failure> {
        let Some(seconds) = self.watch else {
            output.show(&look().await?)?;
            return Ok(Exit::Ok);
        };
        let mut first = true;
        loop {
            let looked = select! {
                looked = look() => looked,
                _ = ctrl_c() => return Ok(Exit::Ok),
            };
            match looked {
                Ok(view) => output.show_over(&view)?,
                Err(failure) if first => return Err(failure),
                Err(failure) => output::say(&format!("error: {}", failure.reason())),
            }
            first = false;
            select! {
                () = sleep(Duration::from_secs(seconds)) => {}
                _ = ctrl_c() => return Ok(Exit::Ok),
            }
        }
    }
}
