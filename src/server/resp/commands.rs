//! The commands there are, and what is answered to those that need no limiter.

use super::parse::Broken;
use super::refusal::Refusal;
use super::reply::{Version, array, bulk, map, null, number, simple};
use super::round::Words;
use super::session::Session;

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Auth,
    Client,
    Command,
    Echo,
    Hello,
    Info,
    Ping,
    Quit,
    RateLimit,
    Reset,
    Select,
    Throttle,
}

/// What there is to know of a command.
struct About {
    name: Name,
    text: &'static str,
    /// Words, its name included: as many, or if it is negative at least so many.
    arity: i8,
    /// Where its key stands, if it has one.
    key: u8,
    summary: &'static str,
}

const fn about(
    name: Name,
    text: &'static str,
    (arity, key): (i8, u8),
    summary: &'static str,
) -> About {
    About {
        name,
        text,
        arity,
        key,
        summary,
    }
}

/// All of them, the most used first.
const COMMANDS: [About; 12] = [
    about(
        Name::RateLimit,
        "ratelimit",
        (-3, 2),
        "RATELIMIT policy key [cost]: decides by a configured policy",
    ),
    about(
        Name::Throttle,
        "cl.throttle",
        (-5, 1),
        "CL.THROTTLE key max_burst count period [quantity]: decides by the limit it brings along",
    ),
    about(
        Name::Ping,
        "ping",
        (-1, 0),
        "Answers PONG, or what it is given",
    ),
    about(Name::Auth, "auth", (-2, 0), "Gives the password"),
    about(
        Name::Hello,
        "hello",
        (-1, 0),
        "Chooses the protocol's version",
    ),
    about(Name::Client, "client", (-2, 0), "Names the connection"),
    about(Name::Command, "command", (-1, 0), "Lists the commands"),
    about(Name::Echo, "echo", (2, 0), "Answers what it is given"),
    about(Name::Info, "info", (-1, 0), "Says what serves"),
    about(Name::Select, "select", (2, 0), "Chooses database 0"),
    about(Name::Reset, "reset", (1, 0), "Begins the connection anew"),
    about(Name::Quit, "quit", (-1, 0), "Ends the connection"),
];

/// Longest name of an unknown command that is said back.
const UNKNOWN_BYTES_MAX: usize = 64;

/// Which command the words are, with their number checked.
pub(super) fn named(words: &Words<'_, '_>) -> Result<Result<Name, Refusal>, Broken> {
    let text = words.get(0);
    let known = COMMANDS.iter().find(|it| is(text, it.text));
    let Some(command) = known else {
        // What a web page can have a browser send must not be read on: its body is the page's.
        if is(text, "post") || is(text, "host:") {
            return Err(Broken::Http);
        }
        let start = text.get(..UNKNOWN_BYTES_MAX).unwrap_or(text);
        let name = String::from_utf8_lossy(start).into_owned();
        return Ok(Err(Refusal::UnknownCommand(name)));
    };
    let fits = match usize::try_from(command.arity) {
        Ok(exactly) => words.len() == exactly,
        Err(_) => words.len() >= usize::from(command.arity.unsigned_abs()),
    };
    Ok(if fits {
        Ok(command.name)
    } else {
        Err(Refusal::Arity(command.text))
    })
}

/// Whether a word is this one, in small or capital letters.
pub(super) fn is(word: &[u8], text: &str) -> bool {
    word.eq_ignore_ascii_case(text.as_bytes())
}

/// Appends the answer to a command that needs no limiter.
pub(super) fn answer(
    name: Name,
    words: &Words<'_, '_>,
    session: &mut Session,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    match name {
        Name::Ping => match (words.len(), words.get(1)) {
            (1, _) => simple(out, "PONG"),
            (2, word) => bulk(out, word),
            (_, _) => return Err(Refusal::Arity("ping")),
        },
        Name::Echo => bulk(out, words.get(1)),
        Name::Auth => {
            match words.len() {
                2 => session.log_in(b"default", words.get(1))?,
                3 => session.log_in(words.get(1), words.get(2))?,
                _ => return Err(Refusal::Arity("auth")),
            }
            simple(out, "OK");
        }
        Name::Hello => hello(words, session, out)?,
        Name::Client => client(words, session, out)?,
        Name::Command => command(words, session.version, out)?,
        Name::Info => {
            let version = env!("CARGO_PKG_VERSION");
            let text =
                format!("# Server\r\nserver_name:ratelimitd\r\nserver_version:{version}\r\n");
            bulk(out, text.as_bytes());
        }
        Name::Select if words.get(1) == b"0" => simple(out, "OK"),
        Name::Select => return Err(Refusal::NoDatabase),
        Name::Reset => {
            session.reset();
            simple(out, "RESET");
        }
        Name::Quit => simple(out, "OK"),
        Name::RateLimit | Name::Throttle => return Err(Refusal::Syntax("command")),
    }
    Ok(())
}

