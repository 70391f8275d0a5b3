//! Several real Docker hosts on one machine, in namespaces.
//!
//! ```text
//!   switch (a network namespace with one bridge, 172.31.0.254 and fd00:7368::fe)
//!     ├── p1 ── eth0  h1   172.31.0.1  fd00:7368::1    own dockerd, own agent
//!     ├── p2 ── eth0  h2   172.31.0.2  fd00:7368::2
//!     ├── p3 ── eth0  h3   172.31.0.3  fd00:7368::3
//!     └── p4 ── eth0  x1   172.31.0.4  fd00:7368::4    an outsider: no dockerd, no agent
//! ```
//!
//! A router may stand between a host and the switch; it translates addresses ([`NatKind`]), filters, or both. A host
//! may move to another one, and may lose power ([`Bed::reboot`]).
//!
//! A [`Bed`] is one such machine park. Each [`Host`] has a network, a mount and a UTS namespace, held by one sleeping
//! process; its `/run`, `/var/lib/shoal`, `/etc/shoal` and `/sys/fs/bpf` are its own, so that a dockerd and an agent
//! run there with their usual paths. Nothing is named in the machine's own namespaces: what a bed leaves behind are
//! processes, control groups and a folder, all of which carry the bed's name, and [`sweep`] removes those of beds
//! whose owner is dead.
//!
//! Everything that waits polls against a deadline and says what it waited for ([`eventually`]).

mod bed;
mod capture;
mod daemons;
mod host;
mod images;
mod nat;
mod poll;
mod remains;
mod tally;
mod watch;

pub use bed::{Bed, Builder, RECEIVE_BUFFER, verdict};
pub use capture::{Output, Running};
pub use daemons::shoal_binary;
pub use host::Host;
pub use images::{Image, Packer, probe_image, probe_path, tools_image};
pub use nat::{NatKind, Router};
pub use poll::{eventually, eventually_ok, pause};
pub use remains::{BedName, kept_host, leftovers, remains_of, sweep, take_down};
pub use tally::Tally;
pub use watch::{Allow, MARKER, Seen, marker_hex};
