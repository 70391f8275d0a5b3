//! Docker's flows, call by call, in the order in which a dockerd 20.10 was recorded making them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod clocks;
mod comparing;
mod containers;
mod creating;
mod dockerd;
mod engine;
mod host;
mod lost;
mod random;
mod removing;
