//! Reads one connection to a member until it ends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::{ConnectionError, RecvStream, SendStream};
use shoal_trust::{Certificate, Claim};

use crate::config::MESSAGE_BYTES_MAX;
use crate::event::Event;
use crate::link::Link;
use crate::outbox::Kind;
use crate::peer::Peer;
use crate::shared::Shared;
use crate::wire::{self, REQUEST_BYTES_MAX, Reply, Request};

/// How long one parcel or request may take to arrive.
const STREAM_TIMEOUT: Duration = Duration::from_secs(60);

/// Reads, and when the connection ends, takes it off the books and tells so.
pub(crate) async fn run(shared: Arc<Shared>, peer: Arc<Peer>, link: Arc<Link>) {
    let error = tokio::select! {
        error = packets(&shared, &link) => error,
        error = parcels(&shared, &link) => error,
        error = requests(&shared, &link) => error,
    };
    let ending = link.ending(&error);
    let _turn = peer.turn.lock().await;
    if let Some(by_us) = ending.refused_by_us {
        shared.tell_refusal(&link.connection, Some(link.host), ending.why.clone(), by_us);
    }
    if peer.remove(&link, &ending.why) {
        shared.tell(Event::Disconnected { host: link.host, why: ending.why }).await;
    }
}

async fn packets(shared: &Shared, link: &Link) -> ConnectionError {
    loop {
        match link.connection.read_datagram().await {
            Ok(bytes) => packet(shared, link, &bytes),
            Err(error) => return error,
        }
    }
}

fn packet(shared: &Shared, link: &Link, bytes: &Bytes) {
    match bytes.first().copied().and_then(Kind::of) {
        Some(Kind::Datagram) => {
            let event = Event::Datagram { from: link.host, bytes: bytes.slice(1..) };
            if shared.events.try_send(event).is_err() {
                shared.counters.datagrams_unread.one();
            }
        }
        Some(Kind::Relay) => match shared.relay.get() {
            Some(relay) => relay.heard(shared, link, &bytes[1..]),
            None => shared.counters.relay_unknown.one(),
        },
        Some(Kind::Message) | None => shared.counters.datagrams_garbled.one(),
    }
}

async fn parcels(shared: &Arc<Shared>, link: &Arc<Link>) -> ConnectionError {
    loop {
        match link.connection.accept_uni().await {
            Ok(stream) => {
                tokio::spawn(parcel(shared.clone(), link.clone(), stream));
            }
            Err(error) => return error,
        }
    }
}

async fn parcel(shared: Arc<Shared>, link: Arc<Link>, mut stream: RecvStream) {
    let read = tokio::time::timeout(STREAM_TIMEOUT, stream.read_to_end(1 + MESSAGE_BYTES_MAX)).await;
    // A connection that broke is no fault of the stream's; its end is told elsewhere.
    let bytes = match read {
        Ok(Ok(bytes)) => Bytes::from(bytes),
        _ if link.is_over() => return,
        _ => return shared.counters.streams_garbled.one(),
    };
    let from = link.host;
    match bytes.first().copied().and_then(Kind::of) {
        Some(Kind::Datagram) => shared.tell(Event::Datagram { from, bytes: bytes.slice(1..) }).await,
        Some(Kind::Message) => shared.tell(Event::Message { from, bytes: bytes.slice(1..) }).await,
        Some(Kind::Relay) | None => shared.counters.streams_garbled.one(),
    }
}

async fn requests(shared: &Arc<Shared>, link: &Arc<Link>) -> ConnectionError {
    loop {
        match link.connection.accept_bi().await {
            Ok((send, recv)) => {
                tokio::spawn(request(shared.clone(), link.clone(), send, recv));
            }
            Err(error) => return error,
        }
    }
}

async fn request(shared: Arc<Shared>, link: Arc<Link>, mut send: SendStream, mut recv: RecvStream) {
    let asked = tokio::time::timeout(STREAM_TIMEOUT, wire::read(&mut recv, REQUEST_BYTES_MAX)).await;
    let reply = match asked {
        Ok(Ok(Request::Renew)) => renew(&shared, &link),
        Ok(Ok(Request::Announce(certificate))) => note(&shared, &link, &certificate),
        _ if link.is_over() => return,
        _ => return shared.counters.streams_garbled.one(),
    };
    // If the asker is gone, nobody misses the answer.
    if wire::write(&mut send, &reply).await.is_ok() {
        let _ = send.finish();
        let _ = tokio::time::timeout(STREAM_TIMEOUT, send.stopped()).await;
    }
}

/// Signs a new certificate for a known member over the name that its present one gives.
fn renew(shared: &Shared, link: &Link) -> Reply {
    let Some((_, view)) = shared.place() else {
        return Reply::Refused("this host is in no fabric".to_owned());
    };
    let present = link.certificate();
    if !view.is_member(present.host, &present.key) {
        return Reply::Refused("this host does not know the asker as a member yet: ask another".to_owned());
    }
    let (fabric, from) = (view.fabric, shared.clock.wall());
    let claim = Claim { fabric, key: present.key, name: present.name, from };
    Reply::Renewed(Certificate::issue_by_member(&shared.config.key, claim).encode())
}

/// Takes note of a peer's new certificate, so that its connection outlives the old one.
fn note(shared: &Shared, link: &Link, bytes: &[u8]) -> Reply {
    let refused = |error: String| Reply::Refused(error);
    let certificate = match Certificate::decode(bytes) {
        Ok(certificate) => certificate,
        Err(error) => return refused(error.to_string()),
    };
    if certificate.key != link.certificate().key {
        return refused("that is the certificate of another host".to_owned());
    }
    match shared.judge(&certificate) {
        Ok(()) => {
            link.set_certificate(certificate);
            Reply::Noted
        }
        Err(sentence) => refused(sentence),
    }
}
