//! Small tools without a subject of their own: seeded chance, a growing pause, a map whose entries expire.

mod expiring;
mod pause;
mod prng;

pub use expiring::ExpiringMap;
pub use pause::Pause;
pub use prng::Prng;
