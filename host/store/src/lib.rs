//! Durable state in one file.
