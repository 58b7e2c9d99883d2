//! What `top` draws.

use std::ops::Range;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Row, Table};

use super::scroll::Scroll;
use crate::cluster::{NodeLine, Picture, short};
use crate::output::{bytes, number, percent, printable};

/// What is known when the screen is drawn.
#[derive(Debug, Default)]
pub(super) struct Screen {
    /// The last picture that was had.
    pub(super) picture: Option<Picture>,
    /// Why there is no newer one.
    pub(super) trouble: Option<String>,
    /// Which of the rows are shown.
    pub(super) scroll: Scroll,
}

/// Columns of a node: name, width, whether numbers stand in it, and the width of the terminal from
/// which on it is shown.
const COLUMNS: [(&str, u16, bool, u16); 10] = [
    ("NODE", 8, false, 0),
    ("ADDRESS", 22, false, 0),
    ("STATE", 9, false, 68),
    ("SLOTS", 6, true, 60),
    ("KEYS", 11, true, 102),
    ("CHECKS/S", 10, true, 0),
    ("GRANTED/S", 10, true, 90),
    ("DENIED/S", 10, true, 80),
    ("PROXIED", 8, true, 60),
    ("DEGRADED/S", 10, true, 113),
];

impl Screen {
    /// Draws it all.
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let [head, body, foot] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Min(0),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(Paragraph::new(self.head()), head);
        let mut keys = "q leaves".to_owned();
        if let Some(picture) = &self.picture {
            let (nodes, below) = (picture.nodes.len(), below(picture));
            let rows = nodes.saturating_add(below.len());
            // The table's heading always stays.
            let lines = usize::from(body.height.saturating_sub(1));
            let shown = self.scroll.fit(rows, lines);
            if self.scroll.is_needed() {
                let (from, to) = (shown.start.saturating_add(1), shown.end);
                keys = format!("q leaves   arrows and pages scroll: {from} to {to} of {rows}");
            }
            draw_rows(picture, (&below, shown), frame, body);
        }
        let foot_line = Line::from(keys).style(faint());
        frame.render_widget(Paragraph::new(foot_line), foot);
    }

    fn head(&self) -> Line<'static> {
        let text = match (&self.picture, &self.trouble) {
            (_, Some(trouble)) => format!("no answer: {}", printable(trouble, 200)),
            (None, None) => "asking the nodes …".to_owned(),
            (Some(picture), None) => heading(picture),
        };
        Line::from(text).style(Style::new().add_modifier(Modifier::BOLD))
    }
}

fn heading(picture: &Picture) -> String {
    let own = || picture.nodes.iter().filter_map(|node| node.own.as_ref());
    let checks = own().fold(0_u64, |sum, own| sum.saturating_add(own.rates.checks));
    let keys = own().fold(0_u64, |sum, own| sum.saturating_add(own.load.keys));
    let nodes = match picture.nodes.len() {
        1 => "1 node".to_owned(),
        more => format!("{more} nodes"),
    };
    format!(
        "{nodes}   {} checks/s   {} keys",
        number(checks),
        number(keys)
    )
}

fn faint() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

