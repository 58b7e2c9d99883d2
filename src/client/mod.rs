//! HOW PROGRAMS ASK: the client library: deadlines, reconnection, coalesced calls.
