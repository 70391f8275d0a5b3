//! What other hosts' facts bring, and what was kept over a restart.

use shoal_schema::{Fact, FactKey, NetworkFact, UseFact};
use shoal_types::{HostId, NetworkId, WallTime};

use crate::pool::save;
use crate::record::{Naming, Record};
use crate::{CONTAINERS_TOLD_MAX, Effect, Networks};

impl Networks {
    /// Takes in a fact that arrives when the clock says `wall`; our own come in the same way. Returns true if the plan
    /// may have changed. What [`Networks::keep`] then returns must be kept together with the fact.
    pub fn learn(&mut self, author: HostId, fact: Fact, wall: WallTime) -> bool {
        match fact {
            Fact::Network(network) => self.learn_edit(author, network, wall),
            other => self.take_up(author, other),
        }
    }

    /// Takes in a fact that was held before the start, after [`Networks::restore`]; [`Networks::taken_up`] ends it.
    pub fn take_up(&mut self, author: HostId, fact: Fact) -> bool {
        match fact {
            Fact::Host(host) => {
                self.hosts_new |= self.hosts.insert(author, host.name).is_none();
                true
            }
            Fact::Taken(taken) => {
                self.taken.insert(author, taken.prefixes);
                false
            }
            Fact::Endpoint(endpoint) if author != self.me => {
                let key = (author, endpoint.endpoint.clone());
                self.remote.insert(key, endpoint.clone()) != Some(endpoint)
            }
            Fact::Network(network) => {
                self.take_up_edit(author, network);
                true
            }
            Fact::Gift(gift) => {
                let seen = self.ipam.gift(author, &gift);
                self.report(&seen);
                false
            }
            Fact::Use(used) => {
                self.uses.insert((author, used.network), used);
                false
            }
            Fact::Endpoint(_)
            | Fact::Token(_)
            | Fact::Tunnel(_)
            | Fact::Secret(_)
            | Fact::Sighting(_)
            | Fact::Lease(_)
            | Fact::Spare(_)
            | Fact::Vote(_)
            | Fact::Roster(_)
            | Fact::Forgotten(_) => false,
        }
    }

    /// A fact was taken back by its author, or its author was forgotten.
    pub fn unlearn(&mut self, author: HostId, fact: Fact) -> bool {
        match fact {
            Fact::Host(_) => self.hosts.remove(&author).is_some(),
            Fact::Taken(_) => {
                self.taken.remove(&author);
                false
            }
            Fact::Endpoint(endpoint) => self.remote.remove(&(author, endpoint.endpoint)).is_some(),
            Fact::Network(network) => {
                self.unkept.extend(self.catalog.waiting_of(network.id).map(|_| network.id));
                let changed = self.catalog.unlearn(author, network.id);
                self.follow_catalog(network.id);
                changed
            }
            Fact::Use(used) => {
                self.uses.remove(&(author, used.network));
                false
            }
            Fact::Gift(gift) => {
                self.ipam.gift_removed(author, &gift);
                false
            }
            Fact::Token(_)
            | Fact::Tunnel(_)
            | Fact::Secret(_)
            | Fact::Sighting(_)
            | Fact::Lease(_)
            | Fact::Spare(_)
            | Fact::Vote(_)
            | Fact::Roster(_)
            | Fact::Forgotten(_) => false,
        }
    }

    /// Tells the addresses' keeper who is in the fabric: once for all hosts that became known together.
    pub(crate) fn introduce_hosts(&mut self) {
        if std::mem::take(&mut self.hosts_new) {
            self.ipam.hosts(&self.hosts.keys().copied().collect());
        }
    }

    pub(crate) fn learn_network(&mut self, author: HostId, fact: NetworkFact) -> bool {
        let id = fact.id;
        self.unkept.extend(self.catalog.waiting_of(id).map(|_| id));
        let changed = self.catalog.learn(author, fact);
        if changed {
            self.follow_catalog(id);
        }
        changed
    }

    pub(crate) fn follow_catalog(&mut self, id: NetworkId) {
        match self.catalog.get(id) {
            Some(spec) => {
                let seen = self.ipam.network(id, spec);
                self.report(&seen);
            }
            None => self.ipam.remove_network(id),
        }
        self.hold_leases(id);
    }

    /// Tells the pools which addresses containers of this host have.
    fn hold_leases(&mut self, id: NetworkId) {
        for lease in self.leases.values().filter(|lease| lease.network == id) {
            // A pool that is not known yet holds nothing; this runs again when its network becomes known.
            let _ = self.ipam.restore(id, lease.pool, lease.address);
        }
    }

