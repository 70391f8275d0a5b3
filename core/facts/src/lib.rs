//! Signed single-writer facts with digests, deltas and anti-entropy.
