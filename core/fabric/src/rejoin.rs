//! Being let in, and coming back: what must not be lost of who belongs and of what this host has said.
//!
//! Addresses of a forgotten host come back once all hosts that are known anywhere say that they know the same hosts
//! (`core/leases`). So a member remembers whom it let in before that host can do anything, nobody forgets whom it
//! knew, and a host that nobody knows any more does not come back: what it holds may be another host's by now.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use shoal_facts::{AUTHORS_MAX, Change};
use shoal_schema::{Fact, FactKey, FactKind};
use shoal_types::{FabricId, HostId};

use crate::{At, Effect, Fabric, Member, Welcome};

/// Public keys of hosts.
type Keys = Vec<(HostId, [u8; 32])>;

/// What a host keeps of a fabric that it has left, in case it comes back with the same key.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Left {
    /// Whom it knew: it may have signed their certificates.
    members: Keys,
    /// Whom it let in and never heard of.
    let_in: BTreeSet<HostId>,
    /// What it said that others may rely on, and who is out; keys and values of facts.
    facts: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Where a member keeps whom it has let in.
const LET_IN: &[u8] = b"fabric/let-in";

/// Hosts that were let in and had said nothing yet.
pub(crate) fn read_let_in(stored: &[(Vec<u8>, Vec<u8>)]) -> BTreeSet<HostId> {
    let record = stored.iter().find(|(key, _)| key == LET_IN);
    record.and_then(|(_, bytes)| postcard::from_bytes(bytes).ok()).unwrap_or_default()
}

fn save_let_in(hosts: &BTreeSet<HostId>) -> Effect {
    // Postcard fails only on types it does not know, and these are all plain.
    let bytes = postcard::to_allocvec(hosts).unwrap_or_default();
    Effect::Save { writes: vec![(LET_IN.to_vec(), Some(bytes))], durable: true }
}

impl Left {
    /// Where it is kept, by fabric.
    const PREFIX: &'static [u8] = b"left/";

    fn key(fabric: FabricId) -> Vec<u8> {
        [Self::PREFIX, fabric.bytes().as_slice()].concat()
    }

    /// Everything of that kind among what was stored.
    pub(crate) fn read(stored: &[(Vec<u8>, Vec<u8>)]) -> BTreeMap<FabricId, Self> {
        let records = stored.iter().filter_map(|(key, value)| {
            let fabric = key.strip_prefix(Self::PREFIX)?.try_into().ok()?;
            Some((FabricId::new(fabric), postcard::from_bytes(value).ok()?))
        });
        records.collect()
    }

    /// Adds whom this host knew to whom it is told of.
    pub(crate) fn vouch(&self, vouched: &mut Keys) {
        let new = self.members.iter().filter(|(host, _)| !vouched.iter().any(|(known, _)| known == host));
        let new: Keys = new.copied().collect();
        vouched.extend(new);
    }
}

impl Fabric {
    /// Lets in a host that proved to hold a token: what to tell it, once what else is to be done is durable.
    ///
    /// # Errors
    /// A sentence, if this host cannot let anyone in, the joiner was forgotten, or the fabric is full.
    pub fn let_in(&mut self, joiner: HostId) -> Result<(Vec<u8>, Vec<Effect>), String> {
        let welcome = self.welcome(joiner)?;
        let Some(member) = &mut self.member else { return Ok((welcome, Vec::new())) };
        let trust = &member.trust;
        if trust.members.contains_key(&joiner) || member.let_in.contains(&joiner) {
            return Ok((welcome, Vec::new()));
        }
        member.let_in.retain(|host| !trust.members.contains_key(host) && !trust.forgotten.contains(host));
        if trust.members.len() + member.let_in.len() >= AUTHORS_MAX {
            return Err(format!("the fabric has {AUTHORS_MAX} hosts, which is all it can have"));
        }
        member.let_in.insert(joiner);
        Ok((welcome, vec![save_let_in(&member.let_in)]))
    }

