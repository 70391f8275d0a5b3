//! The simulator: hosts, clock and network from one seed.
