//! Becoming a member: making a fabric, letting others in, joining, leaving.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use prost::Message as _;
use shoal_facts::{Facts, Signer};
use shoal_membership::Membership;
use shoal_schema::{Fact, HostFact, SecretFact, Taken, TakenFact};
use shoal_trust::{Certificate, Claim, FabricRoot, HostKey, TrustView};
use shoal_types::{HostId, HostName, Moment, WireGuardSecret};

use crate::carry::saves_first;
use crate::{At, Effect, Fabric, Identity, Member, trust::FactsJudge};

/// What a joining host got from the member that let it in.
#[derive(Debug, Clone)]
pub struct Introduction {
    /// The certificate the member issued for us.
    pub certificate: Certificate,
    /// The fabric's root public key, which the token vouched for.
    pub root_public: [u8; 32],
    /// The member.
    pub introducer: HostId,
    /// All members and their keys.
    pub members: Vec<(HostId, [u8; 32])>,
    /// What [`Fabric::welcome`] of the member returned.
    pub welcome: Vec<u8>,
}

/// What a member tells a host that it lets in.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Welcome {
    /// All facts, as messages of `core/facts`.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub facts: Vec<Vec<u8>>,
    /// Whether the member knew the host before it let it in.
    #[prost(bool, tag = "2")]
    pub known: bool,
}

struct FactsSigner(Arc<HostKey>);

impl Signer for FactsSigner {
    fn public(&self) -> [u8; 32] {
        self.0.public()
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }
}

impl Fabric {
    /// Makes a fabric of one. The root key signs this host's certificate and is needed no more.
    ///
    /// # Errors
    /// A sentence, if this host belongs to a fabric already.
    pub fn init(&mut self, root: &FabricRoot, at: At) -> Result<Vec<Effect>, String> {
        self.must_be_alone()?;
        let (fabric, key, name) = (root.id(), self.key.public(), self.local.name.clone());
        let certificate = Certificate::issue_by_root(root, Claim { fabric, key, name, from: at.wall });
        let vouched = vec![(self.me, key)];
        let identity = Identity { fabric, root_public: root.public(), certificate, vouched };
        let save =
            Effect::Save { writes: vec![(Identity::KEY.to_vec(), Some(identity.encode()))], durable: true };
        let mut effects = vec![save];
        effects.extend(self.become_member(identity, [], at)?);
        effects.extend(self.publish_myself(at));
        let secret = WireGuardSecret::new(root.derive("the fabric's secret"));
        effects.extend(self.publish_facts(&[Fact::Secret(SecretFact { secret })], at));
        Ok(afresh(effects))
    }

    /// Becomes a member by another member's word. A member of the same fabric keeps everything and gets the new
    /// certificate: its own may have ended while it was off.
    ///
    /// # Errors
    /// A sentence, if this host belongs to another fabric, was forgotten, or the introduction is not whole.
    pub fn join(&mut self, introduction: Introduction, at: At) -> Result<Vec<Effect>, String> {
        let damaged = |_| "the member that let this host in sent a welcome that cannot be read".to_owned();
        let welcome = Welcome::decode(introduction.welcome.as_slice()).map_err(damaged)?;
        let is_of_it = |member: &Member| member.identity.fabric == introduction.certificate.fabric;
        if self.member.as_ref().is_some_and(is_of_it) {
            let introducer = introduction.introducer;
            let is_friend = self.member.as_ref().is_some_and(|it| it.trust.members.contains_key(&introducer));
            self.must_be_known(&welcome, is_friend)?;
            return self.join_again(introduction, &welcome, at);
        }
        self.must_be_alone()?;
        let certificate = introduction.certificate;
        let left = self.left_behind(certificate.fabric, introduction.introducer, &welcome)?;
        let root_public = introduction.root_public;
        let mut vouched = introduction.members;
        vouched.push((self.me, self.key.public()));
        left.vouch(&mut vouched);
        let identity = Identity { fabric: certificate.fabric, root_public, certificate, vouched };
        let save =
            Effect::Save { writes: vec![(Identity::KEY.to_vec(), Some(identity.encode()))], durable: true };
        let mut effects = vec![save];
        effects.extend(self.become_member(identity, [], at)?);
        // Nothing is published before this host knows what the fabric may still hold of it: two states of one version
        // would look like two hosts with one key.
        for message in &welcome.facts {
            let received = self.hear_welcome(introduction.introducer, message, at);
            effects.extend(self.carry_welcome(received, at));
        }
        // In the order in which the facts came, what this host owns now may have seemed to be taken from it.
        self.networks.taken_up();
        effects.extend(self.tell_left(left, at));
        effects.extend(self.publish_myself(at));
        effects.extend(self.meet(at));
        Ok(afresh(effects))
    }

