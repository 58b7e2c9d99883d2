//! Frames: a little-endian `u32` length, then that many bytes of `postcard`.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | length of the body, little-endian, at most [`FRAME_BYTES_MAX`] |
//! | length | one message, as `postcard` writes it, with nothing behind it |
//!
//! Invariant: no memory is taken because a length was *announced*, only for bytes that are there.

use std::ops::{Index, IndexMut};

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

/// Longest body of a frame: a batch of [`super::client::BATCH_MAX`] checks of ordinary keys fits,
/// and a connection that sends rubbish costs no more than this.
pub(crate) const FRAME_BYTES_MAX: usize = 64 * 1024;

/// Longest body of an answer to an admin, who may ask for all policies at once.
pub(crate) const ADMIN_ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Capacity that an empty [`FrameBuffer`] keeps; more is given back once it is empty, so that
/// thousands of streams that were busy once do not hold on to it.
const IDLE_BYTES_MAX: usize = 32 * 1024;

/// Bytes of the length before each body.
const LENGTH_BYTES: usize = 4;

/// Why bytes are not a frame, or a message cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// The length announced, or needed, is above the cap. The stream cannot go on.
    #[error("a frame of more than {max} bytes")]
    TooLarge {
        /// The cap.
        max: usize,
    },
    /// The body is not the message that was expected.
    #[error("a frame that cannot be decoded")]
    Undecodable(#[source] postcard::Error),
    /// The message ended before its frame did.
    #[error("a frame with {bytes} bytes behind its message")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

/// Appends `message` as one frame of at most [`FRAME_BYTES_MAX`] bytes of body.
///
/// # Errors
/// [`FrameError::TooLarge`]; `out` is then as it was.
pub(crate) fn encode(message: &impl Serialize, out: &mut Vec<u8>) -> Result<(), FrameError> {
    encode_within(FRAME_BYTES_MAX, message, out)
}

/// Appends `message` as one frame of at most `body_bytes_max` bytes of body.
///
/// # Errors
/// [`FrameError::TooLarge`]; `out` is then as it was.
pub(crate) fn encode_within(
    body_bytes_max: usize,
    message: &impl Serialize,
    out: &mut Vec<u8>,
) -> Result<(), FrameError> {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    let body = out.len();
    let written = postcard::serialize_with_flavor(
        message,
        BoundedBody {
            end_max: body.saturating_add(body_bytes_max),
            out,
        },
    );
    let length = u32::try_from(out.len().saturating_sub(body));
    match (written, length) {
        (Ok(()), Ok(length)) => {
            if let Some(place) = out.get_mut(start..body) {
                place.copy_from_slice(&length.to_le_bytes());
            }
            Ok(())
        }
        (Err(postcard::Error::SerializeBufferFull), _) | (Ok(()), Err(_)) => {
            out.truncate(start);
            Err(FrameError::TooLarge {
                max: body_bytes_max,
            })
        }
        (Err(error), _) => {
            out.truncate(start);
            Err(FrameError::Undecodable(error))
        }
    }
}

/// Reads a frame's body as one message.
///
/// # Errors
/// [`FrameError`], if it is not exactly one.
pub(crate) fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, FrameError> {
    let (message, rest) = postcard::take_from_bytes(body).map_err(FrameError::Undecodable)?;
    if rest.is_empty() {
        Ok(message)
    } else {
        Err(FrameError::Trailing { bytes: rest.len() })
    }
}

/// A vector that refuses to grow past `end_max`.
struct BoundedBody<'a> {
    out: &'a mut Vec<u8>,
    end_max: usize,
}

impl Flavor for BoundedBody<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if self.out.len().saturating_add(bytes.len()) > self.end_max {
            return Err(postcard::Error::SerializeBufferFull);
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

impl Index<usize> for BoundedBody<'_> {
    type Output = u8;

    fn index(&self, at: usize) -> &u8 {
        &self.out[at]
    }
}

impl IndexMut<usize> for BoundedBody<'_> {
    fn index_mut(&mut self, at: usize) -> &mut u8 {
        &mut self.out[at]
    }
}

