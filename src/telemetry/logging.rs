//! Logs of the process: human or JSON lines on standard error.
//!
//! The level comes from the configuration; `RUST_LOG` wins, so that a running setup can be looked
//! into without a change of files. Colour is used on a terminal only, and never when `NO_COLOR` is
//! set.

use std::env::{self, VarError};
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, IsTerminal};
use std::str::FromStr;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people: one line an event, with colour on a terminal. The default.
    #[default]
    Human,
    /// For machines: one JSON object a line.
    Json,
}

impl LogFormat {
    /// The word used in `node.toml` and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Json => "json",
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for LogFormat {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        match text {
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            other => Err(LogError::Format {
                given: other.to_owned(),
            }),
        }
    }
}

/// Why logging cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The word is no format.
    #[error("`{given}` is not a log format; use human or json")]
    Format {
        /// The word as given.
        given: String,
    },
    /// The level or a directive cannot be read.
    #[error("`{given}` is not a log level: {reason}")]
    Level {
        /// The text as given.
        given: String,
        /// Which part is wrong.
        reason: String,
    },
    /// The environment's directives cannot be read.
    #[error("RUST_LOG=`{given}` cannot be read: {reason}; unset it or correct it")]
    Environment {
        /// The text as given.
        given: String,
        /// Which part is wrong.
        reason: String,
    },
    /// The process logs already.
    #[error("logging is set up already; do it once, at the start of the process")]
    Twice,
}

/// Sets up the logs of this process. `level` is a level or a list of directives, such as
/// `"info,distributed_rate_limiter::storage=debug"`; `RUST_LOG`, if set and not empty, is used
/// instead.
///
/// # Errors
/// [`LogError`]; nothing is logged then.
pub fn init(format: LogFormat, level: &str) -> Result<(), LogError> {
    init_with_traces(format, level, None).map(drop)
}

/// Sends traces while it is there, if any are sent; dropped, it sends those that wait.
#[derive(Debug, Default)]
pub struct Traces {
    #[cfg(feature = "otlp")]
    #[expect(dead_code, reason = "kept to be dropped at the end")]
    sending: Option<super::traces::Sending>,
}

/// The same, and sends traces of sampled requests to the OpenTelemetry collector at `otlp`, else at
/// what `OTEL_EXPORTER_OTLP_ENDPOINT` says in the environment; to none if there is neither. What is
/// wrong with that is logged, as is that the program was built without the feature `otlp`.
///
/// # Errors
/// [`LogError`]; nothing is logged then.
pub fn init_with_traces(
    format: LogFormat,
    level: &str,
    otlp: Option<&str>,
) -> Result<Traces, LogError> {
    let environment = match env::var("RUST_LOG") {
        Ok(directives) => Some(directives),
        Err(VarError::NotPresent) => None,
        Err(VarError::NotUnicode(directives)) => Some(directives.to_string_lossy().into_owned()),
    };
    let filter = filter(level, environment.as_deref())?;
    let no_color = env::var_os("NO_COLOR");
    let colour = colour(no_color.as_deref(), io::stderr().is_terminal());
    begin(format, (filter, colour), otlp)
}

#[cfg(feature = "otlp")]
fn begin(
    format: LogFormat,
    (filter, colour): (EnvFilter, bool),
    otlp: Option<&str>,
) -> Result<Traces, LogError> {
    let of_environment = env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok();
    let url = otlp.map(str::to_owned).or(of_environment);
    let url = url.filter(|url| !url.is_empty());
    let started = url
        .map(|url| super::traces::Sending::start(&url))
        .transpose();
    let (sending, problem) = match started {
        Ok(started) => (started, None),
        Err(problem) => (None, Some(problem)),
    };
    let (sending, lines) = match sending {
        Some((sending, tracer)) => {
            let lines = super::traces::lines(format, (filter, colour), io::stderr, tracer);
            (Some(sending), lines)
        }
        None => (None, subscriber(format, filter, colour, io::stderr)),
    };
    lines.try_init().map_err(|_| LogError::Twice)?;
    if let Some(error) = problem {
        let cause = std::error::Error::source(&error).map(tracing::field::display);
        tracing::error!(%error, cause, "no traces are sent");
    }
    Ok(Traces { sending })
}

#[cfg(not(feature = "otlp"))]
fn begin(
    format: LogFormat,
    (filter, colour): (EnvFilter, bool),
    otlp: Option<&str>,
) -> Result<Traces, LogError> {
    let lines = subscriber(format, filter, colour, io::stderr);
    lines.try_init().map_err(|_| LogError::Twice)?;
    if otlp.is_some() {
        tracing::error!("no traces are sent: this program was built without the feature `otlp`");
    }
    Ok(Traces::default())
}

/// Checks that `level` is a level or a list of directives that [`init`] takes.
///
/// # Errors
/// [`LogError::Level`], saying which part is wrong.
pub fn check_level(level: &str) -> Result<(), LogError> {
    parse_level(level).map(drop)
}

