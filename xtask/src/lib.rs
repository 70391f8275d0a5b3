//! All tooling: tidy, deps, demo.
