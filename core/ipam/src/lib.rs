//! Addresses from ranges that are given, never taken.
//!
//! A network's creation says who owns which addresses; from then on only the owner of a run can give it to another
//! host. A host hands out what it owns and nothing else, so two hosts never hand out the same address, also while
//! they cannot hear each other. docs/internals/addresses.md states the invariant and proves it.
//!
//! ```text
//! facts      network (grants), gift   ->  Ownership  who owns what, the same on every host in the end
//! Docker     allocate, release        ->  Pool       what this host does with its part
//! running short                       ->  needs      asks to send to owners
//! another host's ask                  ->  give       a gift fact: make it durable, then answer with it
//! ```
//!
//! After a restart: `network` and `gift` for every stored fact (the own gifts above all), then `restore` for every
//! address in use, and only then `allocate` and `give`.

mod asking;
mod default_pool;
mod derived;
mod error;
mod grant;
mod lease;
mod notice;
mod ownership;
mod pool;
mod run;
mod space;
mod spare;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use shoal_schema::{FactKey, GiftFact, Grant, NetworkSpec, SpareFact, Subnet};
use shoal_types::{HostId, Moment, NetworkId, PoolIndex};

use pool::Pool;

pub use asking::{ANSWER_WITHIN, Ask, LOW_WATER_MAX, REFUSED_FOR, WAITING_FOR, Want};
pub use default_pool::{PoolRefused, check_pool, choose_default_pool, default_v6_pool};
pub use derived::derived_prefix;
pub use error::{AllocateError, Refused};
pub use grant::{SHARE_MAX, plan_grants};
pub use lease::REST;
pub use notice::Notice;
pub use ownership::{Change, Claim, Clash, Merged, Ownership};
pub use run::Run;
pub use spare::RESERVE;
pub use view::{Holding, LocalUse};

type PoolKey = (NetworkId, PoolIndex);

/// All addresses that one host knows of.
#[derive(Debug, Clone)]
pub struct Ipam {
    me: HostId,
    pools: BTreeMap<PoolKey, Pool>,
    /// What sets this host's derived IPv6 ranges apart from other hosts'.
    derived: u64,
    /// This host's own gifts, which it must never lose while they say something that no newer one says.
    given: BTreeMap<FactKey, GiftFact>,
    /// Gifts whose network is not known yet, by author; as many as there are such facts.
    early: BTreeMap<(HostId, FactKey), GiftFact>,
    /// Ownership in removed networks in which something was given.
    removed: BTreeMap<PoolKey, Ownership>,
    /// What this host says to be spare.
    spares: BTreeMap<PoolKey, SpareFact>,
}

impl Ipam {
    /// For the host `me`, knowing nothing.
    pub fn new(me: HostId) -> Self {
        let derived = derived_prefix(me, 0);
        let (given, early, removed) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let spares = BTreeMap::new();
        Self { me, pools: BTreeMap::new(), derived, given, early, removed, spares }
    }

    /// Says who is in the fabric: hosts whose derived IPv6 ranges must differ from this one's. O(hosts).
    pub fn hosts(&mut self, hosts: &BTreeSet<HostId>) {
        self.derived = derived::derived_among(self.me, hosts);
        for pool in self.pools.values_mut() {
            pool.set_derived(self.derived);
        }
    }

    /// Creates or updates a network. Prefixes and grants are fixed by what was seen first; an edit may change gateways,
    /// reserved addresses and dynamic parts.
    pub fn network(&mut self, id: NetworkId, spec: &NetworkSpec) -> Vec<Notice> {
        let mut notices = Vec::new();
        for (index, subnet) in (0..).map(PoolIndex).zip(&spec.subnets) {
            let grants = spec.grants.iter().filter(|grant| grant.pool == index);
            notices.extend(self.subnet((id, index), subnet, grants));
        }
        let (mine, early) =
            std::mem::take(&mut self.early).into_iter().partition(|(_, gift)| gift.network == id);
        self.early = early;
        let mine: BTreeMap<(HostId, FactKey), GiftFact> = mine;
        for ((author, _), gift) in &mine {
            notices.extend(self.gift(*author, gift));
        }
        notices
    }

    /// Takes a network that was deleted out of use, with the addresses handed out in it. What was given stays known:
    /// an edit that outranks the deletion brings the network back, and then nobody may own again what they gave.
    pub fn remove_network(&mut self, id: NetworkId) {
        for (key, pool) in self.pools.extract_if((id, PoolIndex(0))..=(id, PoolIndex(u8::MAX)), |_, _| true) {
            if pool.ownership.iter().any(|(_, claim)| claim.epoch > 0) {
                self.removed.insert(key, pool.ownership);
            }
        }
    }

