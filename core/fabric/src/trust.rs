//! Who belongs to the fabric: certificates, tokens and expulsions, as facts tell them.

use std::collections::{BTreeMap, BTreeSet};

use shoal_facts::Judge;
use shoal_schema::{Fact, FactKey, ForgottenFact};
use shoal_trust::{Certificate, TrustView};
use shoal_types::{HostId, WallTime};

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

impl Fabric {
    /// Updates whom to trust from a fact; tells the transport if that changed.
    pub(crate) fn learn_of_members(&mut self, author: HostId, fact: &Fact, at: At) -> Vec<Effect> {
        let Some(member) = &mut self.member else { return Vec::new() };
        match fact {
            Fact::Host(host) => {
                let new = member.hosts.insert(author, host.clone()).is_none();
                let certified = Certificate::decode(&host.certificate).ok().filter(|it| it.host == author);
                let key = certified.map(|certificate| certificate.key);
                let changed = key.is_some_and(|key| member.trust.members.insert(author, key) != Some(key));
                let mut effects =
                    if changed { vec![Effect::Trust(member.trust.clone())] } else { Vec::new() };
                if (new || changed) && author != self.me {
                    effects.extend(self.greet(author, at));
                }
                effects
            }
            Fact::Token(token) => {
                member.trust.tokens.insert(token.verifier, token.expires);
                vec![Effect::Trust(member.trust.clone())]
            }
            Fact::Forgotten(forgotten) => self.expel(forgotten, at),
            Fact::Taken(_)
            | Fact::Endpoint(_)
            | Fact::Network(_)
            | Fact::Gift(_)
            | Fact::Use(_)
            | Fact::Tunnel(_) => Vec::new(),
        }
    }

    /// The reverse of [`Fabric::learn_of_members`]. An expulsion is never taken back.
    pub(crate) fn unlearn_of_members(&mut self, author: HostId, fact: &Fact) -> Vec<Effect> {
        let Some(member) = &mut self.member else { return Vec::new() };
        match fact {
            Fact::Host(_) => {
                member.hosts.remove(&author);
                Vec::new()
            }
            Fact::Token(token) => {
                member.trust.tokens.remove(&token.verifier);
                vec![Effect::Trust(member.trust.clone())]
            }
            _ => Vec::new(),
        }
    }

    /// A host became known: exchange facts with it, and let membership find it.
    fn greet(&mut self, host: HostId, at: At) -> Vec<Effect> {
        let Some(member) = &mut self.member else { return Vec::new() };
        let calls = member.membership.announce(host, at.now);
        let mut effects = self.carry_membership(calls, at);
        effects.extend(self.meet(at));
        effects
    }

    fn expel(&mut self, forgotten: &ForgottenFact, at: At) -> Vec<Effect> {
        let host = forgotten.host;
        let Some(member) = &mut self.member else { return Vec::new() };
        if !member.trust.forgotten.insert(host) {
            return Vec::new();
        }
        member.hosts.remove(&host);
        self.tunnels.forget(host);
        let mut effects = vec![Effect::Trust(member.trust.clone()), Effect::ProjectSoon];
        if host == self.me {
            effects.push(Effect::Certificate(None));
            effects.push(Effect::Notice(
                "this host was forgotten by its fabric: its containers reach no other host; run `shoal leave`, then join again"
                    .into(),
            ));
            return effects;
        }
        let out = member.membership.forget(host, at.now);
        let dropped = member.facts.forget(host);
        effects.extend(self.carry_membership(out, at));
        effects.extend(self.carry_facts(dropped, at));
        effects.extend(self.meet(at));
        effects
    }

    /// Puts a host out for good. What it wrote that belongs to all (networks, gifts) is taken over by this host, with
    /// its stamps and epochs, so that nothing else changes by it.
    ///
    /// # Errors
    /// A sentence, if no host or several go by that name, or it is this one.
    pub fn forget(&mut self, name: &str, at: At) -> Result<(HostId, Vec<Effect>), String> {
        let Some(member) = &self.member else { return Err("this host belongs to no fabric".into()) };
        let fits =
            |host: &HostId, known: &str| known == name || host.to_string() == name || host.short() == name;
        let found: Vec<_> = member.hosts.iter().filter(|(id, host)| fits(id, host.name.as_str())).collect();
        let (host, known_as) = match found.as_slice() {
            [] => return Err(format!("the fabric has no host \"{name}\": `shoal hosts` lists them")),
            [(host, fact)] => (**host, fact.name.to_string()),
            _ => {
                return Err(format!(
                    "several hosts are called \"{name}\": use the id that `shoal hosts` shows"
                ));
            }
        };
        if host == self.me {
            return Err(
                "a host cannot forget itself: run `shoal leave` here, or `shoal forget` on another host"
                    .into(),
            );
        }
        let mut inherited = self.inheritance(host);
        inherited.push(Fact::Forgotten(ForgottenFact { host, name: known_as, at: at.wall }));
        Ok((host, self.publish_facts(&inherited, at)))
    }

    /// What a host wrote that must outlive it, less what this host has written under the same key.
    fn inheritance(&self, host: HostId) -> Vec<Fact> {
        let Some(member) = &self.member else { return Vec::new() };
        let shared = |(key, value): (&[u8], &[u8])| {
            let fact = Fact::decode(key, value).ok()?;
            let lasting = match &fact {
                Fact::Network(network) => self.networks.catalog().winner(network.id)?.0 == host,
                Fact::Gift(_) | Fact::Forgotten(_) => member.facts.get(self.me, key).is_none(),
                _ => false,
            };
            lasting.then_some(fact)
        };
        member.facts.of(host).filter_map(shared).collect()
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
                Ok(Fact::Token(token)) => {
                    trust.tokens.insert(token.verifier, token.expires);
                }
                Ok(Fact::Forgotten(forgotten)) => {
                    trust.forgotten.insert(forgotten.host);
                }
                _ => {}
            }
        }
        hosts.retain(|host, _| !trust.forgotten.contains(host));
        let forgotten = trust.forgotten.clone();
        (trust, hosts, forgotten)
    }
}
