//! What one host knows of its fabric's members, and its judgement of a certificate.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use shoal_types::{FabricId, HostId, HostName, WallTime};

use crate::certificate::{Certificate, Issuer};
use crate::key::host_id_of;
use crate::token::{Role, Verifier, check_proof};
use crate::words::span;

/// What a host goes by when it judges others: computed from facts, replaced as a whole when they change.
#[derive(Clone, PartialEq, Eq)]
pub struct TrustView {
    /// This host's fabric.
    pub fabric: FabricId,
    /// The fabric's root public key.
    pub root_public: [u8; 32],
    /// The key of every host known by its facts. Forgotten ones may stay in it: their key still checks the
    /// signatures that they made while they were members.
    pub members: BTreeMap<HostId, [u8; 32]>,
    /// Hosts that are out for good; outranks `members`.
    pub forgotten: BTreeSet<HostId>,
    /// Join tokens by what members know of them, with their end; those that were revoked are not among them. Ended
    /// ones may stay in it for a while: then the answer to a late joiner says how late it is.
    pub tokens: BTreeMap<Verifier, WallTime>,
}

/// Why a certificate is not accepted. As text: one sentence that names the host and says what to do; it is shown
/// on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distrust {
    /// The name the certificate gives.
    pub name: HostName,
    /// The host.
    pub host: HostId,
    /// Why.
    pub cause: Cause,
}

/// The reason in a [`Distrust`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The id is not that of the key.
    WrongId,
    /// The certificate is of another fabric.
    OtherFabric {
        /// The certificate's.
        theirs: FabricId,
        /// The judge's.
        ours: FabricId,
    },
    /// The host was forgotten.
    Forgotten,
    /// Validity begins later, by more than clocks may differ.
    NotYetValid {
        /// How much later.
        ahead: Duration,
    },
    /// Validity is over.
    Expired {
        /// For how long.
        ago: Duration,
    },
    /// Validity ends before it begins, or lasts longer than any issuer grants.
    OddDates,
    /// Signed by a host that the judge does not know, for a key that it does not know either.
    UnknownIssuer {
        /// The signer.
        issuer: HostId,
    },
    /// Signed by a host that was forgotten, for a key that the judge does not know.
    ForgottenIssuer {
        /// The signer.
        issuer: HostId,
    },
    /// Not signed by whom it names as its signer.
    Forged,
}

/// Why a join is refused at the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRefusal {
    /// No token that this host knows fits the proof.
    Unknown,
    /// It ended.
    Expired {
        /// When.
        at: WallTime,
    },
}

impl TrustView {
    /// How far two hosts' clocks may differ before certificates are refused for it.
    pub const CLOCK_SKEW: Duration = Duration::from_secs(3_600);

    /// Whether to accept a peer that has proved possession of the certificate's key.
    ///
    /// A key that facts have made known needs no known issuer: its member may have been certified by a host that
    /// joined while this one was away, or that was forgotten since.
    pub fn judge(&self, certificate: &Certificate, wall: WallTime) -> Result<(), Distrust> {
        let causes = [
            self.identity(certificate),
            self.standing(certificate),
            dates(certificate, wall),
            self.signature(certificate),
        ];
        match causes.into_iter().flatten().next() {
            None => Ok(()),
            Some(cause) => Err(Distrust { name: certificate.name.clone(), host: certificate.host, cause }),
        }
    }

    /// Finds the token that a joiner proved to hold.
    pub fn admit(
        &self,
        shown: &[u8; 32],
        channel_binding: &[u8; 32],
        wall: WallTime,
    ) -> Result<Verifier, TokenRefusal> {
        let fits = |verifier: &Verifier| check_proof(verifier, channel_binding, Role::Joiner, shown);
        let (verifier, expires) = self.tokens.iter().find(|(it, _)| fits(it)).ok_or(TokenRefusal::Unknown)?;
        if *expires <= wall {
            return Err(TokenRefusal::Expired { at: *expires });
        }
        Ok(*verifier)
    }