    /// Forgets what was given in removed networks, but for those to be kept.
    pub fn keep_removed(&mut self, keep: impl Fn(NetworkId) -> bool) {
        self.removed.retain(|(network, _), _| keep(*network));
    }

    /// Merges a gift fact of any host, this one included. Any order, any number of times.
    pub fn gift(&mut self, author: HostId, gift: &GiftFact) -> Vec<Notice> {
        let key = FactKey::gift(gift);
        if author == self.me {
            self.given.insert(key.clone(), gift.clone());
        }
        let pool_key = (gift.network, gift.pool);
        let Some(pool) = self.pools.get_mut(&pool_key) else {
            self.early.insert((author, key), gift.clone());
            return Vec::new();
        };
        let Some(run) = pool.space.given_between(gift.first, gift.last) else { return Vec::new() };
        let merged = pool.ownership.merge(run, Claim { epoch: gift.epoch, owner: gift.to });
        let is_mine = |change: &Change| change.before.is_some_and(|before| before.owner == self.me);
        let got_some = gift.to == self.me && !merged.changes.is_empty();
        if got_some {
            pool.asking.answered();
        }
        if got_some || merged.changes.iter().any(is_mine) {
            pool.ownership_changed();
        }
        notices(pool_key, pool, author, gift.to, &merged)
    }

    /// Notes that an author dropped a gift fact. Who owns what does not change: an author drops a gift only when
    /// newer ones of its own cover it (see [`Ipam::obsolete_gifts`]).
    pub fn gift_removed(&mut self, author: HostId, gift: &GiftFact) {
        let key = FactKey::gift(gift);
        if author == self.me {
            self.given.remove(&key);
        }
        self.early.remove(&(author, key));
    }

    /// Hands out the address wished for, or one that is free. The caller makes it durable before it answers. A wish
    /// costs O(log n), a choice O(own runs + k log n) where the next k addresses in rotation are busy.
    pub fn allocate(
        &mut self,
        network: NetworkId,
        pool: PoolIndex,
        wish: Option<IpAddr>,
        now: Moment,
    ) -> Result<IpAddr, AllocateError> {
        let pool = self.pools.get_mut(&(network, pool)).ok_or(AllocateError::UnknownPool)?;
        let allocated = pool.allocate(wish, now);
        allocated.inspect_err(|error| pool.demanded(error))
    }

    /// Takes an address back; it rests for [`REST`]. Whether it was in use.
    pub fn release(&mut self, network: NetworkId, pool: PoolIndex, address: IpAddr, now: Moment) -> bool {
        self.pools.get_mut(&(network, pool)).is_some_and(|pool| pool.release(address, now))
    }

    /// Notes an address that was handed out before a restart. `false`: this host does not own it in its present view
    /// (it is held all the same).
    pub fn restore(
        &mut self,
        network: NetworkId,
        pool: PoolIndex,
        address: IpAddr,
    ) -> Result<bool, AllocateError> {
        self.pools.get_mut(&(network, pool)).ok_or(AllocateError::UnknownPool)?.restore(address)
    }

    /// What to ask of other hosts, at most one ask per pool. To be called about once a second and after a failed
    /// `allocate`; an ask is not repeated until it was refused or [`ANSWER_WITHIN`] has passed. Each pool costs O(own
    /// runs), one that runs short O(all runs).
    pub fn needs(&mut self, now: Moment) -> Vec<Ask> {
        let pools = self.pools.iter_mut();
        let asks = pools.filter_map(|((network, index), pool)| {
            let (from, want) = pool.need(now)?;
            Some(Ask { network: *network, pool: *index, from, want })
        });
        asks.collect()
    }

    /// The ask for one exact address, after `allocate` said [`AllocateError::OwnedBy`]. `None`: nobody else owns it.
    pub fn ask_for(&self, network: NetworkId, pool: PoolIndex, address: IpAddr) -> Option<Ask> {
        let found = self.pool(network, pool)?;
        let from = found.ownership.owner_of(found.space.number(address)?)?;
        (from != self.me).then_some(Ask { network, pool, from, want: Want::Address(address) })
    }

    /// Notes that a host refused an ask or cannot be reached: others are asked first for [`REFUSED_FOR`].
    pub fn refused(&mut self, network: NetworkId, pool: PoolIndex, by: HostId, now: Moment) {
        if let Some(pool) = self.pools.get_mut(&(network, pool)) {
            pool.asking.refused(by, now);
        }
    }