/// Draws those of the rows that are shown: first the nodes, then what stands `below` them.
fn draw_rows(
    picture: &Picture,
    (below, shown): (&[Line<'static>], Range<usize>),
    frame: &mut Frame<'_>,
    area: Rect,
) {
    let nodes = picture.nodes.len();
    let first = shown.start.min(nodes)..shown.end.min(nodes);
    let rest = shown.start.saturating_sub(nodes)..shown.end.saturating_sub(nodes);
    let table = u16::try_from(first.len().saturating_add(1)).unwrap_or(u16::MAX);
    let [table, lines] =
        Layout::vertical([Constraint::Length(table), Constraint::Min(0)]).areas(area);
    draw_nodes(picture.nodes.get(first).unwrap_or_default(), frame, table);
    let rest = below.get(rest).unwrap_or_default().to_vec();
    frame.render_widget(Paragraph::new(rest), lines);
}

fn draw_nodes(nodes: &[NodeLine], frame: &mut Frame<'_>, area: Rect) {
    let shown = |n: &usize| COLUMNS[*n].3 <= area.width;
    let kept: Vec<usize> = (0..COLUMNS.len()).filter(shown).collect();
    let pick = |cells: Vec<String>| {
        let cells = kept.iter().map(|&n| {
            let (_, width, is_number, _) = COLUMNS[n];
            let line = Line::from(printable(&cells[n], width.into()));
            if is_number {
                line.right_aligned()
            } else {
                line
            }
        });
        Row::new(cells.collect::<Vec<_>>())
    };
    let names = COLUMNS.iter().map(|column| column.0.to_owned());
    let header = pick(names.collect()).style(faint());
    let rows = nodes.iter().map(|node| {
        let row = pick(cells(node));
        if node.own.is_some() {
            row
        } else {
            row.style(faint())
        }
    });
    let widths = kept.iter().map(|&n| Constraint::Length(COLUMNS[n].1));
    let table = Table::new(rows, widths).header(header).column_spacing(1);
    frame.render_widget(table, area);
}

fn cells(node: &NodeLine) -> Vec<String> {
    let mut cells = vec![
        short(node.node),
        node.address.clone(),
        node.state.clone(),
        number(node.slots),
    ];
    let Some(own) = &node.own else {
        cells.resize(COLUMNS.len(), "?".to_owned());
        return cells;
    };
    let rates = own.rates;
    let asked = rates.checks.saturating_add(rates.proxied);
    cells.extend([
        number(own.load.keys),
        number(rates.checks),
        number(rates.grants),
        number(rates.denials),
        match asked {
            0 => "-".to_owned(),
            asked => percent(rates.proxied, asked),
        },
        number(rates.degraded),
    ]);
    cells
}

/// Hand-offs and what is wrong.
fn below(picture: &Picture) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for hand_off in &picture.hand_offs {
        lines.push(Line::from(format!(
            "{} → {}  {} slots  {}  {}",
            short(hand_off.from),
            short(hand_off.to),
            number(hand_off.slots.into()),
            printable(&hand_off.step, 16),
            bytes(hand_off.bytes)
        )));
    }
    for remark in &picture.remarks {
        lines.push(Line::from(format!("! {remark}")));
    }
    if !lines.is_empty() {
        lines.insert(0, Line::default());
    }
    lines
}

#[cfg(test)]
mod tests {
    use distributed_rate_limiter::client::HandOff;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyCode;

    use super::*;
    use crate::cluster::tests::{Seen, change, healthy};

    /// The lines of a terminal of this size.
    fn drawn(screen: &mut Screen, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let rows = buffer.content().chunks(usize::from(width));
        rows.map(|row| {
            let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
            line.trim_end().to_owned()
        })
        .collect()
    }

    fn of(all: &[Seen]) -> Screen {
        Screen {
            picture: Some(Picture::of(all)),
            ..Screen::default()
        }
    }

    #[test]
    fn more_rows_than_lines_are_scrolled_through() {
        let mut screen = of(&healthy(30));
        let (first, last) = ("00000001", "0000001e");
        let shows = |screen: &mut Screen, node: &str| {
            let lines = drawn(screen, 80, 12);
            assert!(lines[2].starts_with("NODE"), "{lines:?}");
            assert!(lines[11].starts_with("q leaves"), "{lines:?}");
            lines.iter().any(|line| line.starts_with(node))
        };
        assert!(shows(&mut screen, first) && !shows(&mut screen, last));
        screen.scroll.key(KeyCode::End);
        assert!(!shows(&mut screen, first) && shows(&mut screen, last));
        screen.scroll.key(KeyCode::PageUp);
        let lines = drawn(&mut screen, 80, 12);
        assert!(lines[11].contains("of 30"), "{lines:?}");
        screen.scroll.key(KeyCode::Home);
        assert!(shows(&mut screen, first));
    }

    #[test]
    fn nodes_stand_in_a_table_with_hand_offs_and_trouble_below() {
        let mut all = healthy(3);
        all[2].answer = Err("gone".into());
        change(&mut all, 0, |ring| {
            let mut hand_off = HandOff::default();
            (hand_off.from, hand_off.to, hand_off.slots) = (1 << 96, 2 << 96, 7);
            hand_off.step = "seal".into();
            ring.hand_offs.push(hand_off);
        });
        let lines = drawn(&mut of(&all), 80, 12);
        let expected = [
            "3 nodes   18,000 checks/s   24,690 keys",
            "",
            "NODE     ADDRESS                STATE      SLOTS   CHECKS/S   DENIED/S  PROXIED",
            "00000001 10.0.0.1:7400          alive      1,366      9,000          0   10.0 %",
            "00000002 10.0.0.2:7400          alive      1,365      9,000          0   10.0 %",
            "00000003 10.0.0.3:7400          alive      1,365          ?          ?        ?",
            "",
            "00000001 → 00000002  7 slots  seal  0 B",
            "! 00000003 at 10.0.0.99:7400 does not answer: gone",
            "",
            "",
            "q leaves",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn any_terminal_and_any_cluster_can_be_drawn() {
        for count in [1, 3, 30] {
            for (width, height) in [(1, 1), (20, 5), (60, 24), (100, 24), (200, 60)] {
                let lines = drawn(&mut of(&healthy(count)), width, height);
                assert_eq!(lines.len(), usize::from(height));
                if width >= 60 && height > 2 {
                    assert!(lines[0].contains("checks/s"), "{lines:?}");
                    assert!(lines.last().unwrap().contains("q leaves"), "{lines:?}");
                    assert!(lines[3].contains("00000001"), "{lines:?}");
                }
            }
        }
    }

    #[test]
    fn before_the_first_answer_and_without_one_it_says_so() {
        assert_eq!(
            drawn(&mut Screen::default(), 40, 3)[0],
            "asking the nodes …"
        );
        let mut screen = of(&healthy(1));
        screen.trouble = Some("no node could be reached".into());
        let lines = drawn(&mut screen, 60, 8);
        assert_eq!(lines[0], "no answer: no node could be reached");
        assert!(lines[3].contains("00000001"), "{lines:?}");
    }
}
