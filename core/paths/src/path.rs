//! What is known of a path.

/// The path to one host, as far as probes have told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path {
    /// Whether probes have come to an end at least once.
    pub tried: bool,
    /// Largest IP packet that should pass, since the links at both ends carry it, bytes.
    pub full: u16,
    /// Largest IP packet of a container that passes, bytes; `None`: nothing passes, or not known yet.
    pub mtu: Option<u16>,
    /// What became of the last bulk transfer.
    pub bulk: Bulk,
}

/// What became of a bulk transfer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Bulk {
    /// None was made yet, or it did not come to an end.
    #[default]
    Unknown,
    /// Everything arrived as it was sent.
    Intact,
    /// Single packets pass, a stream of full ones does not arrive whole: a device on the way corrupts or loses what it
    /// should segment or checksum.
    Broken,
}
