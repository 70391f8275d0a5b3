//! How large a fact and its parts may be. Every limit is checked by `Fact::decode`.

/// Bytes of one value, as replication carries it: enough for a network of 3,000 hosts with two IPv4 subnets.
pub const VALUE_BYTES_MAX: usize = 256 << 10;
/// Bytes of one key.
pub const KEY_BYTES_MAX: usize = 64;
/// Bytes of text that is for people only (version, names of containers, a forgotten host's name).
pub const TEXT_BYTES_MAX: usize = 255;
/// A host's underlay addresses.
pub const ADDRESSES_MAX: usize = 8;
/// Bytes of a certificate.
pub const CERTIFICATE_BYTES_MAX: usize = 1024;
/// Prefixes in use on one machine.
pub const TAKEN_MAX: usize = 1024;
/// Bytes of the text that says what uses a prefix: as many prefixes as allowed fit one value.
pub const TAKEN_BY_BYTES_MAX: usize = 200;
/// Subnets of one network.
pub const SUBNETS_MAX: usize = 16;
/// Reserved addresses of one subnet.
pub const RESERVED_MAX: usize = 256;
/// Grants of one network: one or two for every host and IPv4 subnet.
pub const GRANTS_MAX: usize = 8_192;
/// Options of one network.
pub const OPTIONS_MAX: usize = 64;
/// Labels of one network.
pub const LABELS_MAX: usize = 256;
/// Bytes of an option's or label's name, and of a reserved address's name.
pub const PAIR_NAME_BYTES_MAX: usize = 255;
/// Bytes of an option's or label's value.
pub const PAIR_VALUE_BYTES_MAX: usize = 4096;
/// Names of containers in one use fact; fewer if they would not fit one value.
pub const CONTAINERS_MAX: usize = 4096;
/// Witnesses of one lease.
pub const WITNESSES_MAX: usize = 15;
/// Takers that one lease calls settled.
pub const SETTLED_MAX: usize = 64;
/// Runs of one pool that a host calls spare, and that it wants back.
pub const SPARE_RUNS_MAX: usize = 64;
