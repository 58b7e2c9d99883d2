//! Which columns of a table fit a terminal.

use comfy_table::CellAlignment;

/// Blanks between two columns.
const GAP: usize = 2;

/// A column of a table that may be too wide.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) alignment: CellAlignment,
    /// 0: it always stays; the higher, the sooner it is left out.
    pub(crate) leave_out: u8,
}

/// The places of the columns that fit `width` characters, or of all if there is no bound.
pub(crate) fn fitting(
    width: Option<usize>,
    columns: &[Column],
    rows: &[Vec<String>],
) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let Some(width) = width else {
        return kept;
    };
    let wide: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(n, column)| {
            let cells = rows.iter().filter_map(|row| row.get(n));
            let cells = cells.map(|cell| cell.chars().count());
            cells.fold(column.name.chars().count(), usize::max)
        })
        .collect();
    loop {
        let gaps = GAP * kept.len().saturating_sub(1);
        let sum: usize = kept.iter().map(|&n| wide[n]).sum();
        let first_to_go = kept
            .iter()
            .copied()
            .filter(|&n| columns[n].leave_out > 0)
            .max_by_key(|&n| columns[n].leave_out);
        match first_to_go {
            Some(gone) if sum + gaps > width => kept.retain(|&n| n != gone),
            Some(_) | None => return kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_left_out_until_the_rest_fits() {
        let column = |name, leave_out| Column {
            name,
            alignment: CellAlignment::Left,
            leave_out,
        };
        let columns = [
            column("AAAA", 0),
            column("B", 1),
            column("C", 2),
            column("D", 0),
        ];
        let rows = [vec!["a".into(), "bbbb".into(), "ccccc".into(), "d".into()]];
        for (width, expected) in [
            (None, &[0, 1, 2, 3][..]),
            (Some(20), &[0, 1, 2, 3]),
            (Some(19), &[0, 1, 3]),
            (Some(12), &[0, 3]),
            (Some(1), &[0, 3]),
        ] {
            assert_eq!(fitting(width, &columns, &rows), expected, "{width:?}");
        }
    }
}
