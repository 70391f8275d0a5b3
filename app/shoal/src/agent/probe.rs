//! Paths to other hosts, found and watched by probes through the tunnel.

use shoal_api::Reach;
use shoal_fabric::HostSummary;
use shoal_plan::HostPlan;
use shoal_planner::View;
use shoal_types::LinkName;
use tokio::sync::mpsc;

use super::Input;

/// What is known of the path to a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Path {
    /// Largest IP packet of a container that passes, bytes; `None`: nothing passes.
    pub(crate) mtu: Option<u16>,
}

impl Path {
    /// The same for the operator.
    pub(crate) fn reach(&self, host: &HostSummary) -> Reach {
        if self.mtu.is_some() {
            return Reach::Ok;
        }
        let address = host.fact.addresses.first().map(ToString::to_string).unwrap_or_default();
        let port = host.fact.tunnel_port;
        Reach::Unreachable { why: format!("no packet comes back through the tunnel from {address} UDP port {port}") }
    }
}

/// Sends probes.
pub(crate) struct Prober {
    #[allow(dead_code, reason = "x")]
    inputs: mpsc::Sender<Input>,
}

impl Prober {
    pub(crate) fn new(inputs: mpsc::Sender<Input>) -> Self {
        Self { inputs }
    }

    /// Probes the hosts of a view from now on.
    pub(crate) fn follow(&mut self, _view: &View, _applied: &HostPlan) {}
}

/// The probe link's names.
pub(crate) fn link_names() -> Option<(LinkName, LinkName)> {
    None
}
