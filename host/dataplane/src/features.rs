//! What differs between kernels, each with a way around it.

use libbpf_rs::{ProgramType, libbpf_sys};

use crate::maps::batch;

/// Optional features of the kernel. Switch one off to run its fallback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Local packets go straight into the receiver's namespace (`bpf_redirect_peer`, Linux 5.10); else through the
    /// host's end of the pair.
    pub redirect_peer: bool,
    /// Maps are read in batches (Linux 5.6); else entry by entry.
    pub map_batch: bool,
}

impl Features {
    /// Asks the running kernel; what it does not answer it does not have.
    pub fn probe() -> Self {
        let redirect_peer = ProgramType::SchedCls.is_helper_supported(libbpf_sys::BPF_FUNC_redirect_peer);
        Self { redirect_peer: redirect_peer.unwrap_or(false), map_batch: batch::is_supported() }
    }
}
