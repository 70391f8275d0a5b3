//! Takes parcels to one peer: one task per peer, which also dials it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use crate::dial::{self, Unreached};
use crate::greet;
use crate::link::Link;
use crate::outbox::{Kind, Parcel};
use crate::peer::Peer;
use crate::shared::{Shared, send_packet};
use crate::wire::Code;

/// Runs until aborted.
pub(crate) async fn run(shared: Arc<Shared>, peer: Arc<Peer>) {
    let mut wait = shared.config.limits.backoff_min;
    loop {
        let parcel = peer.outbox.next().await;
        match connected(&shared, &peer).await {
            Ok(()) => {
                wait = shared.config.limits.backoff_min;
                deliver(&shared, &peer, parcel).await;
            }
            Err(why) => {
                tracing::debug!(host = %peer.host, why, "a host cannot be reached");
                peer.failed(why);
                // Of relaying only the wish for a connection waits here.
                let told = usize::from(parcel.kind != Kind::Relay);
                lose(&shared, &peer, told + peer.outbox.clear());
                // A connection that comes in ends the wait.
                let _ = tokio::time::timeout(wait, peer.linked()).await;
                wait = doubled(wait, shared.config.limits.backoff_max);
            }
        }
    }
}

/// Makes sure that there is a connection: the present one, one that comes in, or one dialled for it.
async fn connected(shared: &Arc<Shared>, peer: &Arc<Peer>) -> Result<(), String> {
    if peer.link().is_some() {
        return Ok(());
    }
    // A task of its own, so that a connection that comes in does not cut it in the middle of a hello: both
    // connections would then be lost. The rule in `Link::outranks` decides which stays.
    let dialling = tokio::spawn(dial_and_admit(shared.clone(), peer.clone()));
    tokio::select! {
        _ = peer.linked() => Ok(()),
        outcome = dialling => outcome.unwrap_or_else(|_| Err("the dial was given up".to_owned())),
    }
}

async fn dial_and_admit(shared: Arc<Shared>, peer: Arc<Peer>) -> Result<(), String> {
    let reached = dial::reach(&shared, &peer.addresses(), Some(peer.host)).await;
    let reached = match reached {
        Ok(reached) => reached,
        Err(unreached) => return Err(unreachable(&shared, unreached).await),
    };
    let link = greet::as_dialler(&shared, reached).await?;
    shared.admit(link).await
}

/// Why a peer was not reached. If another host answers at its address, that one's certificate is heard too: a foreign
/// one is refused in a sentence on both sides, a member's says that an address moved.
async fn unreachable(shared: &Arc<Shared>, unreached: Unreached) -> String {
    let sentence = unreached.to_string();
    let Unreached::OtherHost(_, reached) = unreached else { return sentence };
    match greet::as_dialler(shared, *reached).await {
        Ok(link) => {
            link.close(Code::Bye, "another host was expected at this address");
            sentence
        }
        Err(refusal) => format!("{sentence}: {refusal}"),
    }
}

async fn deliver(shared: &Arc<Shared>, peer: &Arc<Peer>, parcel: Parcel) {
    let Some(link) = peer.link() else { return lose(shared, peer, 1) };
    if parcel.kind != Kind::Message && send_packet(&link, &parcel) || parcel.kind == Kind::Relay {
        return;
    }
    let Ok(permit) = peer.in_flight.clone().acquire_owned().await else { return };
    // The wait may have outlasted the connection.
    let link = peer.link().unwrap_or(link);
    tokio::spawn(carry(shared.clone(), peer.clone(), link, parcel, permit));
}

/// Sends one parcel over a stream of its own and waits until it has arrived.
async fn carry(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    link: Arc<Link>,
    parcel: Parcel,
    permit: OwnedSemaphorePermit,
) {
    if write(&link, &parcel).await.is_none() {
        lose(&shared, &peer, 1);
    }
    drop(permit);
}

async fn write(link: &Link, parcel: &Parcel) -> Option<()> {
    let mut stream = link.connection.open_uni().await.ok()?;
    stream.write_all(&[parcel.kind.byte()]).await.ok()?;
    stream.write_chunk(parcel.bytes.clone()).await.ok()?;
    stream.finish().ok()?;
    stream.stopped().await.ok()?.is_none().then_some(())
}

fn lose(shared: &Shared, peer: &Peer, count: usize) {
    peer.dropped.add(count);
    shared.counters.parcels_lost.add(count);
}

fn doubled(wait: Duration, max: Duration) -> Duration {
    (wait * 2).min(max)
}