    /// A member is let in once more. It goes on as it was, but must learn at once whom to trust by now: of those who
    /// came while it was off, it knows nobody.
    fn join_again(
        &mut self,
        introduction: Introduction,
        welcome: &Welcome,
        at: At,
    ) -> Result<Vec<Effect>, String> {
        let Some(member) = self.member.as_mut().filter(|it| !it.trust.forgotten.contains(&self.me)) else {
            return Err("this host was forgotten by its fabric: run `shoal leave` first".into());
        };
        for (host, key) in introduction.members {
            if member.trust.members.insert(host, key).is_none() {
                member.identity.vouched.push((host, key));
            }
        }
        let mut effects = vec![Effect::Trust(member.trust.clone())];
        for message in &welcome.facts {
            let received = self.hear_welcome(introduction.introducer, message, at);
            effects.extend(self.carry_facts(received, at));
        }
        effects.extend(self.renewed(introduction.certificate, at));
        effects.extend(self.call_everyone(at));
        effects.extend(self.meet(at));
        Ok(saves_first(effects))
    }

    fn hear_welcome(&mut self, from: HostId, message: &[u8], at: At) -> Vec<shoal_facts::Effect> {
        let Some(member) = &mut self.member else { return Vec::new() };
        let judge = FactsJudge { trust: &member.trust, wall: at.wall };
        member.facts.receive(from, message, at.now, &judge)
    }

    /// Like any facts received; but that the fabric knows this host of old is no news when it comes back.
    fn carry_welcome(&mut self, received: Vec<shoal_facts::Effect>, at: At) -> Vec<Effect> {
        let (mut rest, mut lost) = (Vec::new(), Vec::new());
        for effect in received {
            match effect {
                shoal_facts::Effect::Notice(shoal_facts::Notice::Restored { lost: old, .. }) => {
                    lost.extend(old);
                }
                other => rest.push(other),
            }
        }
        let mut effects = self.carry_facts(rest, at);
        effects.extend(self.save_lost(&lost, at));
        effects
    }

    /// What to tell a host that proved to hold a token. [`Fabric::let_in`] also remembers it.
    ///
    /// # Errors
    /// A sentence, if this host cannot let anyone in or the joiner was forgotten.
    pub fn welcome(&self, joiner: HostId) -> Result<Vec<u8>, String> {
        let Some(member) = &self.member else { return Err("this host belongs to no fabric".into()) };
        if member.trust.forgotten.contains(&joiner) {
            return Err(
                "this host was forgotten by the fabric and its key is refused for good: remove its state folder (containers \
                 lose their network), restart its agent and join again"
                    .into(),
            );
        }
        let facts = member.facts.snapshot_for(joiner);
        let known = member.trust.members.contains_key(&joiner);
        Ok(Welcome { facts, known }.encode_to_vec())
    }

    /// Leaves the fabric: takes back everything this host said, and forgets everything it was told.
    ///
    /// # Errors
    /// A sentence, if the host belongs to no fabric or containers still use its networks.
    pub fn leave(&mut self, at: At) -> Result<Vec<Effect>, String> {
        if self.member.is_none() {
            return Err("this host belongs to no fabric".into());
        }
        if let Some(endpoint) = self.networks.endpoints().next() {
            let name = endpoint.container.clone().unwrap_or_else(|| endpoint.endpoint.short().to_owned());
            return Err(format!(
                "container \"{name}\" on this host still uses a network of the fabric: stop it or detach it first"
            ));
        }
        let mut effects = self.farewell(at);
        let Some(member) = self.member.take() else { return Ok(effects) };
        effects.push(self.remember_left(&member));
        drop(member);
        effects.push(Effect::Save { writes: vec![(Identity::KEY.to_vec(), None)], durable: true });
        effects.push(Effect::Clear(b"facts/".to_vec()));
        let ours: Vec<_> = self.networks.docker_networks().map(|d| (d.network, d.docker.clone())).collect();
        for (network, docker) in ours {
            effects.push(Effect::Engine(shoal_networks::EngineRequest::Remove(network, docker)));
        }
        let mut records = self.networks.forget_all();
        records.extend(self.tunnels.forget_all());
        // Another seed, or a network made after the next join would get the id of one made before.
        self.seed = shoal_networks::Dice::new(self.seed).roll();
        self.networks = shoal_networks::Networks::new(self.me, self.seed);
        self.lease_work = crate::leases::LeaseWork::new(self.me, self.local.lease, at.now);
        self.path_mtus.clear();
        effects.push(Effect::Save {
            writes: records.into_iter().map(|key| (key, None)).collect(),
            durable: true,
        });
        effects.push(Effect::Certificate(None));
        effects.push(Effect::ProjectSoon);
        Ok(effects)
    }

