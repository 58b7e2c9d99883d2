//! The history of a load: one JSON line a check, written by a thread of its own.
//!
//! `{"policy","key","cost","sent_ns","received_ns","allowed","source","error"}`; times are of the
//! machine's boot clock, which all its processes share. `allowed` and `source` are null when there
//! was an error, `error` when there was none. The lines stand in no particular order. A line that
//! cannot be written ends the load, since a history with holes proves nothing.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use distributed_rate_limiter::Source;
use tokio::sync::mpsc;

use super::keys;

/// Records that travel to the writer together.
const CHUNK_RECORDS: usize = 512;

/// Chunks that wait for the writer; behind them the load waits too.
const CHUNKS_MAX: usize = 64;

/// Bytes written to the file at once.
const WRITE_BYTES: usize = 1 << 20;

/// What became of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was decided.
    Decided { allowed: bool, source: Source },
    /// It was not; the word says why.
    Error(&'static str),
}

/// One check.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    /// Number of its key.
    pub(super) key: u64,
    /// Just before it was handed to the client library.
    pub(super) sent_ns: u64,
    /// Just after its answer came out.
    pub(super) received_ns: u64,
    /// The answer.
    pub(super) outcome: Outcome,
}

/// The writer cannot write any more; [`History::finish`] tells why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WriterGone;

/// One thread's end of the history: gathers records until they are worth a way to the writer.
#[derive(Debug)]
pub(super) struct Recorder {
    records: Vec<Record>,
    writer: mpsc::Sender<Vec<Record>>,
}

/// Records on their way to the writer.
#[derive(Debug)]
#[must_use = "records that are not sent are lost"]
pub(super) struct Chunk {
    records: Vec<Record>,
    writer: mpsc::Sender<Vec<Record>>,
}

impl Recorder {
    /// Adds records; when enough are there, gives them all, to be sent.
    pub(super) fn add(&mut self, records: impl Iterator<Item = Record>) -> Option<Chunk> {
        self.records.extend(records);
        (self.records.len() >= CHUNK_RECORDS).then(|| self.take())
    }

    /// What was added since the last chunk.
    pub(super) fn take(&mut self) -> Chunk {
        let empty = Vec::with_capacity(CHUNK_RECORDS);
        Chunk {
            records: std::mem::replace(&mut self.records, empty),
            writer: self.writer.clone(),
        }
    }
}

impl Chunk {
    /// Waits for the writer to take it.
    pub(super) async fn send(self) -> Result<(), WriterGone> {
        self.writer.send(self.records).await.map_err(|_| WriterGone)
    }
}

/// The file and the thread that writes it.
#[derive(Debug)]
pub(super) struct History {
    path: PathBuf,
    chunks: mpsc::Sender<Vec<Record>>,
    writer: JoinHandle<io::Result<()>>,
}

/// The file cannot be made or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the history {path}")]
pub(super) struct HistoryError {
    path: String,
    #[source]
    source: io::Error,
}

impl History {
    /// Makes the file anew. `policy` and `cost` stand in every line.
    pub(super) fn create(path: &Path, policy: &str, cost: u64) -> Result<Self, HistoryError> {
        let failed = |source| HistoryError {
            path: path.display().to_string(),
            source,
        };
        let file = BufWriter::with_capacity(WRITE_BYTES, File::create(path).map_err(failed)?);
        let policy = serde_json::to_string(policy).map_err(|error| failed(error.into()))?;
        let (chunks, received) = mpsc::channel(CHUNKS_MAX);
        let writer = thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || write_all(file, &policy, cost, received))
            .map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            chunks,
            writer,
        })
    }

    /// Another thread's end.
    pub(super) fn recorder(&self) -> Recorder {
        Recorder {
            records: Vec::with_capacity(CHUNK_RECORDS),
            writer: self.chunks.clone(),
        }
    }

    /// Waits until all is written; every recorder and sender must be gone.
    pub(super) fn finish(self) -> Result<(), HistoryError> {
        drop(self.chunks);
        let written = self
            .writer
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("its thread has failed")));
        written.map_err(|source| HistoryError {
            path: self.path.display().to_string(),
            source,
        })
    }
}

