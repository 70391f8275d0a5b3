//! Addresses from ranges that are given, never taken.
