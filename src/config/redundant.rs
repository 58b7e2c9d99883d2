//! Limits that stand beside a stricter one and so never deny anything.

use crate::limiter::policy::Limit;

/// The limits that never bind, each with the one that is always reached first, as places in
/// `limits`. Of two equal ones the later is named.
pub(super) fn redundant(limits: &[Limit]) -> Vec<(usize, usize)> {
    let stricter = |n: usize, limit: Limit| {
        limits.iter().enumerate().position(|(other_n, other)| {
            let twice = *other == limit;
            other_n != n && includes(*other, limit) && (!twice || other_n < n)
        })
    };
    limits
        .iter()
        .enumerate()
        .filter_map(|(n, limit)| stricter(n, *limit).map(|other| (n, other)))
        .collect()
}

/// Whether `limit` holds wherever `stricter` does: its window is covered by so many of the
/// stricter one's, each of which lets at most so many pass.
fn includes(stricter: Limit, limit: Limit) -> bool {
    let windows = limit.window_ms().div_ceil(stricter.window_ms());
    let passes = u128::from(stricter.permits()) * u128::from(windows);
    passes <= u128::from(limit.permits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_a_stricter_one_includes_is_found() {
        type Case = (&'static [&'static str], &'static [(usize, usize)]);
        let cases: [Case; 11] = [
            (&["10/s", "1000/hour"], &[]),
            (&["5/min", "20/hour"], &[]),
            (&["10/min", "20/min"], &[(1, 0)]),
            (&["20/min", "10/min"], &[(0, 1)]),
            (&["10/min", "10/min"], &[(1, 0)]),
            (&["10/s", "600/min"], &[(1, 0)]),
            (&["10/s", "599/min"], &[]),
            (&["10/s", "5/min"], &[(0, 1)]),
            (&["2/3s", "8/10s"], &[(1, 0)]),
            (&["2/3s", "7/10s"], &[]),
            (&["18446744073709551615/ms", "1/day"], &[(0, 1)]),
        ];
        for (texts, expected) in cases {
            let limits: Vec<Limit> = texts.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(redundant(&limits), expected, "{texts:?}");
        }
    }
}
