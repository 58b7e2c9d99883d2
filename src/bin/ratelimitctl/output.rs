//! What is written: results as a page for people or as JSON for scripts, on stdout; remarks on
//! stderr. The one place that writes to either.

use std::env;
use std::io::{self, IsTerminal, Write as _};

use comfy_table::{CellAlignment, Table, presets};
use ratatui::crossterm::terminal;
use serde::Serialize;

use crate::cli::Format;
pub(crate) use crate::figures::{bar, bar_within, bytes, number, percent, printable, time};
use crate::fit::{Column, fitting};

/// Stdout could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to stdout")]
pub(crate) struct StdoutError(#[source] pub(crate) io::Error);

/// A result that can be shown both ways: serialized for scripts, to whom the names of its fields
/// are a promise, and as a page for people.
pub(crate) trait View: Serialize {
    /// Writes it for people.
    fn page(&self, page: &mut Page);
}

/// Where results go, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
    painted: bool,
    /// Characters in a line of the terminal; absent if stdout is none.
    width: Option<usize>,
}

/// Moves to the top left and clears what is below: a page is written over the last one.
const OVER: &str = "\x1b[H\x1b[J";

impl Output {
    /// Writes in `format`; in colour if stdout is a terminal and `NO_COLOR` is not set.
    pub(crate) fn new(format: Format) -> Self {
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        let terminal = io::stdout().is_terminal();
        let size = terminal.then(|| terminal::size().ok()).flatten();
        Self {
            format,
            painted: !refused && !dumb && terminal,
            width: size.map(|(columns, _)| columns.into()),
        }
    }

    /// Writes `view` to stdout.
    pub(crate) fn show(self, view: &impl View) -> Result<(), StdoutError> {
        write_stdout(&self.text(view)?)
    }

    /// Writes `view` to stdout; on a terminal over what stands there, since it will be written
    /// again.
    pub(crate) fn show_over(self, view: &impl View) -> Result<(), StdoutError> {
        let text = self.text(view)?;
        match self.format {
            Format::Table if io::stdout().is_terminal() => write_stdout(&(OVER.to_owned() + &text)),
            Format::Table => write_stdout(&(text + "\n")),
            Format::Json => write_stdout(&text),
        }
    }

    fn text(self, view: &impl View) -> Result<String, StdoutError> {
        Ok(match self.format {
            Format::Json => serde_json::to_string(view)
                .map(|json| json + "\n")
                .map_err(|error| StdoutError(error.into()))?,
            Format::Table => {
                let mut page = Page::new(self.painted, self.width);
                view.page(&mut page);
                page.text
            }
        })
    }
}

fn write_stdout(text: &str) -> Result<(), StdoutError> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(StdoutError)
}

/// Writes a remark to stderr; if nobody reads it there is nobody to tell.
pub(crate) fn say(line: &str) {
    writeln!(io::stderr().lock(), "{line}").ok();
}

/// Writes `line` to stderr over the last line that was written so; nothing clears it.
pub(crate) fn say_over(line: &str) {
    let mut stderr = io::stderr().lock();
    write!(stderr, "\r\x1b[K{line}")
        .and_then(|()| stderr.flush())
        .ok();
}

/// Text for people, built from top to bottom.
#[derive(Debug)]
pub(crate) struct Page {
    text: String,
    painted: bool,
    width: Option<usize>,
}

/// Why a piece of text stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Allowed, healthy.
    Good,
    /// Denied, failed.
    Bad,
    /// A heading.
    Strong,
    /// Less important than the rest.
    Faint,
}

impl Page {
    /// An empty page; lines of tables are at most `width` characters long, if there is one.
    pub(crate) const fn new(painted: bool, width: Option<usize>) -> Self {
        Self {
            text: String::new(),
            painted,
            width,
        }
    }

    /// What stands on it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Characters in a line, if there is a bound.
    pub(crate) const fn width(&self) -> Option<usize> {
        self.width
    }

    /// A table as wide as fits; what is left out is named below it.
    pub(crate) fn fitting_table(&mut self, columns: &[Column], rows: &[Vec<String>]) {
        let kept = fitting(self.width, columns, rows);
        let names: Vec<_> = kept
            .iter()
            .map(|&n| (columns[n].name, columns[n].alignment))
            .collect();
        let rows = rows.iter().map(|row| {
            let cells = kept.iter().filter_map(|&n| row.get(n).cloned());
            cells.collect()
        });
        self.table(&names, rows.collect());
        let left_out = (0..columns.len()).filter(|n| !kept.contains(n));
        let left_out = left_out.map(|n| columns[n].name);
        let left_out: Vec<_> = left_out.filter(|name| !name.is_empty()).collect();
        if !left_out.is_empty() {
            let remark = format!("(no room for {})", left_out.join(", "));
            self.line(&self.tone(Tone::Faint, &remark));
        }
    }

    /// A line of text.
    pub(crate) fn line(&mut self, text: &str) {
        self.text.push_str(text.trim_end());
        self.text.push('\n');
    }

    /// An empty line and a heading.
    pub(crate) fn heading(&mut self, text: &str) {
        let heading = self.tone(Tone::Strong, text);
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.line(&heading);
    }

    /// Names and values below each other.
    pub(crate) fn fields(&mut self, fields: &[(&str, String)]) {
        let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in fields {
            let name = self.tone(Tone::Faint, &format!("{name:width$}"));
            self.line(&format!("{name}  {value}"));
        }
    }

    /// A table without rules; `columns` name each column and say where its numbers stand.
    pub(crate) fn table(&mut self, columns: &[(&str, CellAlignment)], rows: Vec<Vec<String>>) {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header(columns.iter().map(|(name, _)| *name));
        table.add_rows(rows);
        for ((_, alignment), column) in columns.iter().zip(table.column_iter_mut()) {
            column.set_padding((0, 2)).set_cell_alignment(*alignment);
        }
        for line in table.lines() {
            self.line(&line);
        }
    }

    /// `text` in the colour of `tone`, if colours are wanted.
    pub(crate) fn tone(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Strong => "1",
            Tone::Faint => "2",
        };
        if self.painted {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_without_colour_holds_no_escapes_and_no_trailing_blanks() {
        let mut page = Page::new(false, None);
        page.heading("keys");
        page.fields(&[("a", "1".into()), ("bcd", "2".into())]);
        page.table(
            &[("KEY", CellAlignment::Left), ("N", CellAlignment::Right)],
            vec![vec!["x".into(), "10".into()], vec!["yy".into(), "9".into()]],
        );
        assert_eq!(
            page.text,
            "keys\na    1\nbcd  2\nKEY   N\nx    10\nyy    9\n"
        );
    }
}
