//! The command line of `top`: one thread asks the nodes, this one draws and listens to keys.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::select;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::screen::Screen;
use crate::cli::Format;
use crate::cluster::Cluster;
use crate::nodes::{self, Nodes};
use crate::outcome::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  ratelimitctl top
  ratelimitctl top --endpoint limits-1.example:7400,limits-2.example:7400

It asks every node once a second. The arrow keys, PageUp, PageDown, Home and End scroll; q, Esc or
Ctrl-C leaves. For scripts there is `ring --watch -o json`. It needs an admin's certificate.";

/// Time between two questions to the nodes.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Longest wait for a key before it is looked whether there is something new to draw.
const KEY_WAIT: Duration = Duration::from_millis(100);

/// Arguments of `top`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

/// What the two threads share.
#[derive(Debug, Default)]
struct Shared {
    screen: Mutex<Screen>,
    /// The asking thread has ended, or is to end.
    over: Mutex<bool>,
    leave: Notify,
}

/// Runs `top`.
pub(crate) fn run(_args: &Args, nodes: &Nodes, format: Format) -> Result<Exit, Failure> {
    let terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
    if format != Format::Table || !terminal {
        let none = anyhow::anyhow!("top draws on a terminal, and there is none");
        let hint = "for scripts there is `ratelimitctl ring --watch -o json`";
        return Err(Failure::usage(none).hint(hint));
    }
    let shared = Arc::new(Shared::default());
    // Whoever cannot be reached at all is told of without a screen.
    nodes::wait_for(async {
        let first = Cluster::new(nodes).picture().await?;
        shared.screen.lock().picture = Some(first);
        Ok(())
    })?;
    thread::scope(|scope| {
        let asking = Arc::clone(&shared);
        let asked = scope.spawn(move || {
            let end = nodes::wait_for(ask(nodes, &asking));
            *asking.over.lock() = true;
            end
        });
        // It also sees to it that a panic gives the terminal back.
        let drawn = ratatui::try_init().and_then(|mut terminal| draw(&mut terminal, &shared));
        ratatui::restore();
        shared.leave.notify_one();
        let asked = asked.join();
        drawn.map_err(Failure::internal)?;
        asked
            .map_err(|_| Failure::internal(anyhow::anyhow!("the thread that asks panicked")))??;
        Ok(Exit::Ok)
    })
}

/// Asks the nodes until it is time to leave.
async fn ask(nodes: &Nodes, shared: &Shared) -> Result<(), Failure> {
    let mut cluster = Cluster::new(nodes);
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::internal)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(Failure::internal)?;
    loop {
        let look = async {
            let picture = cluster.picture().await;
            {
                let mut screen = shared.screen.lock();
                match picture {
                    Ok(picture) => (screen.picture, screen.trouble) = (Some(picture), None),
                    Err(failure) => screen.trouble = Some(failure.reason()),
                }
            }
            sleep(LOOK_INTERVAL).await;
        };
        select! {
            () = look => {}
            () = shared.leave.notified() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
        }
    }
}

/// Draws until somebody wants to leave.
fn draw(terminal: &mut DefaultTerminal, shared: &Shared) -> io::Result<()> {
    while !*shared.over.lock() {
        terminal.draw(|frame| shared.screen.lock().draw(frame))?;
        if event::poll(KEY_WAIT)?
            && let Event::Key(key) = event::read()?
        {
            if leaves(key) {
                return Ok(());
            }
            if key.kind != KeyEventKind::Release {
                shared.screen.lock().scroll.key(key.code);
            }
        }
    }
    Ok(())
}

fn leaves(key: KeyEvent) -> bool {
    let interrupt = key.modifiers.contains(KeyModifiers::CONTROL)
        && matches!(key.code, KeyCode::Char('c' | 'd'));
    let quits = matches!(key.code, KeyCode::Char('q' | 'Q') | KeyCode::Esc);
    key.kind == KeyEventKind::Press && (interrupt || quits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_escape_and_interrupt_leave_and_nothing_else() {
        let none = KeyModifiers::NONE;
        for (code, modifiers, expected) in [
            (KeyCode::Char('q'), none, true),
            (KeyCode::Esc, none, true),
            (KeyCode::Char('c'), KeyModifiers::CONTROL, true),
            (KeyCode::Char('c'), none, false),
            (KeyCode::Enter, none, false),
        ] {
            assert_eq!(leaves(KeyEvent::new(code, modifiers)), expected, "{code:?}");
        }
    }
}
