//! Lines of a file or of stdin, plain or gzip, each of bounded length.
//!
//! Gzip is told by its first two bytes, not by the file's name, and may hold several members, as
//! `cat a.gz b.gz` makes them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

/// Longest line that is kept; web servers cut requests at 8 to 32 KiB.
pub(super) const LINE_BYTES_MAX: usize = 64 * 1024;

/// Bytes read from the file at once.
const READ_BYTES: usize = 256 * 1024;

/// Why a file cannot be read as lines at all.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// The operating system says so.
    #[error("cannot read {path}")]
    Io {
        path: String,
        #[source]
        source: io::Error,
    },
    /// Compressed by a program that this one does not know.
    #[error("{path} is compressed by {program}, which is not read; decompress it first")]
    Compressed { path: String, program: &'static str },
}

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Its bytes without the line's end.
    Text(&'a [u8]),
    /// It has more than [`LINE_BYTES_MAX`] bytes and was passed over.
    TooLong,
}

/// Reads lines one by one.
pub(super) struct BoundedLines<R> {
    reader: R,
    line: Vec<u8>,
}

/// Opens `path`, or stdin for `-`.
pub(super) fn open(path: &Path) -> Result<BoundedLines<Box<dyn BufRead>>, OpenError> {
    let failed = |source| OpenError::Io {
        path: path.display().to_string(),
        source,
    };
    let raw: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    let mut raw = BufReader::with_capacity(READ_BYTES, raw);
    let mut head = Vec::new();
    raw.by_ref()
        .take(6)
        .read_to_end(&mut head)
        .map_err(failed)?;
    let program = compressor(&head);
    let whole = Cursor::new(head).chain(raw);
    let reader: Box<dyn BufRead> = match program {
        None => Box::new(whole),
        Some("gzip") => Box::new(BufReader::with_capacity(
            READ_BYTES,
            MultiGzDecoder::new(whole),
        )),
        Some(program) => {
            let path = path.display().to_string();
            return Err(OpenError::Compressed { path, program });
        }
    };
    Ok(BoundedLines::new(reader))
}

fn compressor(head: &[u8]) -> Option<&'static str> {
    const MAGIC: [(&[u8], &str); 4] = [
        (b"\x1f\x8b", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\xfd7zXZ\0", "xz"),
        (b"BZh", "bzip2"),
    ];
    let known = MAGIC.iter().find(|(magic, _)| head.starts_with(magic));
    known.map(|(_, program)| *program)
}

impl<R: BufRead> BoundedLines<R> {
    /// Lines of `reader`.
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            line: Vec::new(),
        }
    }

    /// The next line, or `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        // A line of just the longest length, and its two-byte end.
        const READ_MAX: u64 = LINE_BYTES_MAX as u64 + 2;
        self.line.clear();
        let mut bounded = self.reader.by_ref().take(READ_MAX);
        if bounded.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        let ended = self.line.pop_if(|&mut last| last == b'\n').is_some();
        if ended {
            self.line.pop_if(|&mut last| last == b'\r');
        }
        if self.line.len() <= LINE_BYTES_MAX {
            return Ok(Some(Line::Text(&self.line)));
        }
        if !ended {
            self.reader.skip_until(b'\n')?;
        }
        Ok(Some(Line::TooLong))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// The lines of `bytes` as text, `<long>` for those that are too long.
    fn lines(bytes: &[u8]) -> Vec<String> {
        collect(BoundedLines::new(bytes)).unwrap()
    }

    fn collect(mut lines: BoundedLines<impl BufRead>) -> io::Result<Vec<String>> {
        let mut all = Vec::new();
        while let Some(line) = lines.next()? {
            all.push(match line {
                Line::Text(text) => String::from_utf8_lossy(text).into_owned(),
                Line::TooLong => "<long>".to_owned(),
            });
        }
        Ok(all)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn lines_end_at_newlines_or_at_the_end() {
        for (bytes, expected) in [
            (&b""[..], vec![]),
            (b"a", vec!["a"]),
            (b"a\r\nb\n\nc", vec!["a", "b", "", "c"]),
            (b"\xff\n", vec!["\u{fffd}"]),
        ] {
            assert_eq!(lines(bytes), expected);
        }
    }

    #[test]
    fn a_line_that_is_too_long_costs_only_itself() {
        let fits = "x".repeat(LINE_BYTES_MAX);
        for end in ["\n", "\r\n"] {
            for (extra, shown) in [
                (0, fits.as_str()),
                (1, "<long>"),
                (2, "<long>"),
                (9999, "<long>"),
            ] {
                let text = format!("a{end}{fits}{}{end}b{end}", "x".repeat(extra));
                assert_eq!(lines(text.as_bytes()), ["a", shown, "b"], "{extra} {end:?}");
            }
        }
    }

    #[test]
    fn several_gzip_members_are_one_file() {
        let file = file_of(&[gzip(b"a\nb"), gzip(b"c\nd\n")].concat());
        assert_eq!(
            collect(open(file.path()).unwrap()).unwrap(),
            ["a", "bc", "d"]
        );
    }

    #[test]
    fn a_gzip_file_that_is_cut_off_gives_its_lines_and_then_an_error() {
        let mut bytes = gzip(b"one\ntwo\n");
        bytes.truncate(bytes.len() - 4);
        let file = file_of(&bytes);
        let mut lines = open(file.path()).unwrap();
        assert_eq!(lines.next().unwrap(), Some(Line::Text(b"one")));
        assert_eq!(lines.next().unwrap(), Some(Line::Text(b"two")));
        assert_eq!(
            lines.next().unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[test]
    fn other_compression_is_told_by_name() {
        for (head, expected) in [
            (&b"\x28\xb5\x2f\xfdrest"[..], "zstd"),
            (b"\xfd7zXZ\0rest", "xz"),
            (b"BZh9", "bzip2"),
        ] {
            match open(file_of(head).path()) {
                Err(OpenError::Compressed { program, .. }) => assert_eq!(program, expected),
                Err(other) => panic!("{other}"),
                Ok(_) => panic!("{expected} was taken for text"),
            }
        }
    }
}
