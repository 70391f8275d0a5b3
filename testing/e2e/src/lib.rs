//! Scenarios on real dockerds.