    /// Tells the others that this host goes: its own facts, and back what addresses it owns where that is possible.
    fn farewell(&mut self, at: At) -> Vec<Effect> {
        let mut effects = Vec::new();
        let heir = self.member.as_ref().and_then(|member| member.alive.iter().next().copied());
        if let Some(heir) = heir {
            let gifts = self.hand_down(heir, at);
            effects.extend(self.publish_facts(&gifts, at));
        }
        effects.extend(self.withdraw_uses(at));
        if let Some(member) = &mut self.member {
            let bye = member.membership.leave(at.now);
            effects.extend(self.carry_membership(bye, at));
        }
        effects
    }

    /// Takes back what this host says of its own use of things; what belongs to all stays.
    fn withdraw_uses(&mut self, at: At) -> Vec<Effect> {
        let own = |fact: &Fact| {
            let of_machine = matches!(fact, Fact::Taken(_) | Fact::Endpoint(_) | Fact::Use(_));
            of_machine || matches!(fact, Fact::Tunnel(_) | Fact::Sighting(_))
        };
        let facts = self.own_facts(b"").into_iter().filter(own);
        let edits = facts.map(|fact| (fact.key().into_bytes(), None)).collect();
        self.publish(edits, at)
    }

    /// Gives all addresses to another host, in as many gifts as it takes.
    fn hand_down(&mut self, heir: HostId, at: At) -> Vec<Fact> {
        const GIFTS_MAX: usize = 64;
        let mine = self.networks.ipam().holders(at.now).into_iter().filter(|holding| holding.host == self.me);
        let pools: Vec<_> = mine.map(|holding| (holding.network, holding.pool)).collect();
        let mut gifts = Vec::new();
        for (network, pool) in pools {
            let want = shoal_ipam::Want::Run { count: u32::MAX, waiting: true };
            for _ in 0..GIFTS_MAX {
                let Ok(gift) = self.networks.ipam_mut().give(network, pool, heir, want, at.now) else {
                    break;
                };
                gifts.push(Fact::Gift(gift));
            }
        }
        gifts
    }

    /// Address space in use on this machine, as the agent observed it.
    pub fn set_taken(&mut self, mut prefixes: Vec<Taken>, at: At) -> Vec<Effect> {
        prefixes.sort();
        prefixes.dedup();
        prefixes.truncate(1024);
        if self.taken == prefixes {
            return Vec::new();
        }
        self.taken.clone_from(&prefixes);
        self.publish_facts(&[Fact::Taken(TakenFact { prefixes })], at)
    }

    /// Another certificate for this host, from a member that renewed it.
    pub fn renewed(&mut self, certificate: Certificate, at: At) -> Vec<Effect> {
        let Some(member) = &mut self.member else { return Vec::new() };
        member.identity.certificate = certificate.clone();
        let writes = vec![(Identity::KEY.to_vec(), Some(member.identity.encode()))];
        let mut effects =
            vec![Effect::Save { writes, durable: true }, Effect::Certificate(Some(certificate))];
        effects.extend(self.publish_myself(at));
        saves_first(effects)
    }

    /// The addresses or the name of this machine changed.
    pub fn set_local(
        &mut self,
        name: HostName,
        addresses: Vec<IpAddr>,
        underlay_mtu: u16,
        at: At,
    ) -> Vec<Effect> {
        let same = (&self.local.name, &self.local.addresses, self.local.underlay_mtu)
            == (&name, &addresses, underlay_mtu);
        if same {
            return Vec::new();
        }
        (self.local.name, self.local.addresses, self.local.underlay_mtu) = (name, addresses, underlay_mtu);
        let mut effects = self.publish_myself(at);
        effects.push(Effect::ProjectSoon);
        effects
    }

