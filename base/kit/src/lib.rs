//! Small tools without a subject of their own: seeded chance, a growing pause, a map whose entries expire, a hash,
//! the Internet's checksum.

pub mod checksum;
mod expiring;
mod fnv;
mod pause;
mod prng;

pub use expiring::ExpiringMap;
pub use fnv::{FNV1A, fnv1a};
pub use pause::Pause;
pub use prng::Prng;