/// `HELLO [version [AUTH name password] [SETNAME name]]`
fn hello(words: &Words<'_, '_>, session: &mut Session, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let version = match (words.len(), words.get(1)) {
        (1, _) => session.version,
        (_, b"2") => Version::Two,
        (_, b"3") => Version::Three,
        (_, _) => return Err(Refusal::NoProtocol),
    };
    let mut at = 2;
    while at < words.len() {
        if is(words.get(at), "auth") && at.saturating_add(2) < words.len() {
            session.log_in(
                words.get(at.saturating_add(1)),
                words.get(at.saturating_add(2)),
            )?;
            at = at.saturating_add(3);
        } else if is(words.get(at), "setname") && at.saturating_add(1) < words.len() {
            session.rename(words.get(at.saturating_add(1)))?;
            at = at.saturating_add(2);
        } else {
            return Err(Refusal::Syntax("hello"));
        }
    }
    if !session.is_let_in() {
        return Err(Refusal::NoAuth);
    }
    session.version = version;
    map(out, version, 7);
    for (name, value) in [
        ("server", "ratelimitd"),
        ("version", env!("CARGO_PKG_VERSION")),
        ("mode", "standalone"),
        ("role", "master"),
    ] {
        bulk(out, name.as_bytes());
        bulk(out, value.as_bytes());
    }
    bulk(out, b"proto");
    number(out, version.number());
    bulk(out, b"id");
    number(out, session.id);
    bulk(out, b"modules");
    array(out, 0);
    Ok(())
}

/// What clients say of themselves when they connect.
fn client(words: &Words<'_, '_>, session: &mut Session, out: &mut Vec<u8>) -> Result<(), Refusal> {
    match (words.get(1), words.len()) {
        (what, 4) if is(what, "setinfo") => simple(out, "OK"),
        (what, 3) if is(what, "setname") => {
            session.rename(words.get(2))?;
            simple(out, "OK");
        }
        (what, 2) if is(what, "getname") => match session.name() {
            b"" => null(out, session.version),
            name => bulk(out, name),
        },
        (what, 2) if is(what, "id") => number(out, session.id),
        (_, _) => return Err(Refusal::Syntax("client")),
    }
    Ok(())
}

/// `COMMAND [COUNT | LIST | INFO [name …] | DOCS [name …]]`
fn command(words: &Words<'_, '_>, version: Version, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let wanted =
        |it: &&About| words.len() <= 2 || (2..words.len()).any(|n| is(words.get(n), it.text));
    let chosen = || COMMANDS.iter().filter(wanted);
    let what = words.get(1);
    if words.len() == 1 || is(what, "info") {
        array(out, chosen().count());
        chosen().for_each(|it| it.write(version, out));
    } else if is(what, "count") && words.len() == 2 {
        number(out, u64::try_from(COMMANDS.len()).unwrap_or(u64::MAX));
    } else if is(what, "list") && words.len() == 2 {
        array(out, COMMANDS.len());
        chosen().for_each(|it| bulk(out, it.text.as_bytes()));
    } else if is(what, "docs") {
        map(out, version, chosen().count());
        for it in chosen() {
            bulk(out, it.text.as_bytes());
            map(out, version, 3);
            for (name, value) in [
                ("summary", it.summary),
                ("since", env!("CARGO_PKG_VERSION")),
                ("group", "rate limiter"),
            ] {
                bulk(out, name.as_bytes());
                bulk(out, value.as_bytes());
            }
        }
    } else {
        return Err(Refusal::Syntax("command"));
    }
    Ok(())
}

impl About {
    /// Appends the ten parts of a command that `COMMAND` answers.
    fn write(&self, version: Version, out: &mut Vec<u8>) {
        array(out, 10);
        bulk(out, self.text.as_bytes());
        if self.arity < 0 {
            out.push(b':');
            out.push(b'-');
            // The number's own mark is there already.
            let start = out.len();
            number(out, u64::from(self.arity.unsigned_abs()));
            out.remove(start);
        } else {
            number(out, u64::from(self.arity.unsigned_abs()));
        }
        array(out, 1);
        simple(out, if self.key > 0 { "write" } else { "fast" });
        let step = u64::from(self.key > 0);
        for place in [u64::from(self.key), u64::from(self.key), step] {
            number(out, place);
        }
        for _ in 0..4 {
            match version {
                Version::Two => array(out, 0),
                Version::Three => out.extend_from_slice(b"~0\r\n"),
            }
        }
    }
}