    pub(crate) fn become_member(
        &mut self,
        identity: Identity,
        stored: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
        at: At,
    ) -> Result<Vec<Effect>, String> {
        let signer = Arc::new(FactsSigner(Arc::clone(&self.key)));
        let facts =
            Facts::new(self.me, signer, stored, self.seed, at.now).map_err(|error| error.to_string())?;
        let trust = TrustView {
            fabric: identity.fabric,
            root_public: identity.root_public,
            members: identity.vouched.iter().copied().collect(),
            forgotten: Default::default(),
            tokens: BTreeMap::new(),
        };
        let (trust, hosts, forgotten) = Self::trust_from_facts(&facts, trust);
        // A host that left its last fabric a moment ago must seem to live anew.
        let membership = Membership::new(self.me, at.wall.as_millis(), self.seed);
        let heard = BTreeMap::new();
        let certificate = identity.certificate.clone();
        let alive = Default::default();
        let let_in = Default::default();
        self.member =
            Some(Member { identity, facts, membership, trust: trust.clone(), hosts, alive, heard, let_in });
        self.take_up_facts(at.now);
        let mut effects = vec![Effect::Trust(trust), Effect::Certificate(Some(certificate))];
        for host in forgotten {
            if let Some(member) = &mut self.member {
                let dropped = member.facts.forget(host);
                effects.extend(self.carry_facts(dropped, at));
            }
        }
        effects.extend(self.call_everyone(at));
        effects.extend(self.meet(at));
        effects.push(Effect::ProjectSoon);
        self.next_reconcile = at.now;
        Ok(effects)
    }

    /// Gets in touch with every member that is known.
    pub(crate) fn call_everyone(&mut self, at: At) -> Vec<Effect> {
        let Some(member) = &mut self.member else { return Vec::new() };
        let calls = member.membership.announce(member.hosts.keys().copied(), at.now);
        self.carry_membership(calls, at)
    }

    /// Feeds facts that were held before into the views made of them.
    fn take_up_facts(&mut self, now: Moment) {
        let Some(member) = &self.member else { return };
        let held =
            member.facts.iter_prefix(b"").map(|(author, key, value)| (author, Fact::decode(key, value)));
        let mut held: Vec<_> = held.filter_map(|(author, fact)| Some((author, fact.ok()?))).collect();
        // What this host gave away comes before what became of it elsewhere.
        held.sort_by_key(|(author, _)| *author != self.me);
        for (author, fact) in held {
            self.learn_of_tunnels(author, &fact, now);
            self.learn_of_leases(author, &fact);
            self.networks.take_up(author, fact);
        }
        self.networks.taken_up();
    }

    pub(crate) fn publish_myself(&mut self, at: At) -> Vec<Effect> {
        let Some(member) = &self.member else { return Vec::new() };
        let host = HostFact {
            fabric: member.identity.fabric,
            name: self.local.name.clone(),
            addresses: self
                .local
                .addresses
                .iter()
                .copied()
                .take(shoal_schema::limit::ADDRESSES_MAX)
                .collect(),
            quic_port: self.local.quic_port,
            vxlan_port: self.local.tunnels.vxlan_port,
            underlay_mtu: self.local.underlay_mtu,
            version: self.local.version.clone(),
            certificate: member.identity.certificate.encode(),
        };
        let mut facts = vec![Fact::Host(host)];
        // Until the machine was looked at, what was said of it before stands.
        if !self.taken.is_empty() {
            facts.push(Fact::Taken(TakenFact { prefixes: self.taken.clone() }));
        }
        let mut effects = self.publish_facts(&facts, at);
        effects.extend(self.publish_ends(at));
        saves_first(effects)
    }

    fn must_be_alone(&self) -> Result<(), String> {
        match &self.member {
            Some(member) => Err(format!(
                "this host belongs to fabric {} already: run `shoal leave` first",
                member.identity.fabric.short()
            )),
            None => Ok(()),
        }
    }
}

/// A new membership starts without anything that an earlier one may have left on disk.
fn afresh(effects: Vec<Effect>) -> Vec<Effect> {
    let mut effects = saves_first(effects);
    effects.insert(0, Effect::Clear(b"facts/".to_vec()));
    effects
}
