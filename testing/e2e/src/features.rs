//! Kernel features that Shoal uses where it finds them.

/// Whether the agent may use the optional ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Features {
    /// All that the kernel has.
    On,
    /// None: the fallbacks are used.
    Off,
}

impl Features {
    /// Environment of an agent.
    pub fn environment(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::On => &[],
            Self::Off => &[("SHOAL_FEATURES_OFF", "redirect-peer,map-batch")],
        }
    }
}
