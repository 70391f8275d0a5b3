//! All views to one [`HostPlan`], and the difference to what is there.
//!
//! The kernel is a projection of state. [`plan`] computes, from what the fabric knows ([`View`]), everything the
//! kernel of this host should hold; [`diff`] says which changes lead there from what it does hold; whoever applies
//! them needs no knowledge of why. The same plan is compared for one container while Docker waits
//! ([`diff_endpoint`]) and for the whole host in the periodic audit, so there is one way into the kernel, and an
//! entry that nothing asks for any more is removed whatever left it behind.
//!
//! Both functions are pure and cost O(n log n) for n endpoints.

mod diff;
mod plan;
mod text;
mod view;

pub use diff::{diff, diff_endpoint, restrict};
pub use plan::{Claim, Clash, MTU_MIN, OVERHEAD, mtu_default, mtu_in_tunnel, plan};
pub use shoal_plan::{Change, HostPlan, Observed};
pub use text::{change_text, plan_text};
pub use view::{ContactView, EndView, EndpointView, HostView, NetworkView, ProbeView, View, link_names};
