//! What was probably meant by a word that is not known.

/// The known word that is nearest to `given`, if it is near enough to be a slip of the pen: at
/// most one edit in three letters, at least one.
pub(super) fn nearest<'k>(
    given: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    // No known word is longer than this; a longer one would only cost time.
    const GIVEN_CHARS_MAX: usize = 80;
    let given = given.to_lowercase().replace('-', "_");
    let length = given.chars().count();
    if length == 0 || length > GIVEN_CHARS_MAX {
        return None;
    }
    let allowed = (length / 3).max(1);
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&given, word), word))
        .filter(|&(edits, word)| edits <= allowed && edits < word.chars().count())
        .min_by_key(|&(edits, _)| edits)
        .map(|(_, word)| word)
}

/// The hint "did you mean …?", if there is a near word.
pub(super) fn did_you_mean<'k>(
    given: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<String> {
    nearest(given, known).map(|word| format!("did you mean `{word}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_their_word_and_strangers_none() {
        let known = ["limit", "limits", "on_failure", "durability", "shadow", "s"];
        let cases = [
            ("limt", Some("limit")),
            ("Limits", Some("limits")),
            ("on-failure", Some("on_failure")),
            ("durabilty", Some("durability")),
            ("shadwo", Some("shadow")),
            ("x", None),
            ("color", None),
            ("", None),
        ];
        for (given, expected) in cases {
            assert_eq!(nearest(given, known), expected, "{given}");
        }
        assert_eq!(nearest(&"a".repeat(1 << 20), known), None);
    }
}
