//! Which rows of a list are shown when there are more than lines for them.

use std::ops::Range;

use ratatui::crossterm::event::KeyCode;

/// A window on the rows; it never shows less than it could.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scroll {
    first: usize,
    /// As drawn last: all rows, and lines for them.
    rows: usize,
    lines: usize,
}

impl Scroll {
    /// Fits the window to so many rows and lines; the rows that it shows.
    pub(super) fn fit(&mut self, rows: usize, lines: usize) -> Range<usize> {
        (self.rows, self.lines) = (rows, lines);
        self.move_to(self.first);
        self.first..self.first.saturating_add(lines).min(rows)
    }

    /// Whether there is more than is shown.
    pub(super) const fn is_needed(&self) -> bool {
        self.rows > self.lines
    }

    /// Moves the window, if the key is one for that.
    pub(super) fn key(&mut self, key: KeyCode) {
        // A line of the page before stays, to read on from.
        let page = self.lines.saturating_sub(1).max(1);
        match key {
            KeyCode::Up => self.move_to(self.first.saturating_sub(1)),
            KeyCode::Down => self.move_to(self.first.saturating_add(1)),
            KeyCode::PageUp => self.move_to(self.first.saturating_sub(page)),
            KeyCode::PageDown | KeyCode::Char(' ') => self.move_to(self.first.saturating_add(page)),
            KeyCode::Home => self.move_to(0),
            KeyCode::End => self.move_to(self.rows),
            _ => {}
        }
    }

    fn move_to(&mut self, first: usize) {
        self.first = first.min(self.rows.saturating_sub(self.lines));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_move_the_window_and_never_beyond_the_rows() {
        let mut scroll = Scroll::default();
        assert_eq!(scroll.fit(20, 8), 0..8);
        for (key, shown) in [
            (KeyCode::Up, 0..8),
            (KeyCode::Down, 1..9),
            (KeyCode::PageDown, 8..16),
            (KeyCode::PageDown, 12..20),
            (KeyCode::Down, 12..20),
            (KeyCode::Enter, 12..20),
            (KeyCode::PageUp, 5..13),
            (KeyCode::End, 12..20),
            (KeyCode::Home, 0..8),
            (KeyCode::Char(' '), 7..15),
        ] {
            scroll.key(key);
            assert_eq!(scroll.fit(20, 8), shown, "{key:?}");
            assert!(scroll.is_needed());
        }
    }

    #[test]
    fn a_window_that_grows_shows_what_there_is() {
        let mut scroll = Scroll::default();
        scroll.fit(20, 8);
        scroll.key(KeyCode::End);
        assert_eq!(scroll.fit(20, 15), 5..20);
        assert_eq!(scroll.fit(9, 15), 0..9);
        assert!(!scroll.is_needed());
        assert_eq!(scroll.fit(9, 0), 0..0);
        scroll.key(KeyCode::PageDown);
        assert_eq!(scroll.fit(0, 0), 0..0);
    }
}