/// Collects bytes as they arrive and gives out whole frames.
///
/// Either `take` them one by one, or look at all with [`FrameBuffer::frames`] and then
/// [`FrameBuffer::consume`] what was looked at. Each byte is moved at most twice.
#[derive(Debug)]
pub(crate) struct FrameBuffer {
    bytes: Vec<u8>,
    /// How many bytes at the front are done with.
    done: usize,
    body_bytes_max: usize,
}

impl Default for FrameBuffer {
    fn default() -> Self {
        Self::with_max(FRAME_BYTES_MAX)
    }
}

impl FrameBuffer {
    /// An empty buffer for frames of at most `body_bytes_max` bytes of body.
    pub(crate) const fn with_max(body_bytes_max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            done: 0,
            body_bytes_max,
        }
    }

    /// The same, for frames of at most `body_bytes_max` bytes of body from here on.
    #[cfg(feature = "server")]
    pub(crate) fn widened(self, body_bytes_max: usize) -> Self {
        Self {
            body_bytes_max,
            ..self
        }
    }

    /// Adds bytes as they came.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        // Moving only when half is done with moves each byte at most once.
        if self.done > 0 && self.done >= self.bytes.len() / 2 {
            self.bytes.drain(..self.done);
            self.done = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes that are not yet done with.
    pub(crate) const fn len(&self) -> usize {
        self.bytes.len().saturating_sub(self.done)
    }

    /// Whether all bytes are done with; if not at the end of a stream, a frame was cut off.
    pub(crate) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes for which memory is held.
    #[cfg(test)]
    pub(super) const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The next whole frame's body, or `None` until more bytes are pushed.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`], for ever: there is no way to find the next frame.
    pub(crate) fn take(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let start = self.done;
        let Some(body_bytes) = self.frames().next_body_bytes()? else {
            self.consume(0);
            return Ok(None);
        };
        let body = start.saturating_add(LENGTH_BYTES);
        self.done = body.saturating_add(body_bytes);
        Ok(self.bytes.get(body..self.done))
    }

    /// All whole frames that are there, without taking them.
    pub(crate) fn frames(&self) -> Frames<'_> {
        Frames {
            rest: self.bytes.get(self.done..).unwrap_or_default(),
            body_bytes_max: self.body_bytes_max,
            seen: 0,
        }
    }

    /// Marks `bytes` (of [`Frames::seen`]) as done with, and gives memory back if that was all.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.done = self.done.saturating_add(bytes).min(self.bytes.len());
        if self.is_empty() {
            self.bytes.clear();
            self.done = 0;
            if self.bytes.capacity() > IDLE_BYTES_MAX {
                self.bytes.shrink_to(IDLE_BYTES_MAX);
            }
        }
    }
}

/// The whole frames in a [`FrameBuffer`], in order.
#[derive(Debug)]
pub(crate) struct Frames<'a> {
    rest: &'a [u8],
    body_bytes_max: usize,
    seen: usize,
}

impl Frames<'_> {
    /// Bytes of the frames given out so far, lengths included.
    #[cfg(feature = "server")]
    pub(crate) const fn seen(&self) -> usize {
        self.seen
    }

    /// Length of the next frame's body, if the frame is whole.
    fn next_body_bytes(&self) -> Result<Option<usize>, FrameError> {
        let Some((length, rest)) = self.rest.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        match usize::try_from(u32::from_le_bytes(*length)) {
            Ok(bytes) if bytes <= self.body_bytes_max => Ok((bytes <= rest.len()).then_some(bytes)),
            Ok(_) | Err(_) => Err(FrameError::TooLarge {
                max: self.body_bytes_max,
            }),
        }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<&'a [u8], FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        let body_bytes = match self.next_body_bytes() {
            Ok(bytes) => bytes?,
            Err(error) => return Some(Err(error)),
        };
        let frame_bytes = body_bytes.saturating_add(LENGTH_BYTES);
        let (frame, rest) = self.rest.split_at_checked(frame_bytes)?;
        self.rest = rest;
        self.seen = self.seen.saturating_add(frame_bytes);
        frame.get(LENGTH_BYTES..).map(Ok)
    }
}
