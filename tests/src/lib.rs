//! Behaviour through the real binaries.
