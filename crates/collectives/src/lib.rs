//! Ranks agree on numbers.
