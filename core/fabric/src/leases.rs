//! Leases: what is spare, who witnesses it, and taking over what a silent or forgotten host owned.
//!
//! `core/leases` decides, `core/ipam` knows the addresses. Here the two meet the facts, in whose states both count.

use std::collections::{BTreeMap, BTreeSet};

use shoal_facts::Change;
use shoal_ipam::Ipam;
use shoal_leases::{LeaseView, Leases, Scene};
use shoal_schema::{Decision, Fact, FactKey, FactKind, FactsVersion, GiftFact, SpareFact, VoteFact, limit};
use shoal_types::{HostId, Moment, NetworkId, PoolIndex};

use crate::carry::saves_first;
use crate::{At, Effect, Fabric, Member, RECONCILE_EVERY, message};

/// Where the last word to an owner is kept, so that what it vouches for is durable before it is told.
const WORD: &[u8] = b"leases/word";

/// The part of a lease's duration between two looks for what else is spare.
const SPARE_PART: u32 = 60;

/// What this host has of leases beside the cores.
pub(crate) struct LeaseWork {
    pub(crate) leases: Leases,
    /// The state of this host's facts since which it wants something back of a pool.
    wanted_since: BTreeMap<(NetworkId, PoolIndex), FactsVersion>,
    next_spare: Moment,
    /// When leases are looked at again, however many facts change until then.
    next_look: Moment,
}

impl LeaseWork {
    pub(crate) fn new(me: HostId, duration: std::time::Duration, now: Moment) -> Self {
        let next_spare = now + duration / SPARE_PART;
        let wanted_since = BTreeMap::new();
        Self { leases: Leases::new(me, duration, now), wanted_since, next_spare, next_look: now }
    }
}

/// The world as `core/leases` sees it, with what its closures borrow.
struct Sight<'a> {
    me: HostId,
    now: Moment,
    member: &'a Member,
    ipam: &'a Ipam,
    hosts: BTreeSet<HostId>,
    known: BTreeSet<HostId>,
    owners: BTreeSet<HostId>,
    waits_for: Option<FactsVersion>,
}

impl<'a> Sight<'a> {
    fn new(
        me: HostId,
        now: Moment,
        member: &'a Member,
        ipam: &'a Ipam,
        waits_for: Option<FactsVersion>,
    ) -> Self {
        let hosts: BTreeSet<HostId> = member.hosts.keys().copied().filter(|host| *host != me).collect();
        let trust = &member.trust;
        let all = hosts.iter().chain(trust.members.keys()).chain(&member.let_in).copied();
        let known = all.filter(|host| *host != me && !trust.forgotten.contains(host)).collect();
        let owners = if member.trust.forgotten.is_empty() { BTreeSet::new() } else { ipam.owners() };
        Self { me, now, member, ipam, hosts, known, owners, waits_for }
    }

    fn with<T>(&self, act: impl FnOnce(&Scene<'_>) -> T) -> T {
        let forgotten: BTreeSet<HostId> =
            self.member.trust.forgotten.iter().copied().filter(|host| *host != self.me).collect();
        act(&Scene {
            now: self.now,
            hosts: &self.hosts,
            known: &self.known,
            alive: &self.member.alive,
            forgotten: &forgotten,
            version: &|host| version_of(self.member, host),
            owns: &|host| self.owners.contains(&host),
            has_spare: &|host| spares_of(self.member, host).any(|fact| self.ipam.owned_of(host, &fact) > 0),
            waits_for: self.waits_for,
        })
    }
}

impl Fabric {
    /// Everything about leases that is due. Nothing of it is urgent, and it looks at every host.
    pub(crate) fn tick_leases(&mut self, at: At) -> Vec<Effect> {
        if at.now < self.lease_work.next_look {
            return Vec::new();
        }
        self.lease_work.next_look = at.now + RECONCILE_EVERY;
        let Some(member) = &self.member else { return Vec::new() };
        let LeaseWork { leases, wanted_since, .. } = &mut self.lease_work;
        let waits_for = wanted_since.values().max().copied();
        let sight = Sight::new(self.me, at.now, member, self.networks.ipam(), waits_for);
        let decided = sight.with(|scene| leases.tick(scene));
        let mut effects = Vec::new();
        for effect in decided {
            effects.extend(self.carry_leases(effect, at));
        }
        self.open_wanted(at.now);
        effects.extend(self.plan_spare(at));
        effects
    }

    fn carry_leases(&mut self, effect: shoal_leases::Effect, at: At) -> Vec<Effect> {
        match effect {
            shoal_leases::Effect::Publish(fact) => self.publish_facts(&[fact], at),
            shoal_leases::Effect::Withdraw(key) => self.publish(vec![(key.into_bytes(), None)], at),
            shoal_leases::Effect::Renew(witness) => vec![Effect::Message(witness, message::renew())],
            shoal_leases::Effect::TakeOver(vote) => self.take_over(vote, at),
            shoal_leases::Effect::Inherit(host) => self.inherit(host, at),
        }
    }