fn filter(level: &str, environment: Option<&str>) -> Result<EnvFilter, LogError> {
    // A bad flag is told even when the environment wins.
    let configured = parse_level(level)?;
    match environment.filter(|directives| !directives.trim().is_empty()) {
        None => Ok(configured),
        Some(given) => EnvFilter::builder()
            .parse(given)
            .map_err(|error| LogError::Environment {
                given: given.to_owned(),
                reason: error.to_string(),
            }),
    }
}

fn parse_level(level: &str) -> Result<EnvFilter, LogError> {
    let fail = |reason: String| LogError::Level {
        given: level.to_owned(),
        reason,
    };
    if level.trim().is_empty() {
        return Err(fail("it is empty".to_owned()));
    }
    // A bare word that is no level would be taken for the name of a crate: `inof` would log
    // nothing.
    let levels = ["trace", "debug", "info", "warn", "error", "off"];
    for directive in level.split(',').map(str::trim) {
        let word = directive.chars().all(char::is_alphanumeric);
        let number = directive.parse::<u8>().is_ok_and(|number| number <= 5);
        let known = levels
            .iter()
            .any(|level| directive.eq_ignore_ascii_case(level));
        if word && !known && !number {
            return Err(fail(format!(
                "`{directive}` is none of {}",
                levels.join(", ")
            )));
        }
    }
    EnvFilter::builder()
        .parse(level)
        .map_err(|error| fail(error.to_string()))
}

fn colour(no_color: Option<&OsStr>, is_terminal: bool) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty)
}

fn subscriber<W>(
    format: LogFormat,
    filter: EnvFilter,
    colour: bool,
    writer: W,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(colour);
    match format {
        LogFormat::Human => Box::new(lines.finish()),
        LogFormat::Json => Box::new(lines.json().flatten_event(true).finish()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What a warning and a debug line come out as.
    fn logged(format: LogFormat, filter: EnvFilter, colour: bool) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let lines = subscriber(format, filter, colour, move || writer.clone());
        tracing::subscriber::with_default(lines, || {
            tracing::warn!(slot = 7, "slow sync");
            tracing::debug!("connection closed");
        });
        let bytes = captured.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_human_line_names_level_text_and_fields_and_has_no_colour_unless_asked() {
        let line = logged(LogFormat::Human, filter("info", None).unwrap(), false);
        assert!(
            line.contains("WARN") && line.ends_with("slow sync slot=7\n"),
            "{line}"
        );
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
        let line = logged(LogFormat::Human, filter("info", None).unwrap(), true);
        assert!(line.contains('\u{1b}'), "{line}");
    }

    #[test]
    fn a_json_line_is_one_object() {
        let line = logged(LogFormat::Json, filter("debug", None).unwrap(), false);
        let lines: Vec<serde_json::Value> = line
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["level"], "WARN");
        assert_eq!(lines[0]["message"], "slow sync");
        assert_eq!(lines[0]["slot"], 7);
    }

    #[test]
    fn the_environment_beats_the_configured_level() {
        let cases = [
            ("info", None, 1),
            ("debug", None, 2),
            ("debug", Some("warn"), 1),
            ("error", Some("debug"), 2),
            ("info", Some("off"), 0),
            ("debug", Some(" "), 2),
            ("debug,distributed_rate_limiter=error", None, 0),
        ];
        for (level, environment, lines) in cases {
            let filter = filter(level, environment).unwrap();
            let text = logged(LogFormat::Human, filter, false);
            assert_eq!(text.lines().count(), lines, "{level} {environment:?}");
        }
    }

    #[test]
    fn what_is_no_level_is_an_error() {
        let cases = [
            (
                "inof",
                "`inof` is not a log level: `inof` is none of trace, debug, info, warn, ",
            ),
            ("", "`` is not a log level: it is empty"),
            (
                "info,a=b=c",
                "`info,a=b=c` is not a log level: error parsing level filter",
            ),
        ];
        for (level, expected) in cases {
            let error = check_level(level).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        let error = filter("info", Some("a=b=c")).unwrap_err();
        assert!(matches!(error, LogError::Environment { .. }), "{error}");
        for level in [
            "info",
            "WARN",
            "off",
            "0",
            "info,rustls=warn",
            "distributed_rate_limiter::server=trace",
        ] {
            assert!(check_level(level).is_ok(), "{level}");
        }
    }

    #[test]
    fn colour_is_for_terminals_without_no_color() {
        let cases = [
            (None, true, true),
            (None, false, false),
            (Some("1"), true, false),
            (Some(""), true, true),
        ];
        for (no_color, terminal, expected) in cases {
            assert_eq!(
                colour(no_color.map(OsStr::new), terminal),
                expected,
                "{no_color:?}"
            );
        }
    }

    #[test]
    fn formats_read_as_they_print() {
        for format in [LogFormat::Human, LogFormat::Json] {
            assert_eq!(format.to_string().parse::<LogFormat>().unwrap(), format);
        }
        let error = "xml".parse::<LogFormat>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`xml` is not a log format; use human or json"
        );
    }
}
