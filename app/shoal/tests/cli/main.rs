//! The command line against a scripted agent, over a real socket, with the real binary.

#![allow(clippy::unwrap_used, reason = "a test's helper fails the test")]

mod behaviour;
mod golden;
mod support;
