//! Lets a host in that proves to hold a join token.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use quinn::{Connection, SendStream};
use shoal_trust::{Certificate, Claim, Role, TokenRefusal, TrustView, Verifier, host_id_of, proof, span};
use shoal_types::{HostName, WallTime};
use tokio::sync::oneshot;

use crate::event::{Event, JoinRequest};
use crate::shared::Shared;
use crate::socket::plain;
use crate::wire::{self, Code, Grant, JoinAsk, JoinRefusal, JoinReply};

/// How long this host's agent may take to decide.
const DECISION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the joiner may take to read the answer.
const READING_TIMEOUT: Duration = Duration::from_secs(30);
const ADDRESSES_MAX: usize = 8;
const VERSION_BYTES_MAX: usize = 64;

/// What both ends of a TLS channel know and nobody else: RFC 8446, section 7.5.
pub(crate) fn channel_binding(connection: &Connection) -> Option<[u8; 32]> {
    let mut binding = [0; 32];
    connection.export_keying_material(&mut binding, b"EXPORTER-shoal-join", b"").ok()?;
    Some(binding)
}

/// Answers a joiner and closes the connection.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    connection: &Connection,
    key: &[u8; 32],
    ask: JoinAsk,
    mut send: SendStream,
) {
    let reply = match decide(shared, connection, key, ask).await {
        Ok(grant) => JoinReply::Granted(Box::new(grant)),
        Err(refusal) => {
            let sentence = sentence(shared, key, &refusal);
            shared.tell_refusal(connection, Some(host_id_of(key)), sentence, true);
            JoinReply::Refused(refusal)
        }
    };
    let answer = async {
        wire::write(&mut send, &reply).await.ok()?;
        send.finish().ok()?;
        send.stopped().await.ok()
    };
    let _ = tokio::time::timeout(READING_TIMEOUT, answer).await;
    connection.close(Code::Bye.number(), b"the join is over");
}

async fn decide(
    shared: &Shared,
    connection: &Connection,
    key: &[u8; 32],
    ask: JoinAsk,
) -> Result<Grant, JoinRefusal> {
    let said = |text: &str| JoinRefusal::Said(text.to_owned());
    let (_, view) = shared.place().ok_or_else(|| said("this host has left its fabric"))?;
    let binding = channel_binding(connection).ok_or_else(|| said("the channel is not complete"))?;
    let verifier = check_token(shared, &view, &ask, &binding)?;
    if view.forgotten.contains(&host_id_of(key)) {
        return Err(JoinRefusal::Forgotten);
    }
    // After the token, so that who has none cannot use the limit up for those who have one.
    check_rate(shared)?;
    let request = parse(ask)?;
    let name = request.name.clone();
    let welcome = ask_owner(shared, connection, key, request).await.map_err(JoinRefusal::Said)?;
    let claim = Claim { fabric: view.fabric, key: *key, name, from: shared.clock.wall() };
    let good = view.members.iter().filter(|(host, _)| !view.forgotten.contains(host));
    Ok(Grant {
        proof: proof(&verifier, &binding, Role::Introducer),
        certificate: Certificate::issue_by_member(&shared.config.key, claim).encode(),
        root_public: view.root_public,
        members: good.map(|(host, key)| (*host.bytes(), *key)).collect(),
        welcome,
        observed: plain(connection.remote_address()).ip(),
    })
}

fn check_token(
    shared: &Shared,
    view: &TrustView,
    ask: &JoinAsk,
    binding: &[u8; 32],
) -> Result<Verifier, JoinRefusal> {
    if ask.fabric != *view.fabric.bytes() {
        return Err(JoinRefusal::OtherFabric(*view.fabric.bytes()));
    }
    view.admit(&ask.proof, binding, shared.clock.wall()).map_err(|refusal| match refusal {
        TokenRefusal::Unknown => JoinRefusal::UnknownToken,
        TokenRefusal::Expired { at } => JoinRefusal::ExpiredToken(at.as_millis()),
    })
}

fn check_rate(shared: &Shared) -> Result<(), JoinRefusal> {
    let mut joins = shared.joins.lock().unwrap_or_else(PoisonError::into_inner);
    if joins.take(shared.clock.now(), shared.config.limits.join_every) {
        return Ok(());
    }
    shared.counters.joins_limited.one();
    Err(JoinRefusal::Busy)
}

fn parse(ask: JoinAsk) -> Result<JoinRequest, JoinRefusal> {
    let JoinAsk { name, addresses, quic_port, vxlan_port, version, .. } = ask;
    let name: HostName = name.parse().map_err(|error| JoinRefusal::Said(format!("{error}")))?;
    if addresses.len() > ADDRESSES_MAX {
        return Err(JoinRefusal::Said(format!("at most {ADDRESSES_MAX} addresses can be advertised")));
    }
    if version.len() > VERSION_BYTES_MAX {
        return Err(JoinRefusal::Said(format!("a version has at most {VERSION_BYTES_MAX} bytes")));
    }
    Ok(JoinRequest { name, addresses, quic_port, vxlan_port, version })
}

async fn ask_owner(
    shared: &Shared,
    connection: &Connection,
    key: &[u8; 32],
    request: JoinRequest,
) -> Result<Vec<u8>, String> {
    let (reply, answer) = oneshot::channel();
    let address = plain(connection.remote_address());
    let asked = Event::JoinAsked { host: host_id_of(key), key: *key, request, address, reply };
    let talk = async {
        shared.tell(asked).await;
        answer.await
    };
    match tokio::time::timeout(DECISION_TIMEOUT, talk).await {
        Ok(Ok(decision)) => decision,
        _ => Err("the agent there did not decide in time: try again".to_owned()),
    }
}

/// A refusal as this side tells it.
fn sentence(shared: &Shared, key: &[u8; 32], refusal: &JoinRefusal) -> String {
    let who = format!("host {} wanted to join", host_id_of(key).short());
    match refusal {
        JoinRefusal::OtherFabric(_) => format!("{who} with a token of another fabric"),
        JoinRefusal::UnknownToken => {
            format!(
                "{who} with a token that is not known here: it is forged or revoked, or somebody sits in between"
            )
        }
        JoinRefusal::ExpiredToken(at) => {
            let ago = shared.clock.wall().since(WallTime::from_millis(*at));
            format!("{who} with a token that expired {} ago: make a new one with `shoal token`", span(ago))
        }
        JoinRefusal::Forgotten => format!("{who}, but it was forgotten: it needs `shoal leave` first"),
        JoinRefusal::Busy => format!("{who} while too many others did"),
        JoinRefusal::Said(text) => format!("{who}: {text}"),
    }
}
