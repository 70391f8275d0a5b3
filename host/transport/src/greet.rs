//! The hellos: both sides show their certificate and judge the other's. Nothing else is read before.

use std::sync::Arc;

use quinn::{Connection, RecvStream, SendStream};
use shoal_trust::{Certificate, host_id_of};
use shoal_types::HostId;

use crate::dial::Reached;
use crate::link::Link;
use crate::shared::Shared;
use crate::wire::{self, FrameError, HELLO_BYTES_MAX, Hello, Opening, Ready};

/// Greets the host that was dialled. The error is a sentence, already told if it is a refusal.
pub(crate) async fn as_dialler(shared: &Arc<Shared>, reached: Reached) -> Result<Link, String> {
    let Reached { connection, key } = reached;
    let host = host_id_of(&key);
    let limit = shared.config.limits.hello_timeout;
    match tokio::time::timeout(limit, dialler_talk(shared, &connection, &key)).await {
        Ok(Ok(hello)) => Ok(link(shared, connection, hello, shared.id)),
        Ok(Err(stop)) => Err(stop.report(shared, &connection, host)),
        Err(_) => Err(Stop::Silent.report(shared, &connection, host)),
    }
}

/// Answers the hello of a host that dialled.
pub(crate) async fn as_dialled(
    shared: &Arc<Shared>,
    connection: Connection,
    key: &[u8; 32],
    hello: &Hello,
    streams: (SendStream, RecvStream),
) -> Result<Link, String> {
    let host = host_id_of(key);
    let limit = shared.config.limits.hello_timeout;
    match tokio::time::timeout(limit, dialled_talk(shared, key, hello, streams)).await {
        Ok(Ok(vetted)) => Ok(link(shared, connection, vetted, host)),
        Ok(Err(stop)) => Err(stop.report(shared, &connection, host)),
        Err(_) => Err(Stop::Silent.report(shared, &connection, host)),
    }
}

/// A hello that was accepted.
struct Vetted {
    certificate: Certificate,
    session: u64,
}

/// Why a greeting stopped.
enum Stop {
    /// We refuse.
    Refused(String),
    /// The stream broke: the connection may know why.
    Broke(FrameError),
    /// Nothing came.
    Silent,
}

impl Stop {
    /// Closes the connection, tells a refusal, and puts it all in a sentence.
    fn report(self, shared: &Shared, connection: &Connection, host: HostId) -> String {
        match self {
            Self::Refused(sentence) => shared.refuse(connection, Some(host), sentence),
            Self::Broke(FrameError::Cut) => shared
                .mourn(connection, Some(host))
                .unwrap_or_else(|| "it ended the greeting without a reason".to_owned()),
            Self::Broke(error) => {
                shared.refuse(connection, Some(host), format!("its hello cannot be read: {error}"))
            }
            Self::Silent => {
                shared.counters.strangers_silent.one();
                shared.refuse(connection, Some(host), "it did not finish its hello in time".to_owned())
            }
        }
    }
}

impl From<FrameError> for Stop {
    fn from(error: FrameError) -> Self {
        Self::Broke(error)
    }
}

async fn dialler_talk(shared: &Shared, connection: &Connection, key: &[u8; 32]) -> Result<Vetted, Stop> {
    let ours = own_hello(shared)?;
    let (mut send, mut recv) = connection.open_bi().await.map_err(|_| Stop::Broke(FrameError::Cut))?;
    wire::write_opening(&mut send, &Opening::Hello(ours)).await?;
    let hello = wire::read(&mut recv, HELLO_BYTES_MAX).await?;
    let vetted = vet(shared, key, &hello).map_err(Stop::Refused)?;
    wire::write(&mut send, &Ready).await?;
    let _ = send.finish();
    Ok(vetted)
}

async fn dialled_talk(
    shared: &Shared,
    key: &[u8; 32],
    hello: &Hello,
    (mut send, mut recv): (SendStream, RecvStream),
) -> Result<Vetted, Stop> {
    let vetted = vet(shared, key, hello).map_err(Stop::Refused)?;
    wire::write(&mut send, &own_hello(shared)?).await?;
    let _ = send.finish();
    wire::read::<Ready>(&mut recv, HELLO_BYTES_MAX).await?;
    Ok(vetted)
}

fn own_hello(shared: &Shared) -> Result<Hello, Stop> {
    shared.hello().ok_or_else(|| Stop::Refused("this host is in no fabric".to_owned()))
}

/// Judges a hello: the certificate must be for the key that TLS has proved, and good here and now.
fn vet(shared: &Shared, key: &[u8; 32], hello: &Hello) -> Result<Vetted, String> {
    let certificate = Certificate::decode(&hello.certificate)
        .map_err(|error| format!("the certificate of {} cannot be read: {error}", host_id_of(key).short()))?;
    if certificate.key != *key {
        let (shown, proved) = (certificate.host.short(), host_id_of(key).short());
        return Err(format!(
            "host {proved} showed the certificate of {shown}, which is not its own: run `shoal join` there again"
        ));
    }
    shared.judge(&certificate)?;
    Ok(Vetted { certificate, session: hello.session })
}

fn link(shared: &Shared, connection: Connection, vetted: Vetted, dialled_by: HostId) -> Link {
    Link::new(connection, vetted.certificate, vetted.session, dialled_by, shared.clock.now())
}