    /// Whether the host is known and not forgotten, so that its certificate may be renewed.
    pub fn is_member(&self, host: HostId, key: &[u8; 32]) -> bool {
        self.members.get(&host) == Some(key) && !self.forgotten.contains(&host)
    }

    fn identity(&self, certificate: &Certificate) -> Option<Cause> {
        if host_id_of(&certificate.key) != certificate.host {
            return Some(Cause::WrongId);
        }
        let theirs = certificate.fabric;
        (theirs != self.fabric).then_some(Cause::OtherFabric { theirs, ours: self.fabric })
    }

    fn standing(&self, certificate: &Certificate) -> Option<Cause> {
        self.forgotten.contains(&certificate.host).then_some(Cause::Forgotten)
    }

    fn signature(&self, certificate: &Certificate) -> Option<Cause> {
        let Issuer::Member(issuer) = certificate.issuer else {
            return (!certificate.is_signed_by(&self.root_public)).then_some(Cause::Forged);
        };
        let is_known = self.is_member(certificate.host, &certificate.key);
        match self.members.get(&issuer) {
            Some(key) if !certificate.is_signed_by(key) => Some(Cause::Forged),
            _ if is_known => None,
            _ if self.forgotten.contains(&issuer) => Some(Cause::ForgottenIssuer { issuer }),
            None => Some(Cause::UnknownIssuer { issuer }),
            Some(_) => None,
        }
    }
}

fn dates(certificate: &Certificate, wall: WallTime) -> Option<Cause> {
    let (from, until) = (certificate.not_before, certificate.not_after);
    if until <= from || until.since(from) > Certificate::LIFETIME {
        return Some(Cause::OddDates);
    }
    if from.since(wall) > TrustView::CLOCK_SKEW {
        return Some(Cause::NotYetValid { ahead: from.since(wall) });
    }
    (wall.since(until) > TrustView::CLOCK_SKEW).then(|| Cause::Expired { ago: wall.since(until) })
}

impl fmt::Debug for TrustView {
    /// Leaves the tokens out: what members know of one is enough to join with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustView")
            .field("fabric", &self.fabric)
            .field("members", &self.members.keys())
            .field("forgotten", &self.forgotten)
            .field("tokens", &self.tokens.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, host, cause } = self;
        let who = format!("{name} ({})", host.short());
        match cause {
            Cause::WrongId => write!(
                f,
                "the certificate of {who} names an id that is not its key's: run `shoal join` there again"
            ),
            Cause::OtherFabric { theirs, ours } => write!(
                f,
                "{who} belongs to another fabric ({}, this one is {}): run `shoal leave` there, then `shoal join`",
                theirs.short(),
                ours.short()
            ),
            Cause::Forgotten => write!(
                f,
                "{who} was forgotten by this fabric: run `shoal leave` there, then `shoal join` with a new token"
            ),
            Cause::NotYetValid { ahead } => write!(
                f,
                "the certificate of {who} begins in {}: set the clocks of both hosts right",
                span(*ahead)
            ),
            Cause::Expired { ago } => {
                write!(f, "the certificate of {who} ended {} ago: run `shoal join` there again", span(*ago))
            }
            Cause::OddDates => write!(
                f,
                "the certificate of {who} has dates that no issuer grants: run `shoal join` there again"
            ),
            Cause::UnknownIssuer { issuer } => write!(
                f,
                "the certificate of {who} was issued by {}, which is not known here: wait a minute for facts to \
                 spread, else run `shoal join` there again",
                issuer.short()
            ),
            Cause::ForgottenIssuer { issuer } => write!(
                f,
                "the certificate of {who} was issued by {}, which was forgotten: run `shoal join` there again",
                issuer.short()
            ),
            Cause::Forged => write!(
                f,
                "the certificate of {who} is not signed by the issuer it names: run `shoal join` there again"
            ),
        }
    }
}

impl std::error::Error for Distrust {}

#[cfg(test)]
mod tests;
