//! WHOSE IS IT: the hash and slot of a key.
