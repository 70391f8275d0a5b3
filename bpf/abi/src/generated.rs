//! What libbpf-cargo generated from the compiled programs, under our own names.

/// The programs' skeleton.
#[allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::expect_used,
    clippy::needless_pass_by_value,
    clippy::panic,
    clippy::semicolon_if_nothing_returned,
    clippy::unwrap_used,
    clippy::wildcard_imports,
    reason = "generated code"
)]
mod shoal {
    include!(concat!(env!("OUT_DIR"), "/shoal.skel.rs"));
}

pub use shoal::types::{
    address as UnderlayAddress, drop_key as DropKey, endpoint as Endpoint, endpoint_key as EndpointKey,
    link as Link, link_counters as LinkCounters, peer as Peer,
};
pub use shoal::{OpenShoalSkel, ShoalSkel, ShoalSkelBuilder};