fn write_all(
    mut file: impl Write,
    policy: &str,
    cost: u64,
    mut chunks: mpsc::Receiver<Vec<Record>>,
) -> io::Result<()> {
    let mut key = String::new();
    while let Some(chunk) = chunks.blocking_recv() {
        for record in &chunk {
            keys::write_name(record.key, &mut key);
            write!(
                file,
                r#"{{"policy":{policy},"key":"{key}","cost":{cost},"sent_ns":{},"received_ns":{},"#,
                record.sent_ns, record.received_ns
            )?;
            match record.outcome {
                Outcome::Decided { allowed, source } => {
                    writeln!(
                        file,
                        r#""allowed":{allowed},"source":"{source}","error":null}}"#
                    )?;
                }
                Outcome::Error(word) => {
                    writeln!(file, r#""allowed":null,"source":null,"error":"{word}"}}"#)?;
                }
            }
        }
        // What waits for nothing else is not held back, so that a reader can follow.
        if chunks.is_empty() {
            file.flush()?;
        }
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECIDED: Outcome = Outcome::Decided {
        allowed: true,
        source: Source::Owner,
    };

    fn record(key: u64, outcome: Outcome) -> Record {
        Record {
            key,
            sent_ns: 10,
            received_ns: 25,
            outcome,
        }
    }

    /// Writes `records` to `path`.
    async fn write(path: &Path, records: Vec<Record>) -> Result<(), HistoryError> {
        let history = History::create(path, "a\"b", 3).unwrap();
        let mut recorder = history.recorder();
        for record in records {
            if let Some(chunk) = recorder.add([record].into_iter()) {
                assert_eq!(chunk.records.len(), CHUNK_RECORDS);
                if chunk.send().await.is_err() {
                    break;
                }
            }
        }
        let last = recorder.take().send().await;
        drop(recorder);
        let written = tokio::task::spawn_blocking(|| history.finish())
            .await
            .unwrap();
        assert!(
            last.is_ok() || written.is_err(),
            "a chunk was lost in silence"
        );
        written
    }

    #[tokio::test]
    async fn lines_hold_what_was_asked_and_answered() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let records = vec![record(1, DECIDED), record(2, Outcome::Error("timeout"))];
        write(file.path(), records).await.unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        let expected = concat!(
            r#"{"policy":"a\"b","key":"key-1","cost":3,"sent_ns":10,"received_ns":25,"allowed":true,"source":"owner","error":null}"#,
            "\n",
            r#"{"policy":"a\"b","key":"key-2","cost":3,"sent_ns":10,"received_ns":25,"allowed":null,"source":null,"error":"timeout"}"#,
            "\n"
        );
        assert_eq!(text, expected);
    }

    #[tokio::test]
    async fn every_record_becomes_a_line() {
        let count = 5 * CHUNK_RECORDS as u64 + 7;
        let file = tempfile::NamedTempFile::new().unwrap();
        let records = (0..count).map(|key| record(key, DECIDED)).collect();
        write(file.path(), records).await.unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        let keys = text.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["key"].as_str().unwrap().to_owned()
        });
        let expected: Vec<_> = (0..count).map(|key| format!("key-{key}")).collect();
        assert_eq!(keys.collect::<Vec<_>>(), expected);
    }

    #[tokio::test]
    async fn a_full_disk_is_told() {
        let many = (0..200 * CHUNK_RECORDS as u64)
            .map(|key| record(key, DECIDED))
            .collect();
        assert!(write(Path::new("/dev/full"), many).await.is_err());
        assert!(
            write(Path::new("/dev/full"), vec![record(1, DECIDED)])
                .await
                .is_err()
        );
    }
}
