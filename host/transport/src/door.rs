//! Hears strangers: few at once, for a short time, and only one frame each.

use std::sync::Arc;

use quinn::{Connection, Incoming, RecvStream, SendStream};
use shoal_trust::host_id_of;
use tokio::sync::OwnedSemaphorePermit;

use crate::greet;
use crate::introduce;
use crate::shared::Shared;
use crate::tls;
use crate::wire::{self, FrameError, Opening};

/// Runs until the endpoint closes.
pub(crate) async fn run(shared: Arc<Shared>) {
    while let Some(incoming) = shared.endpoint.accept().await {
        meet(&shared, incoming);
    }
}

/// Decides, without waiting, whether a stranger is heard.
fn meet(shared: &Arc<Shared>, incoming: Incoming) {
    if shared.place().is_none() {
        return incoming.refuse();
    }
    let free = shared.strangers.available_permits();
    let is_busy = free <= shared.config.limits.strangers_max / 2;
    if is_busy && !incoming.remote_address_validated() && incoming.may_retry() {
        // Costs the stranger a round trip and us no memory (RFC 9000, section 8.1.2): forged sources end here.
        shared.counters.strangers_retried.one();
        let _ = incoming.retry();
        return;
    }
    match shared.strangers.clone().try_acquire_owned() {
        Ok(permit) => {
            tokio::spawn(hear(shared.clone(), incoming, permit));
        }
        Err(_) => {
            shared.counters.strangers_dropped.one();
            incoming.ignore();
        }
    }
}

async fn hear(shared: Arc<Shared>, incoming: Incoming, permit: OwnedSemaphorePermit) {
    let opened = tokio::time::timeout(shared.config.limits.hello_timeout, open(&shared, incoming)).await;
    let Ok(Some(Opened { connection, key, opening, streams })) = opened else {
        if opened.is_err() {
            shared.counters.strangers_silent.one();
        }
        return;
    };
    match opening {
        Opening::Hello(hello) => {
            let greeted = greet::as_dialled(&shared, connection, &key, &hello, streams).await;
            drop(permit);
            if let Ok(link) = greeted {
                // A refusal here has been told already.
                let _ = shared.admit(link).await;
            }
        }
        Opening::Join(ask) => introduce::run(&shared, &connection, &key, ask, streams.0).await,
    }
}

/// A stranger that has shown a key and said its first word.
struct Opened {
    connection: Connection,
    key: [u8; 32],
    opening: Opening,
    streams: (SendStream, RecvStream),
}

async fn open(shared: &Shared, incoming: Incoming) -> Option<Opened> {
    let connection = incoming.accept().ok()?.await.ok()?;
    let key = tls::peer_key(&connection)?;
    let (send, mut recv) = connection.accept_bi().await.ok()?;
    match wire::read_opening(&mut recv).await {
        Ok(opening) => Some(Opened { connection, key, opening, streams: (send, recv) }),
        Err(FrameError::Cut) => {
            shared.counters.strangers_silent.one();
            None
        }
        Err(error) => {
            let host = host_id_of(&key);
            let sentence = format!("the hello of {} cannot be read: {error}", host.short());
            shared.refuse(&connection, Some(host), sentence);
            None
        }
    }
}
