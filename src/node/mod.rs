//! THE COMPOSITION ROOT: builds a node from its configuration; the only room that knows every other.
