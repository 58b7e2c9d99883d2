//! Frames: a little-endian `u32` length, then that many bytes of `postcard`.
