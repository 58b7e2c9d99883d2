//! What stands in paths and query strings: percent-encoding, and parameters, each known and given
//! once. A misspelt `cost` that nobody noticed would count too little.

use super::problem::{Failure, Problem};

/// The parameters that requests may have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    pub(super) key: Option<String>,
    pub(super) cost: Option<u64>,
    pub(super) timeout_ms: Option<u64>,
}

/// A parameter of a query string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parameter {
    Key,
    Cost,
    TimeoutMs,
}

impl Parameter {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Cost => "cost",
            Self::TimeoutMs => "timeout_ms",
        }
    }
}

impl Parameters {
    /// Reads a query string, in which only `known` may be.
    pub(super) fn read(query: Option<&str>, known: &[Parameter]) -> Result<Self, Failure> {
        let mut read = Self::default();
        let pairs = query.unwrap_or_default().split('&');
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name, Space::Plus)?, decode(value, Space::Plus)?);
            let Some(parameter) = known.iter().find(|it| it.name() == name) else {
                return Err(unknown(&name, known));
            };
            let twice = match parameter {
                Parameter::Key => read.key.replace(value).is_some(),
                Parameter::Cost => read.cost.replace(number("cost", &value)?).is_some(),
                Parameter::TimeoutMs => {
                    let timeout_ms = number("timeout_ms", &value)?;
                    read.timeout_ms.replace(timeout_ms).is_some()
                }
            };
            if twice {
                return Err(Problem::BadRequest.because(format!("`{name}` is given twice")));
            }
        }
        Ok(read)
    }
}

fn unknown(name: &str, known: &[Parameter]) -> Failure {
    let name: String = name.chars().take(64).collect();
    let known: Vec<_> = known.iter().map(|it| it.name()).collect();
    let known = if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    };
    Problem::BadRequest.because(format!(
        "`{name}` is not a parameter here; known are {known}"
    ))
}

/// A whole number of a parameter or header.
pub(super) fn number(name: &str, text: &str) -> Result<u64, Failure> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| {
        let text: String = text.chars().take(64).collect();
        let detail = format!("`{name}` must be a whole number of at most 64 bits, not `{text}`");
        Problem::BadRequest.because(detail)
    })
}

/// What a plus stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    /// A space, as in query strings of forms.
    Plus,
    /// Itself, as in paths.
    Percent20,
}

/// Undoes percent-encoding.
pub(super) fn decode(text: &str, space: Space) -> Result<String, Failure> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = rest.next().and_then(hex).zip(rest.next().and_then(hex));
                let (high, low) = digits.ok_or_else(|| {
                    Problem::BadRequest.because(
                        "a `%` must be followed by two hexadecimal digits; write it as %25",
                    )
                })?;
                high << 4 | low
            }
            b'+' if space == Space::Plus => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| {
        Problem::BadRequest.because(
            "what is percent-encoded must be UTF-8; send other bytes as hexadecimal digits",
        )
    })
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: &[Parameter] = &[Parameter::Key, Parameter::Cost, Parameter::TimeoutMs];

    #[test]
    fn parameters_are_known_and_given_once() {
        let read = |query| Parameters::read(Some(query), ALL).map_err(|it| it.detail);
        let given = read("cost=3&key=a%20b+c%2B&timeout_ms=50&").unwrap();
        let expected = Parameters {
            key: Some("a b c+".into()),
            cost: Some(3),
            timeout_ms: Some(50),
        };
        assert_eq!(given, expected);
        assert_eq!(read("key=").unwrap().key.as_deref(), Some(""));
        for (query, said) in [
            (
                "kost=3",
                "`kost` is not a parameter here; known are key, cost, timeout_ms",
            ),
            ("key=a&key=b", "`key` is given twice"),
            ("cost=-1", "`cost` must be a whole number"),
            ("cost=", "`cost` must be a whole number"),
            ("cost=18446744073709551616", "at most 64 bits"),
            ("key=%zz", "two hexadecimal digits"),
            ("key=%f", "two hexadecimal digits"),
            ("key=%ff", "must be UTF-8"),
        ] {
            let detail = read(query).unwrap_err();
            assert!(detail.contains(said), "{query}: {detail}");
        }
        assert!(Parameters::read(Some("key=a"), &[]).is_err());
        assert_eq!(Parameters::read(None, &[]).unwrap(), Parameters::default());
    }

    proptest! {
        #[test]
        fn any_text_can_be_encoded(text: String) {
            let encoded: Vec<_> = text.bytes().map(|b| format!("%{b:02X}")).collect();
            let encoded = encoded.concat();
            prop_assert_eq!(decode(&encoded, Space::Percent20).unwrap(), text.clone());
            prop_assert_eq!(decode(&encoded, Space::Plus).unwrap(), text);
        }
    }
}
