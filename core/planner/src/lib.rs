//! All views to one HostPlan, and the difference to what is there.
