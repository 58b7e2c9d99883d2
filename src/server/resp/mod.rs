//! HOW DO REDIS CLIENTS ASK: the Redis protocol, versions 2 and 3, over TCP.
//!
//! The way of a read, on a connection ([`connection`]):
//!
//! 1. [`parse`] cuts what has arrived into commands.
//! 2. [`round`] answers those that need no limiter by the [`session`] ([`commands`] lists them), and
//!    has all checks decided as one batch: `RATELIMIT` by a policy's name, `CL.THROTTLE` by the limit
//!    that it brings along ([`throttle`]).
//! 3. All answers leave in one write, in the order of the commands ([`reply`]; errors by [`refusal`]).
//!
//! Nothing is decided, counted or cached here. What is said is bounded before it is kept: a command
//! by [`parse::COMMAND_BYTES_MAX`], a round by [`round`]'s bounds, a slow client by [`super::bounds`].
//! Source: the Redis serialization protocol specification, and redis-cell for `CL.THROTTLE`.

mod commands;
mod connection;
mod parse;
mod password;
mod refusal;
mod reply;
mod round;
mod session;
#[cfg(test)]
mod tests;
mod throttle;

pub(crate) use connection::Resp;
