//! What the agent needs of a machine, as traits in our own types.
//!
//! Each trait has two implementations: the real one in a crate of its own, and a fake in this crate, and one contract
//! suite that both must pass.

mod clock;
mod kernel;
mod store;

pub use clock::{Clock, SystemClock};
pub use kernel::{Counters, Drops, Kernel, KernelError, LinkCounters, WireGuardStatus};
pub use store::{Entry, MemoryStore, Store, StoreError, Write, contract as store_contract};
