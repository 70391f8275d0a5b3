//! Every limit in one place, with its reason.

use std::time::Duration;

/// Bytes of one message at most. A stream carries it, so no packet size matters; a peer that lies can make a host
/// hold this much and no more.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Bytes of one author's set at most, counted as keys, values and [`ENTRY_OVERHEAD_BYTES`] per entry, tombstones
/// included. Below [`MESSAGE_BYTES_MAX`] by more than a head, so that a whole set always fits one message and
/// no half of a set is ever held.
pub const SET_BYTES_MAX: usize = MESSAGE_BYTES_MAX - (64 << 10);

/// What an entry takes on the wire beside its key and value, rounded up.
pub const ENTRY_OVERHEAD_BYTES: usize = 32;

/// Entries of one author at most, tombstones included.
pub const ENTRIES_MAX: usize = 65_536;

/// Bytes of a key at most.
pub const KEY_BYTES_MAX: usize = 512;

/// Bytes of a value at most.
pub const VALUE_BYTES_MAX: usize = 256 << 10;

/// Authors held at most; sets of further ones are refused.
pub const AUTHORS_MAX: usize = 4_096;

/// With at most this many live peers a change goes to each of them directly.
pub const PUSH_DIRECT_MAX: usize = 32;

/// With more live peers a change goes to this many at random, and each that learns from it hands it on to as many.
pub const PUSH_FANOUT: usize = 6;

/// How often a pushed change is handed on at most. Each host hands it on once, when it learns of it, so all together
/// send at most [`PUSH_FANOUT`] messages per host; the limit must only be high enough that the last to learn still do:
/// with 4 it missed 1 % of 1,000 hosts, without a limit it misses e^-6, 0.25 %.
pub const PUSH_HOPS: u32 = 8;

/// Pause between rounds of anti-entropy while facts change.
pub const ROUND_PAUSE_MIN: Duration = Duration::from_secs(1);

/// Pause between rounds once nothing has changed for a while.
pub const ROUND_PAUSE_MAX: Duration = Duration::from_secs(8);

/// A range of at most this many authors is listed instead of split further: about 3 KiB.
pub const LEAVES_MAX: usize = 64;

/// Peers that are greeted with a digest when they come up at the same time, and (on average) hosts that greet one
/// that comes up: enough for speed, few enough that a host that was away is not sent everything 500 times.
pub(crate) const GREETINGS: usize = 16;

/// How long an answer to a want is waited for before another peer is asked for the same.
pub const WANT_PATIENCE: Duration = Duration::from_secs(1);

/// How long a state that the judge refused is not looked at again.
pub const REFUSAL_LASTS: Duration = Duration::from_secs(30);

/// How long a tombstone is kept.
pub const TOMBSTONE_LASTS: Duration = Duration::from_secs(3_600);

/// Tombstones an author keeps at most; with more, the older half is collected at once.
pub const TOMBSTONES_MAX: usize = 1_024;

/// How much longer a tombstone may stay when nothing else is published, so that many go in one version.
pub(crate) const TOMBSTONE_SLACK: Duration = Duration::from_secs(900);

/// Leaves and wants of one message that are looked at; the rest waits for a later round.
pub(crate) const ITEMS_MAX: usize = 8_192;

/// Ranges of one message that are looked at: twice what comparing [`AUTHORS_MAX`] authors takes.
pub(crate) const RANGES_MAX: usize = 512;

/// Messages with which one message with wants is answered at most; the rest is asked for again.
pub(crate) const ANSWERS_MAX: usize = 8;