    fn report(&mut self, seen: &[shoal_ipam::Notice]) {
        let told = seen.iter().map(|notice| self.address_notice(notice)).collect::<Vec<_>>();
        self.notices.extend(told);
    }

    /// Takes back what was kept. Damaged records are told and passed over.
    pub fn restore<'a>(&mut self, records: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (key, bytes) in records {
            match Record::decode(bytes) {
                Some(Record::Pool(pool)) => drop(self.pools.insert(pool.id.clone(), pool)),
                Some(Record::Docker(docker)) => drop(self.dockers.insert(docker.docker.clone(), docker)),
                Some(Record::Endpoint(endpoint)) => {
                    drop(self.endpoints.insert(endpoint.endpoint.clone(), endpoint));
                }
                Some(Record::Off(network)) => drop(self.off.insert(network)),
                Some(Record::Lost(lost)) => drop(self.lost.insert(lost.network, lost)),
                Some(Record::Waiting(waiting)) => self.restore_waiting(waiting),
                Some(Record::Lease(lease)) => {
                    let network = lease.network;
                    self.leases.insert((network, lease.address), lease);
                    self.hold_leases(network);
                }
                None => effects.push(Effect::Notice(format!(
                    "a record on disk is damaged and was passed over: {}",
                    String::from_utf8_lossy(key)
                ))),
            }
        }
        effects
    }

    /// Takes an edit of ours back that the fabric cannot be told of for the reason `why`; `before` is our earlier one.
    /// Where the engine has made the network already, containers are refused with the reason.
    pub fn take_back(
        &mut self,
        network: NetworkId,
        before: Option<Fact>,
        why: &str,
        at: crate::At,
    ) -> Vec<Effect> {
        self.catalog.unlearn(self.me, network);
        self.follow_catalog(network);
        if let Some(before) = before {
            self.learn(self.me, before, at.wall);
        }
        if self.catalog.get(network).is_some() {
            return Vec::new();
        }
        let here = self.dockers.values_mut().filter(|docker| docker.network == network);
        let refused = here.map(|docker| {
            docker.naming = Naming::Refused(why.to_owned());
            save(&Record::Docker(docker.clone()))
        });
        refused.collect()
    }

    /// Tells the fabric how this host uses a network, if that changed.
    pub(crate) fn tell_use(&mut self, network: NetworkId) -> Vec<Effect> {
        if !self.is_user_of(network) {
            let had = self.uses.remove(&(self.me, network)).is_some();
            return had.then(|| Effect::Withdraw(FactKey::use_of(network))).into_iter().collect();
        }
        let off = self.off.contains(&network);
        let told = self.uses.get(&(self.me, network)).filter(|_| !off);
        let containers = told.map(|told| told.containers.clone()).unwrap_or_default();
        self.tell(UseFact { network, off, containers })
    }

    /// Whether this host has something to say of its use of a network: its engine has it, or was told to remove it.
    pub(crate) fn is_user_of(&self, network: NetworkId) -> bool {
        let named = |docker: &&crate::DockerRecord| !matches!(docker.naming, Naming::Pending(_));
        let here = || self.dockers.values().filter(named).any(|docker| docker.network == network);
        self.catalog.get(network).is_some() && (self.off.contains(&network) || here())
    }

    /// The engine listed the containers of a network.
    pub(crate) fn tell_containers(&mut self, network: NetworkId, mut containers: Vec<String>) -> Vec<Effect> {
        // A network without a name yet has no containers, and the others do not know it.
        if !self.is_user_of(network) {
            return Vec::new();
        }
        containers.sort();
        containers.truncate(CONTAINERS_TOLD_MAX);
        self.tell(UseFact { network, off: self.off.contains(&network), containers })
    }

    fn tell(&mut self, fact: UseFact) -> Vec<Effect> {
        let before = self.uses.insert((self.me, fact.network), fact.clone());
        if before.as_ref() == Some(&fact) { Vec::new() } else { vec![Effect::Publish(Fact::Use(fact))] }
    }

    /// Marks a network as removed from this host.
    pub(crate) fn mark_off(&mut self, network: NetworkId, effects: &mut Vec<Effect>) {
        if self.off.insert(network) {
            effects.push(save(&Record::Off(network)));
        }
    }
}
