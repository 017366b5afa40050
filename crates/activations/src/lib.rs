//! The catalogue of scalar activations in plain Rust: the reference for everything else.
