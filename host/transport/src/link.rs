//! One connection to a member whose membership has been proved.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use quinn::{Connection, ConnectionError};
use shoal_trust::Certificate;
use shoal_types::{HostId, Moment};

use crate::socket::plain;
use crate::wire::{Code, sentence};

/// Streams that a member may have open towards us; each may hold a message in memory.
const STREAMS_MAX: u32 = 8;
/// Unread bytes that a member may have on the way to us.
const WINDOW_BYTES: u32 = 8 << 20;

/// A connection on which both sides have accepted each other.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) connection: Connection,
    pub(crate) host: HostId,
    /// The peer's, from its hello.
    pub(crate) session: u64,
    /// Which of the two hosts opened the connection.
    pub(crate) dialled_by: HostId,
    pub(crate) since: Moment,
    certificate: Mutex<Certificate>,
    /// Why we closed it, if we did.
    goodbye: Mutex<Option<(Code, String)>>,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// A sentence.
    pub(crate) why: String,
    /// Whether one side refused the other, and if so, whether it was we.
    pub(crate) refused_by_us: Option<bool>,
}

impl Link {
    /// Wraps a connection after both hellos and lifts the limits set on strangers.
    pub(crate) fn new(
        connection: Connection,
        certificate: Certificate,
        session: u64,
        dialled_by: HostId,
        since: Moment,
    ) -> Self {
        connection.set_max_concurrent_uni_streams(STREAMS_MAX.into());
        connection.set_max_concurrent_bi_streams(STREAMS_MAX.into());
        connection.set_receive_window(WINDOW_BYTES.into());
        let host = certificate.host;
        let (certificate, goodbye) = (Mutex::new(certificate), Mutex::default());
        Self { connection, host, session, dialled_by, since, certificate, goodbye }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        plain(self.connection.remote_address())
    }

    pub(crate) fn certificate(&self) -> Certificate {
        self.certificate.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_certificate(&self, certificate: Certificate) {
        *self.certificate.lock().unwrap_or_else(PoisonError::into_inner) = certificate;
    }

    /// Whether the connection has ended, for whatever reason.
    pub(crate) fn is_over(&self) -> bool {
        self.connection.close_reason().is_some()
    }

    /// Closes with a sentence that both sides will report.
    pub(crate) fn close(&self, code: Code, why: &str) {
        let mut goodbye = self.goodbye.lock().unwrap_or_else(PoisonError::into_inner);
        goodbye.get_or_insert((code, why.to_owned()));
        self.connection.close(code.number(), why.as_bytes());
    }

    /// Reads how it ended.
    pub(crate) fn ending(&self, error: &ConnectionError) -> Ending {
        let goodbye = self.goodbye.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match (error, goodbye) {
            (ConnectionError::LocallyClosed, Some((code, why))) => {
                Ending { why, refused_by_us: (code == Code::Refused).then_some(true) }
            }
            _ => ending(error),
        }
    }

    /// Which of two connections to one peer stays. Both sides come to the same answer: a restarted peer and a peer
    /// that dials again know that the older connection is dead; of two that were dialled from both ends, the one
    /// dialled by the lower id stays.
    pub(crate) fn outranks(&self, older: &Self) -> bool {
        older.is_over()
            || self.session != older.session
            || self.dialled_by == older.dialled_by
            || self.dialled_by < older.dialled_by
    }
}

/// What a connection's error means, as a sentence.
pub(crate) fn ending(error: &ConnectionError) -> Ending {
    let mut refused_by_us = None;
    let why = match error {
        ConnectionError::ApplicationClosed(close) => {
            refused_by_us = (close.error_code == Code::Refused.number()).then_some(false);
            sentence(&close.reason)
        }
        ConnectionError::TimedOut => "it stopped answering".to_owned(),
        ConnectionError::Reset => "it lost the connection, probably by a restart".to_owned(),
        ConnectionError::LocallyClosed => "the connection was closed here".to_owned(),
        ConnectionError::VersionMismatch => "it speaks another version of QUIC".to_owned(),
        ConnectionError::ConnectionClosed(close) => match u64::from(close.error_code) {
            0x2 => "it accepts no connections: it is in no fabric".to_owned(),
            NO_COMMON_PROTOCOL => "it speaks another version of Shoal's protocol".to_owned(),
            _ => format!("its QUIC closed the connection: {}", sentence(close.to_string().as_bytes())),
        },
        other => format!("the connection failed: {}", sentence(other.to_string().as_bytes())),
    };
    Ending { why, refused_by_us }
}

/// TLS alert 120 (no_application_protocol, RFC 7301) as a QUIC error (RFC 9001, section 4.8).
pub(crate) const NO_COMMON_PROTOCOL: u64 = 0x178;
