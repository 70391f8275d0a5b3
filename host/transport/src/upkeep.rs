//! Certificates over time: renews this host's at half of its life or when its issuer was forgotten, and closes
//! connections of peers whose has ended.

use std::sync::Arc;
use std::time::Duration;

use shoal_trust::{Certificate, Claim, Issuer};

use crate::config::Member;
use crate::event::Event;
use crate::link::Link;
use crate::shared::Shared;
use crate::wire::{self, REQUEST_BYTES_MAX, Reply, Request};

/// How long a member may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs until aborted.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut every = tokio::time::interval(shared.config.limits.upkeep_every);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let Some((member, view)) = shared.place() else { continue };
        shared.judge_links();
        // Hosts that do not know this one yet take its issuer's word; a forgotten issuer has none.
        let is_orphan =
            matches!(member.certificate.issuer, Issuer::Member(it) if view.forgotten.contains(&it));
        if is_orphan || member.certificate.is_due(shared.clock.wall()) {
            renew(&shared, &member).await;
        }
    }
}

async fn renew(shared: &Shared, member: &Member) {
    let Some(certificate) = obtain(shared, member).await else {
        tracing::warn!("no connected member could renew this host's certificate; it is asked again");
        return;
    };
    if !shared.renew(&member.certificate, &certificate) {
        return;
    }
    let announcement = Arc::new(Request::Announce(certificate.encode()));
    shared.tell(Event::CertificateRenewed(certificate)).await;
    for link in current_links(shared) {
        let announcement = announcement.clone();
        // A peer that does not hear of it closes at the old one's end, and the next dial shows the new one.
        tokio::spawn(async move { ask(&link, &announcement).await });
    }
}

/// From the fabric's root if this host keeps it, else from the first connected member that gives one.
async fn obtain(shared: &Shared, member: &Member) -> Option<Certificate> {
    if let Some(root) = &member.root {
        let Certificate { fabric, key, name, .. } = member.certificate.clone();
        return Some(Certificate::issue_by_root(
            root,
            Claim { fabric, key, name, from: shared.clock.wall() },
        ));
    }
    for link in current_links(shared) {
        match ask(&link, &Request::Renew).await {
            Some(Reply::Renewed(bytes)) => {
                let certificate = Certificate::decode(&bytes).ok();
                let certificate = certificate.filter(|it| is_as_asked(it, &member.certificate, &link));
                if certificate.is_some() {
                    return certificate;
                }
            }
            Some(Reply::Refused(sentence)) => {
                tracing::info!(host = %link.host, why = wire::sentence(sentence.as_bytes()), "renewal was refused");
            }
            Some(Reply::Noted) | None => {}
        }
    }
    None
}

/// Whether it is for us, of our fabric, signed by the one we asked, and lasts longer than what we have.
fn is_as_asked(new: &Certificate, old: &Certificate, from: &Link) -> bool {
    (new.fabric, new.host, new.key, &new.name) == (old.fabric, old.host, old.key, &old.name)
        && new.issuer == Issuer::Member(from.host)
        && new.is_signed_by(&from.certificate().key)
        && new.not_after > old.not_after
}

async fn ask(link: &Link, request: &Request) -> Option<Reply> {
    let talk = async {
        let (mut send, mut recv) = link.connection.open_bi().await.ok()?;
        wire::write(&mut send, request).await.ok()?;
        let _ = send.finish();
        wire::read(&mut recv, REQUEST_BYTES_MAX).await.ok()
    };
    tokio::time::timeout(ANSWER_TIMEOUT, talk).await.ok().flatten()
}

fn current_links(shared: &Shared) -> Vec<Arc<Link>> {
    shared.peers.all().iter().filter_map(|peer| peer.link()).collect()
}
