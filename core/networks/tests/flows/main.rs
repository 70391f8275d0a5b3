//! Docker's flows, call by call, in the order in which a dockerd 20.10 was recorded making them.

mod containers;
mod creating;
mod engine;
mod host;
mod random;
mod removing;
