//! IS IT WRITTEN: the store, group commit, checkpoints, recovery, and the fence that closes the
//! node when a write fails.
