//! Who belongs to the fabric: certificates, tokens and expulsions, as facts tell them.

use std::collections::{BTreeMap, BTreeSet};

use shoal_facts::Judge;
use shoal_schema::{Fact, FactKey, ForgottenFact};
use shoal_trust::{Certificate, TrustView};
use shoal_types::{HostId, WallTime};

use crate::tokens::unrevoked;
use crate::{At, Effect, Fabric};

/// Decides whether an author's facts are taken: it must show a certificate that this host would accept from a peer.
pub(crate) struct FactsJudge<'a> {
    pub(crate) trust: &'a TrustView,
    pub(crate) wall: WallTime,
}

impl Judge for FactsJudge<'_> {
    fn admits(&self, author: HostId, entries: &dyn Fn(&[u8]) -> Option<Vec<u8>>) -> Result<(), String> {
        if self.trust.forgotten.contains(&author) {
            return Err("it was forgotten".into());
        }
        if self.trust.members.contains_key(&author) {
            return Ok(());
        }
        let key = FactKey::host();
        let bytes = entries(key.as_bytes()).ok_or("it says nothing of itself")?;
        let Ok(Fact::Host(host)) = Fact::decode(key.as_bytes(), &bytes) else {
            return Err("what it says of itself cannot be read".into());
        };
        let certificate = Certificate::decode(&host.certificate).map_err(|error| error.to_string())?;
        if certificate.host != author {
            return Err("it shows another host's certificate".into());
        }
        self.trust.judge(&certificate, self.wall).map_err(|distrust| distrust.to_string())
    }
}

/// What a batch of facts brings that is done once for all of them: a host that joins learns of a thousand at once.
#[derive(Debug, Default)]
pub(crate) struct Acquaintances {
    trust_changed: bool,
    tokens_changed: bool,
    new: Vec<HostId>,
}

impl Fabric {
    /// Updates whom to trust from a fact. [`Fabric::meet_new`] ends a batch of them.
    pub(crate) fn learn_of_members(
        &mut self,
        author: HostId,
        fact: &Fact,
        at: At,
        batch: &mut Acquaintances,
    ) -> Vec<Effect> {
        let Some(member) = &mut self.member else { return Vec::new() };
        match fact {
            Fact::Host(host) => {
                let new = member.hosts.insert(author, host.clone()).is_none();
                let certified = Certificate::decode(&host.certificate).ok().filter(|it| it.host == author);
                let key = certified.map(|certificate| certificate.key);
                let changed = key.is_some_and(|key| member.trust.members.insert(author, key) != Some(key));
                batch.trust_changed |= changed;
                batch.new.extend(((new || changed) && author != self.me).then_some(author));
                Vec::new()
            }
            Fact::Token(_) => {
                batch.tokens_changed = true;
                Vec::new()
            }
            Fact::Forgotten(forgotten) => self.expel(forgotten, at),
            Fact::Taken(_)
            | Fact::Endpoint(_)
            | Fact::Network(_)
            | Fact::Gift(_)
            | Fact::Use(_)
            | Fact::Tunnel(_)
            | Fact::Secret(_)
            | Fact::Sighting(_)
            | Fact::Lease(_)
            | Fact::Spare(_)
            | Fact::Vote(_)
            | Fact::Roster(_) => Vec::new(),
        }
    }

    /// The reverse of [`Fabric::learn_of_members`]. An expulsion is never taken back.
    pub(crate) fn unlearn_of_members(&mut self, author: HostId, fact: &Fact, batch: &mut Acquaintances) {
        let Some(member) = &mut self.member else { return };
        match fact {
            Fact::Host(_) => drop(member.hosts.remove(&author)),
            Fact::Token(_) => batch.tokens_changed = true,
            _ => {}
        }
    }

    /// Tells the transport whom to trust, then exchanges facts with hosts that became known, and lets membership find
    /// them.
    pub(crate) fn meet_new(&mut self, batch: Acquaintances, at: At) -> Vec<Effect> {
        let Some(member) = &mut self.member else { return Vec::new() };
        if batch.tokens_changed {
            member.trust.tokens = unrevoked(&member.facts);
        }
        let mut effects = Vec::new();
        effects.extend(
            (batch.trust_changed || batch.tokens_changed).then(|| Effect::Trust(member.trust.clone())),
        );
        if !batch.new.is_empty() {
            let calls = member.membership.announce(batch.new, at.now);
            effects.extend(self.carry_membership(calls, at));
            effects.extend(self.meet(at));
        }
        effects
    }

    fn expel(&mut self, forgotten: &ForgottenFact, at: At) -> Vec<Effect> {
        let host = forgotten.host;
        let Some(member) = &mut self.member else { return Vec::new() };
        if !member.trust.forgotten.insert(host) {
            return Vec::new();
        }
        member.hosts.remove(&host);
        let mut effects = vec![Effect::Trust(member.trust.clone()), Effect::ProjectSoon];
        let unsaid = self.tunnels.forget(host);
        if host == self.me {
            effects.push(Effect::Certificate(None));
            effects.push(Effect::Notice(
                "this host was forgotten by its fabric: its containers reach no other host; run `shoal leave`, then join again"
                    .into(),
            ));
            return effects;
        }
        let out = member.membership.forget(host, at.now);
        effects.extend(self.carry_tunnels(unsaid, at));
        let left = self.left_by(host);
        effects.extend(self.carry_membership(out, at));
        effects.extend(self.drop_facts(host, at));
        effects.extend(self.adopt(left, at));
        effects.extend(self.revoke_own_tokens(at));
        effects.extend(self.meet(at));
        effects
    }

    /// Who is expelled and which tokens hold, from facts already held (at the start).
    pub(crate) fn trust_from_facts(
        facts: &shoal_facts::Facts,
        mut trust: TrustView,
    ) -> (TrustView, BTreeMap<HostId, shoal_schema::HostFact>, BTreeSet<HostId>) {
        let mut hosts = BTreeMap::new();
        for (author, key, value) in facts.iter_prefix(b"") {
            match Fact::decode(key, value) {
                Ok(Fact::Host(host)) => {
                    if let Some(it) =
                        Certificate::decode(&host.certificate).ok().filter(|it| it.host == author)
                    {
                        trust.members.insert(author, it.key);
                    }
                    hosts.insert(author, host);
                }
                Ok(Fact::Forgotten(forgotten)) => {
                    trust.forgotten.insert(forgotten.host);
                }
                _ => {}
            }
        }
        trust.tokens = unrevoked(facts);
        hosts.retain(|host, _| !trust.forgotten.contains(host));
        let forgotten = trust.forgotten.clone();
        (trust, hosts, forgotten)
    }
}