    /// A host that nobody knows was let in by one that was forgotten before anybody else had heard of it. The fabric
    /// has given what it holds to others, or may do so at any moment.
    pub(crate) fn must_be_known(&self, welcome: &Welcome, is_friend: bool) -> Result<(), String> {
        if !is_friend {
            return Err("this host does not know that member, which may itself be one that the fabric does not know: join by a member \
                 that this host knew when it was last in"
                .to_owned());
        }
        if welcome.known {
            return Ok(());
        }
        let named = |it: &shoal_networks::EndpointRecord| {
            let name = it.container.clone().unwrap_or_else(|| it.endpoint.short().to_owned());
            format!("\"{name}\"")
        };
        let mut users: Vec<String> = self.networks.endpoints().map(named).collect();
        users.sort_unstable();
        let lose = match users.as_slice() {
            [] => String::new(),
            [one] => format!(" (container {one} loses its network)"),
            all => format!(" (containers {} lose their network)", all.join(", ")),
        };
        Err(format!(
            "the member does not know this host, whose addresses may be used elsewhere by now: join by a member that lists \
             it in `shoal hosts`; if none does, remove this host's state folder{lose}, restart its agent and join again"
        ))
    }

    /// What this host must stand by in a fabric that it left and comes back to.
    pub(crate) fn left_behind(
        &self,
        fabric: FabricId,
        introducer: HostId,
        welcome: &Welcome,
    ) -> Result<Left, String> {
        let Some(left) = self.left.get(&fabric) else { return Ok(Left::default()) };
        let is_friend = left.members.iter().any(|(host, _)| *host == introducer);
        self.must_be_known(welcome, is_friend)?;
        Ok(left.clone())
    }

    /// Says again what this host said before it left, where whoever let it in had not heard of it.
    pub(crate) fn tell_left(&mut self, left: Left, at: At) -> Vec<Effect> {
        let Some(member) = &self.member else { return Vec::new() };
        let fabric = member.identity.fabric;
        let is_news = |key: &[u8], value: &[u8]| match Fact::decode(key, value) {
            Ok(Fact::Forgotten(out)) => !member.trust.forgotten.contains(&out.host),
            _ => true,
        };
        let news = left.facts.into_iter().filter(|(key, value)| is_news(key, value));
        let lost: Vec<Change> = news
            .map(|(key, value)| Change {
                author: self.me,
                new: member.facts.get(self.me, &key).map(<[u8]>::to_vec),
                key,
                old: Some(value),
            })
            .collect();
        let mut effects = self.save_lost(&lost, at);
        if let Some(member) = self.member.as_mut().filter(|_| !left.let_in.is_empty()) {
            effects.push(save_let_in(&left.let_in));
            member.let_in = left.let_in;
        }
        if self.left.remove(&fabric).is_some() {
            effects.push(Effect::Save { writes: vec![(Left::key(fabric), None)], durable: true });
        }
        effects
    }

    /// Keeps what this host must stand by if it comes back.
    pub(crate) fn remember_left(&mut self, member: &Member) -> Effect {
        let stands =
            [FactKind::Gift, FactKind::Lease, FactKind::Spare, FactKind::Vote].map(FactKey::kind_prefix);
        let own = member.facts.of(self.me);
        let own = own.filter(|(key, _)| stands.iter().any(|kind| key.starts_with(kind)));
        let out = member.facts.iter_prefix(FactKey::kind_prefix(FactKind::Forgotten));
        let facts = own.chain(out.map(|(_, key, value)| (key, value)));
        let facts = facts.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        let members = member.trust.members.iter().map(|(host, key)| (*host, *key)).collect();
        let (fabric, let_in) = (member.identity.fabric, member.let_in.clone());
        let left = Left { members, let_in, facts };
        // Postcard fails only on types it does not know, and these are all plain.
        let bytes = postcard::to_allocvec(&left).unwrap_or_default();
        self.left.insert(fabric, left);
        let writes = vec![(Left::key(fabric), Some(bytes)), (LET_IN.to_vec(), None)];
        Effect::Save { writes, durable: true }
    }
}