    /// Answers another host's ask. From here on this host does not own the run. The caller makes the fact durable
    /// before anyone hears of it; if it cannot, the agent must stop, and finds itself owner again when it starts.
    pub fn give(
        &mut self,
        network: NetworkId,
        pool: PoolIndex,
        to: HostId,
        want: Want,
        now: Moment,
    ) -> Result<GiftFact, Refused> {
        if to == self.me {
            return Err(Refused::ToItself);
        }
        let found = self.pools.get(&(network, pool)).ok_or(Refused::UnknownPool)?;
        let found = found.gift(want, now);
        if let (Err(Refused::Spare { .. }), Want::Address(address)) = (&found, want)
            && let Some(pool) = self.pools.get_mut(&(network, pool))
        {
            pool.demanded(&AllocateError::Spare { address });
        }
        let (run, epoch) = found?;
        let found = self.pools.get(&(network, pool)).ok_or(Refused::UnknownPool)?;
        let (first, last) = (found.space.address(run.first()), found.space.address(run.last()));
        let gift = GiftFact { network, pool, first, last, to, from: None, epoch };
        self.gift(self.me, &gift);
        Ok(gift)
    }

    /// This host's gifts out of a pool that its newer ones cover whole: their facts may be dropped, after the newer
    /// ones are durable. No other gift fact of this host may ever be dropped while the network lives. O(g²) for g own
    /// gifts.
    pub fn obsolete_gifts(&self, network: NetworkId, pool: PoolIndex) -> Vec<GiftFact> {
        let own = self.given.values().filter(|gift| gift.network == network && gift.pool == pool);
        asking::covered(&own.cloned().collect::<Vec<_>>())
    }

    /// The owner of an address in this host's view; `None` for derived IPv6 ranges of other hosts.
    pub fn owner_of(&self, network: NetworkId, pool: PoolIndex, address: IpAddr) -> Option<HostId> {
        let found = self.pool(network, pool)?;
        let number = found.space.number(address)?;
        if found.is_own(number) { Some(self.me) } else { found.ownership.owner_of(number) }
    }

    fn pool(&self, network: NetworkId, pool: PoolIndex) -> Option<&Pool> {
        self.pools.get(&(network, pool))
    }

    fn pools(&self) -> impl Iterator<Item = (NetworkId, PoolIndex, &Pool)> {
        self.pools.iter().map(|((network, index), pool)| (*network, *index, pool))
    }

    fn subnet<'a>(
        &mut self,
        key: PoolKey,
        subnet: &Subnet,
        grants: impl Iterator<Item = &'a Grant>,
    ) -> Vec<Notice> {
        let (me, derived) = (self.me, self.derived);
        let (removed, spares) = (&mut self.removed, &self.spares);
        let pool = self.pools.entry(key).or_insert_with(|| {
            let ownership = removed.remove(&key).unwrap_or_default();
            let mut pool = Pool::new(me, subnet, ownership, derived);
            if let Some(spare) = spares.get(&key) {
                pool.read_spare(spare);
            }
            pool
        });
        if pool.space.prefix != subnet.prefix {
            let (kept, ignored) = (pool.space.prefix, subnet.prefix);
            return vec![Notice::PrefixChanged { network: key.0, pool: key.1, kept, ignored }];
        }
        pool.update(subnet);
        let mut seen = Vec::new();
        for grant in grants {
            let Some(run) = pool.space.given_between(grant.first, grant.last) else { continue };
            let merged = pool.ownership.fill(run, Claim { epoch: 0, owner: grant.to });
            seen.extend(notices(key, pool, grant.to, grant.to, &merged));
        }
        pool.ownership_changed();
        seen
    }
}

/// What is to be reported of a merge.
fn notices(
    (network, index): PoolKey,
    pool: &Pool,
    author: HostId,
    to: HostId,
    merged: &Merged,
) -> Vec<Notice> {
    let ends = |run: Run| (pool.space.address(run.first()), pool.space.address(run.last()));
    let clashes = merged.clashes.iter().map(|clash| {
        let (first, last) = ends(clash.run);
        let (epoch, kept, ignored) = (clash.kept.epoch, clash.kept.owner, clash.ignored.owner);
        Notice::Clash { network, pool: index, first, last, epoch, kept, ignored }
    });
    let spare = |run: Run| pool.spare.closed().fold(vec![run], spare::without).is_empty();
    let lost = |change: &&Change| {
        let mine = change.before.is_some_and(|before| before.owner == pool.me) && author != pool.me;
        mine && !spare(change.run)
    };
    let lost = merged.changes.iter().filter(lost).filter(|_| to != pool.me).map(|change| {
        let (first, last) = ends(change.run);
        Notice::Lost { network, pool: index, first, last, author, to }
    });
    clashes.chain(lost).collect()
}
