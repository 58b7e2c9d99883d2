//! The room against models of itself.

mod follower;
mod heard;
mod promise;
mod waiters;
mod world;