    /// Takes over what is spare of a host whose lease has ended.
    fn take_over(&mut self, vote: VoteFact, at: At) -> Vec<Effect> {
        let Some(member) = &self.member else { return Vec::new() };
        let spares: Vec<SpareFact> = spares_of(member, vote.owner).collect();
        let ipam = self.networks.ipam_mut();
        let gifts =
            spares.iter().flat_map(|it| ipam.take_over(vote.owner, it.network, it.pool, Some(&it.spare)).0);
        let mut facts: Vec<Fact> = gifts.map(Fact::Gift).collect();
        let (runs, name) = (facts.len(), self.networks.host_name(vote.owner));
        facts.push(Fact::Vote(vote));
        let mut effects = self.publish_facts(&facts, at);
        effects.push(Effect::Notice(format!(
            "host {name} is away and its lease on addresses has ended: this host has taken over what was spare there \
             ({runs} ranges)"
        )));
        effects
    }

    /// Takes over everything of a forgotten host.
    fn inherit(&mut self, host: HostId, at: At) -> Vec<Effect> {
        let pools: Vec<_> = self
            .networks
            .ipam()
            .holders(at.now)
            .iter()
            .filter(|it| it.host == host)
            .map(|it| (it.network, it.pool))
            .collect();
        let ipam = self.networks.ipam_mut();
        let gifts = pools.into_iter().flat_map(|(network, pool)| ipam.take_over(host, network, pool, None).0);
        let facts: Vec<Fact> = gifts.map(Fact::Gift).collect();
        let mut effects = self.publish_facts(&facts, at);
        effects.push(Effect::Notice(format!(
            "every host knows that host {} is forgotten: its addresses ({} ranges) belong to this host now",
            host.short(),
            facts.len()
        )));
        effects
    }

    /// Lets addresses be used that were wanted back and that nobody can take over any more.
    fn open_wanted(&mut self, now: Moment) {
        if self.networks.ipam().wanting().is_empty() {
            self.lease_work.wanted_since.clear();
            return;
        }
        let Some(sight) = self.sight(now) else { return };
        let own = version_of(sight.member, self.me).unwrap_or_default();
        let leases = &self.lease_work.leases;
        let since = |pool| *self.lease_work.wanted_since.get(&pool).unwrap_or(&own);
        let pools = sight.ipam.wanting().into_iter().map(|pool| (pool, since(pool)));
        let wanting: Vec<_> = sight.with(|scene| {
            pools.map(|(pool, since)| (pool, since, leases.is_settled(since, scene))).collect()
        });
        self.lease_work.wanted_since = wanting.iter().map(|(pool, since, _)| (*pool, *since)).collect();
        for ((network, pool), _, settled) in wanting {
            self.networks.ipam_mut().open_wanted(network, pool, settled);
        }
    }

    /// Says what else is spare, and wants some back.
    fn plan_spare(&mut self, at: At) -> Vec<Effect> {
        let Some(member) = &self.member else { return Vec::new() };
        let due = at.now >= self.lease_work.next_spare;
        if due {
            self.lease_work.next_spare = at.now + self.local.lease / SPARE_PART;
        }
        // Of a pair nobody can take over from the other.
        let close = due && member.hosts.len() > 2;
        let facts = self.networks.ipam_mut().plan_spare(close, at.now);
        let pools: Vec<_> = facts.iter().map(|fact| (fact.network, fact.pool)).collect();
        let effects = self.publish_facts(&facts.into_iter().map(Fact::Spare).collect::<Vec<_>>(), at);
        let version = self.member.as_ref().and_then(|member| version_of(member, self.me));
        for pool in pools {
            self.lease_work.wanted_since.extend(version.map(|version| (pool, version)));
        }
        self.open_wanted(at.now);
        effects
    }

    /// Takes in what a fact says of leases. Whether its author should hear what is held of it.
    pub(crate) fn learn_of_leases(&mut self, author: HostId, fact: &Fact) -> bool {
        self.lease_work.leases.learn(author, fact);
        match fact {
            Fact::Spare(spare) if author == self.me => {
                self.networks.ipam_mut().spared(spare);
                false
            }
            Fact::Spare(_) | Fact::Lease(_) => author != self.me,
            _ => false,
        }
    }

    /// The reverse of [`Fabric::learn_of_leases`].
    pub(crate) fn unlearn_of_leases(&mut self, author: HostId, fact: &Fact) {
        self.lease_work.leases.unlearn(author, fact);
        if let Fact::Spare(spare) = fact
            && author == self.me
        {
            self.networks.ipam_mut().unspared(spare.network, spare.pool);
        }
    }

    /// An owner asks which state of its facts this host holds.
    pub(crate) fn renewed_by(&mut self, owner: HostId, at: At) -> Vec<Effect> {
        self.lease_work.leases.heard(owner, at.now);
        self.word_to(owner)
    }

    /// A witness says which state of this host's facts it holds.
    pub(crate) fn heard_word(&mut self, from: HostId, version: FactsVersion, at: At) {
        let Some(own) = self.member.as_ref().and_then(|member| version_of(member, self.me)) else { return };
        self.lease_work.leases.seen(from, version, own, at.now);
        self.open_wanted(at.now);
    }

