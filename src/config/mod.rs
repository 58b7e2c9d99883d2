//! WHAT THE OPERATOR WANTS: `node.toml` and `limits.toml`, read with every mistake reported at its place.