    /// Tells an owner which state of its facts is held here. That state must be durable first.
    pub(crate) fn word_to(&self, owner: HostId) -> Vec<Effect> {
        let Some(member) = &self.member else { return Vec::new() };
        let held = version_of(member, owner);
        let Some(word) = held.and_then(|held| self.lease_work.leases.word_to(owner, held)) else {
            return Vec::new();
        };
        let writes = vec![(WORD.to_vec(), Some(word.counter.to_be_bytes().to_vec()))];
        saves_first(vec![Effect::Save { writes, durable: true }, Effect::Message(owner, message::word(word))])
    }

    /// This host came back with an older state than the fabric held: what either knew to be spare was perhaps taken
    /// over, and is used only after the witnesses have heard of this; its lease and votes are again the later ones.
    pub(crate) fn leases_after_loss(&self, change: &Change) -> Option<Fact> {
        let read = |value: Option<&[u8]>| Fact::decode(&change.key, value?).ok();
        match (read(change.old.as_deref())?, read(change.new.as_deref())) {
            (Fact::Spare(old), new) => {
                let new =
                    new.into_iter().filter_map(|new| if let Fact::Spare(it) = new { Some(it) } else { None });
                let all = new.chain([old.clone()]).flat_map(|it| it.spare.into_iter().chain(it.wanted));
                let mut wanted: Vec<_> = all.collect();
                wanted.sort_unstable();
                wanted.dedup();
                if wanted.len() > limit::SPARE_RUNS_MAX {
                    let ends = wanted.first().zip(wanted.iter().max_by_key(|run| run.1));
                    wanted = ends.map(|(first, last)| (first.0, last.1)).into_iter().collect();
                }
                Some(Fact::Spare(SpareFact { spare: Vec::new(), wanted, ..old }))
            }
            (Fact::Lease(old), Some(Fact::Lease(new))) => (old.term > new.term).then_some(Fact::Lease(old)),
            (Fact::Vote(old), Some(Fact::Vote(new))) => {
                let rank = |vote: &VoteFact| (vote.term, vote.decision != Decision::Open);
                (rank(&old) > rank(&new)).then_some(Fact::Vote(old))
            }
            (old @ (Fact::Lease(_) | Fact::Vote(_)), _) => Some(old),
            _ => None,
        }
    }

    /// A host's lease, as this host knows.
    pub fn lease_of(&self, host: HostId, now: Moment) -> Option<LeaseView> {
        self.sight(now)?.with(|scene| self.lease_work.leases.view(host, scene))
    }

    /// Hosts that must say that they know who is forgotten before the addresses of those come back.
    pub fn unaware_of_forgotten(&self, now: Moment) -> Vec<HostId> {
        let sight = self.sight(now);
        sight.map(|sight| sight.with(|scene| self.lease_work.leases.disagreeing(scene))).unwrap_or_default()
    }

    /// From whom a host took over addresses of a pool that it still owns in part.
    pub fn taken_from(&self, host: HostId, network: NetworkId, pool: PoolIndex) -> BTreeSet<HostId> {
        let Some(member) = &self.member else { return BTreeSet::new() };
        let prefix = FactKey::gifts_of(network);
        let facts = member.facts.of(host).filter(|(key, _)| key.starts_with(&prefix));
        let gifts = facts.filter_map(|(key, value)| match Fact::decode(key, value) {
            Ok(Fact::Gift(gift)) if gift.pool == pool && gift.to == host => Some(gift),
            _ => None,
        });
        let owns = |gift: &GiftFact| self.networks.ipam().owner_of(network, pool, gift.first) == Some(host);
        gifts.filter(owns).filter_map(|gift| gift.from).collect()
    }

    /// What a host says to be spare, by pool; and how many of those addresses it owns.
    pub fn spare_of(&self, host: HostId) -> Vec<(SpareFact, u128)> {
        let Some(member) = &self.member else { return Vec::new() };
        spares_of(member, host)
            .map(|fact| (fact.clone(), self.networks.ipam().owned_of(host, &fact)))
            .collect()
    }

    fn sight(&self, now: Moment) -> Option<Sight<'_>> {
        let waits_for = self.lease_work.wanted_since.values().max().copied();
        Some(Sight::new(self.me, now, self.member.as_ref()?, self.networks.ipam(), waits_for))
    }
}

fn version_of(member: &Member, host: HostId) -> Option<FactsVersion> {
    let version = member.facts.version_of(host)?;
    Some(FactsVersion { incarnation: version.incarnation, counter: version.counter })
}

fn spares_of(member: &Member, host: HostId) -> impl Iterator<Item = SpareFact> {
    let prefix = FactKey::kind_prefix(FactKind::Spare);
    let facts = member.facts.of(host).filter(move |(key, _)| key.starts_with(prefix));
    facts.filter_map(|(key, value)| match Fact::decode(key, value) {
        Ok(Fact::Spare(spare)) => Some(spare),
        _ => None,
    })
}
