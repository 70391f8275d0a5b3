//! Hosts with facts, addresses and messages, as simple as can be: whole sets of facts travel, in any order, late, twice
//! or never; whom membership believes alive is drawn by lot, and every host's clock goes as it likes.
#![allow(dead_code, reason = "each test file uses a part of it")]

mod host;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shoal_leases::{Effect, Leases, Scene};
use shoal_schema::{Fact, FactKey, FactsVersion};
use shoal_types::{HostId, Moment};

use host::{Host, Set};

/// An address.
pub(crate) type Number = u8;

pub(crate) const LEASE: Duration = Duration::from_secs(600);

pub(crate) fn id(index: usize) -> HostId {
    HostId::new([u8::try_from(index).unwrap() + 1; 16])
}

/// What travels beside facts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Message {
    Renew,
    Word(FactsVersion),
}

pub(crate) struct World {
    pub(crate) hosts: Vec<Host>,
    pub(crate) first_owners: usize,
    pub(crate) numbers: Number,
    pub(crate) messages: Vec<(usize, usize, Message)>,
}

impl World {
    pub(crate) fn new(hosts: usize, numbers: Number) -> Self {
        let mut world = Self { hosts: Vec::new(), first_owners: hosts, numbers, messages: Vec::new() };
        for index in 0..hosts {
            world.add(index, None);
        }
        let sets: Vec<(HostId, Set)> = world.hosts.iter().map(|host| (host.id, host.own().clone())).collect();
        for host in &mut world.hosts {
            for (author, set) in &sets {
                host.held.entry(*author).or_insert_with(|| set.clone());
            }
            host.durable = host.held.clone();
        }
        world
    }

    fn add(&mut self, index: usize, introducer: Option<HostId>) {
        let (me, now) = (id(index), Moment::ZERO);
        let version = FactsVersion { incarnation: 1, counter: 1 };
        let held = BTreeMap::from([(me, Set { version, ..Set::default() })]);
        self.hosts.push(Host {
            id: me,
            durable: held.clone(),
            held,
            leases: Leases::new(me, LEASE, now),
            used: BTreeSet::new(),
            wanted_since: BTreeMap::new(),
            alive: BTreeSet::new(),
            seconds: 0,
            introducer,
            let_in: BTreeSet::new(),
            backup: None,
        });
    }

    /// A new host, let in by another one, with everything that one knows.
    pub(crate) fn join(&mut self, via: usize) {
        let index = self.hosts.len();
        self.add(index, Some(id(via)));
        self.hosts[via].let_in.insert(id(index));
        self.welcome(index, via);
    }

    /// What a host that is let in hears at once.
    fn welcome(&mut self, host: usize, via: usize) {
        let told = self.hosts[via].held.clone();
        let known = self.hosts[via].known();
        let it = &mut self.hosts[host];
        it.introducer = Some(id(via));
        it.let_in.extend(known.into_iter().chain([id(via)]).filter(|other| *other != id(host)));
        for entry in told {
            self.take(host, &entry);
        }
    }

    /// A host joins once more with the key that it has. It goes on as it was, or leaves before, which it does only
    /// without containers. Who does not know it does not let it in, nor somebody whom it does not know.
    pub(crate) fn rejoin(&mut self, host: usize, via: usize, leaves: bool) {
        let refused = host == via
            || self.hosts[via].forgotten().contains(&id(host))
            || self.hosts[host].forgotten().contains(&id(via))
            || (leaves && !self.hosts[host].used.is_empty());
        let strangers = !self.hosts[host].known().contains(&id(via));
        if refused || strangers || !self.hosts[via].known().contains(&id(host)) {
            return;
        }
        if leaves {
            let newest = self.hosts[via].held.get(&id(host)).cloned().unwrap_or_default();
            self.hosts[host].leave(newest);
        }
        self.welcome(host, via);
    }

    pub(crate) fn back_up(&mut self, host: usize) {
        let it = &mut self.hosts[host];
        it.backup = Some((it.own().clone(), it.used.clone()));
    }

    /// A host is restored and has met nobody yet.
    pub(crate) fn go_back(&mut self, host: usize) {
        let it = &mut self.hosts[host];
        if let Some((old, used)) = it.backup.clone() {
            it.used = used;
            it.held.insert(it.id, old);
            self.restart(host, false);
        }
    }

    /// A host is restored and meets somebody who holds its newest state before it does anything.
    pub(crate) fn restore(&mut self, host: usize) {
        let newest = self.hosts[host].own().clone();
        let holds = |other: &Host| other.id != id(host) && other.held.get(&id(host)) == Some(&newest);
        if !self.hosts.iter().any(holds) || self.hosts[host].backup.is_none() {
            return;
        }
        let it = &mut self.hosts[host];
        let Some((old, used)) = it.backup.clone() else { return };
        it.used = used;
        it.take_back(old, newest);
        self.restart(host, false);
    }

    /// The claim on an address in a host's view.
    fn claim(&self, host: usize, number: Number) -> (u32, HostId) {
        let first = (0, id(usize::from(number) % self.first_owners));
        let gifts = self.hosts[host].held.values().flat_map(|set| &set.gifts);
        let claims = gifts.filter(|((it, _), _)| *it == number).map(|((_, epoch), to)| (*epoch, *to));
        claims.chain([first]).max_by_key(|(epoch, to)| (*epoch, std::cmp::Reverse(*to))).unwrap()
    }

    pub(crate) fn owner(&self, host: usize, number: Number) -> HostId {
        self.claim(host, number).1
    }

    /// Whether a host may hand an address out, or give it.
    pub(crate) fn may_use(&self, host: usize, number: Number) -> bool {
        !self.hosts[host].used.contains(&number) && self.reach(host).contains(&number)
    }

    /// What a host uses, or may hand out or give right now.
    fn reach(&self, host: usize) -> BTreeSet<Number> {
        let it = &self.hosts[host];
        self.with_scene(host, |scene| {
            let settled = |version: &FactsVersion| it.leases.is_settled(*version, scene);
            let free = |number: &Number| {
                let kept =
                    !it.own().spare.contains(number) && it.wanted_since.get(number).is_none_or(settled);
                kept && self.owner(host, *number) == it.id
            };
            (0..self.numbers).filter(free).chain(it.used.iter().copied()).collect()
        })
    }

    /// Hosts of one side hear each other, believe each other alive and nobody else, and act; what is under way is lost.
    pub(crate) fn live(&mut self, side: &[usize], seconds: u64) {
        for host in side {
            self.hosts[*host].alive =
                side.iter().filter(|other| *other != host).map(|other| id(*other)).collect();
            self.hosts[*host].seconds += seconds;
            self.tick(*host);
        }
        for (from, to) in side.iter().flat_map(|from| side.iter().map(move |to| (*from, *to))) {
            (0..self.hosts.len()).for_each(|author| self.deliver(from, to, author));
        }
        for message in std::mem::take(&mut self.messages) {
            if side.contains(&message.0) && side.contains(&message.1) {
                self.messages = vec![message];
                self.receive(0, false);
                self.messages.clear();
            }
        }
    }

    pub(crate) fn hand_out(&mut self, host: usize, number: Number) {
        if self.may_use(host, number) {
            self.hosts[host].used.insert(number);
            self.hosts[host].flush();
        }
    }

    pub(crate) fn give(&mut self, host: usize, number: Number, to: usize) {
        let knows = self.hosts[host].members().contains(&id(to));
        if self.may_use(host, number) && knows {
            let (epoch, _) = self.claim(host, number);
            self.hosts[host].publish(|own| {
                own.gifts.insert((number, epoch + 1), id(to));
            });
        }
    }

    pub(crate) fn spare(&mut self, host: usize, number: Number) {
        if self.may_use(host, number) {
            self.hosts[host].wanted_since.remove(&number);
            self.hosts[host].publish(|own| {
                own.wanted.remove(&number);
                own.spare.insert(number);
            });
        }
    }

    pub(crate) fn want(&mut self, host: usize, number: Number) {
        let it = &mut self.hosts[host];
        if it.own().spare.contains(&number) {
            it.publish(|own| {
                own.spare.remove(&number);
                own.wanted.insert(number);
            });
            let version = it.own().version;
            it.wanted_since.insert(number, version);
        }
    }

    /// `to` gets the set of one author that `from` holds, if both accept each other and it the author.
    pub(crate) fn deliver(&mut self, from: usize, to: usize, author: usize) {
        if from == to || !self.accepts(to, id(from)) || !self.accepts(from, id(to)) {
            return;
        }
        for (one, other) in [(from, to), (to, from)] {
            // Whoever is known has its certificate renewed.
            if self.hosts[one].known().contains(&id(other)) {
                self.hosts[other].introducer = Some(id(one));
            }
        }
        let Some(set) = self.hosts[from].held.get(&id(author)).cloned() else { return };
        if self.accepts(to, id(author)) {
            self.take(to, &(id(author), set));
        }
    }

    fn accepts(&self, host: usize, other: HostId) -> bool {
        let it = &self.hosts[host];
        !it.forgotten().contains(&other) && self.judges(&it.known(), it, other)
    }

    /// Whether a host that knows these accepts another one, which is not forgotten.
    fn judges(&self, known: &BTreeSet<HostId>, it: &Host, other: HostId) -> bool {
        let introducer = self.hosts.iter().find(|host| host.id == other).and_then(|host| host.introducer);
        known.contains(&other) || introducer.is_none_or(|signer| signer == it.id || known.contains(&signer))
    }

    /// Takes in a set, and tells its author that it is held.
    fn take(&mut self, host: usize, (author, set): &(HostId, Set)) {
        let it = &mut self.hosts[host];
        let newer = it.held.get(author).is_none_or(|held| held.version < set.version);
        if *author == it.id || !newer || it.forgotten().contains(author) {
            return;
        }
        it.hold(*author, set);
        for forgotten in it.forgotten() {
            it.expel(forgotten);
        }
        self.tell(host, *author);
    }

    pub(crate) fn forget(&mut self, by: usize, whom: usize) {
        let it = &mut self.hosts[by];
        if by == whom || !it.members().contains(&id(whom)) {
            return;
        }
        let left = it.held.get(&id(whom)).map(|set| set.gifts.clone()).unwrap_or_default();
        it.publish(|own| {
            own.gifts.extend(left);
            own.forgets.insert(id(whom));
        });
        it.expel(id(whom));
    }

    /// Tells an owner which state of its facts a host holds, if its rules let it.
    fn tell(&mut self, host: usize, owner: HostId) {
        let it = &mut self.hosts[host];
        let Some(version) = it.held.get(&owner).map(|set| set.version) else { return };
        let Some(to) = (0..).take(16).find(|index| id(*index) == owner) else { return };
        if let Some(word) = it.leases.word_to(owner, version) {
            it.flush();
            self.messages.push((host, to, Message::Word(word)));
        }
    }

    /// One message arrives; it may come again.
    pub(crate) fn receive(&mut self, which: usize, lost: bool) {
        let Some(&(from, to, message)) = self.messages.get(which % self.messages.len().max(1)) else {
            return;
        };
        if lost {
            self.messages.swap_remove(which % self.messages.len());
        }
        if lost || !self.accepts(to, id(from)) || !self.accepts(from, id(to)) {
            return;
        }
        let now = self.hosts[to].now();
        match message {
            Message::Renew => {
                self.hosts[to].leases.heard(id(from), now);
                self.tell(to, id(from));
            }
            Message::Word(version) => {
                let own = self.hosts[to].own().version;
                self.hosts[to].leases.seen(id(from), version, own, now);
            }
        }
    }

    pub(crate) fn tick(&mut self, host: usize) {
        // Each host passes its facts through its own state once, as effects are carried out one by one.
        for effect in self.scene_tick(host) {
            self.carry_out(host, effect);
        }
    }

    fn scene_tick(&mut self, host: usize) -> Vec<Effect> {
        let mut leases = self.hosts[host].leases.clone();
        let effects = self.with_scene(host, |scene| leases.tick(scene));
        self.hosts[host].leases = leases;
        effects
    }

    fn carry_out(&mut self, host: usize, effect: Effect) {
        match effect {
            Effect::Publish(Fact::Lease(lease)) => self.hosts[host].publish(|own| own.lease = Some(lease)),
            Effect::Publish(Fact::Roster(roster)) => {
                self.hosts[host].publish(|own| own.roster = Some(roster));
            }
            Effect::Publish(Fact::Vote(vote)) => {
                self.hosts[host].publish(|own| {
                    own.votes.insert(vote.owner, vote);
                });
            }
            Effect::Publish(other) => unreachable!("{other:?}"),
            Effect::Withdraw(key) if key == FactKey::roster() => {
                self.hosts[host].publish(|own| own.roster = None);
            }
            Effect::Withdraw(key) => {
                self.hosts[host].publish(|own| own.votes.retain(|it, _| FactKey::vote(*it) != key));
            }
            Effect::Renew(to) => {
                let to = (0..16).find(|index| id(*index) == to).unwrap();
                self.messages.push((host, to, Message::Renew));
            }
            Effect::TakeOver(vote) => {
                let spare =
                    self.hosts[host].held.get(&vote.owner).map(|set| set.spare.clone()).unwrap_or_default();
                let taken = self.claims_on(host, vote.owner, |number| spare.contains(&number));
                self.hosts[host].publish(|own| {
                    own.gifts.extend(taken);
                    own.votes.insert(vote.owner, vote);
                });
            }
            Effect::Inherit(owner) => {
                let taken = self.claims_on(host, owner, |_| true);
                self.hosts[host].publish(|own| own.gifts.extend(taken));
            }
        }
    }

    /// This host's next claims on what another one owns.
    fn claims_on(
        &self,
        host: usize,
        owner: HostId,
        wanted: impl Fn(Number) -> bool,
    ) -> Vec<((Number, u32), HostId)> {
        let me = self.hosts[host].id;
        let numbers = (0..self.numbers).filter(|number| wanted(*number));
        let owned =
            numbers.map(|number| (number, self.claim(host, number))).filter(|(_, claim)| claim.1 == owner);
        owned.map(|(number, (epoch, _))| ((number, epoch + 1), me)).collect()
    }

    /// The agent dies with the machine and starts again; what was not flushed may be gone.
    pub(crate) fn restart(&mut self, host: usize, loses: bool) {
        let it = &mut self.hosts[host];
        if loses {
            it.held = it.durable.clone();
        }
        it.leases = Leases::new(it.id, LEASE, it.now());
        for (author, set) in it.held.clone() {
            set.facts().iter().for_each(|fact| it.leases.learn(author, fact));
        }
        let version = it.own().version;
        it.wanted_since = it.own().wanted.iter().map(|number| (*number, version)).collect();
    }

    fn with_scene<T>(&self, host: usize, act: impl FnOnce(&Scene<'_>) -> T) -> T {
        let it = &self.hosts[host];
        let (members, forgotten) = (it.members(), it.forgotten());
        let known = it.known();
        let owned =
            |owner: HostId| (0..self.numbers).filter(move |number| self.owner(host, *number) == owner);
        let alive = it.alive.iter().copied().filter(|host| members.contains(host)).collect();
        act(&Scene {
            now: it.now(),
            hosts: &members,
            known: &known,
            alive: &alive,
            forgotten: &forgotten,
            version: &|author| it.held.get(&author).map(|set| set.version),
            owns: &|owner| owned(owner).next().is_some(),
            has_spare: &|owner| {
                let spare = it.held.get(&owner).map(|set| &set.spare);
                spare.is_some_and(|spare| owned(owner).any(|number| spare.contains(&number)))
            },
            waits_for: it.wanted_since.values().max().copied(),
        })
    }

    /// Two hosts of one fabric that use one address, or may do so at once.
    pub(crate) fn used_twice(&self) -> Option<(Number, HostId, HostId)> {
        let mut users = BTreeMap::new();
        for (group, index) in
            self.groups().iter().enumerate().flat_map(|(n, it)| it.iter().map(move |i| (n, *i)))
        {
            for number in self.reach(index) {
                if let Some(other) = users.insert((group, number), id(index)) {
                    return Some((number, other, id(index)));
                }
            }
        }
        None
    }

    /// Hosts that are not forgotten, by whom they accept, and whom these accept. More than one group: some were let in
    /// by a host that was forgotten, and nobody else had heard of them.
    fn groups(&self) -> Vec<BTreeSet<usize>> {
        let out: BTreeSet<HostId> = self.hosts.iter().flat_map(|host| host.forgotten()).collect();
        let mut left: BTreeSet<usize> =
            (0..self.hosts.len()).filter(|host| !out.contains(&id(*host))).collect();
        let known: Vec<BTreeSet<HostId>> = self.hosts.iter().map(Host::known).collect();
        let mut groups = Vec::new();
        while let Some(first) = left.pop_first() {
            let (mut group, mut new) = (BTreeSet::from([first]), vec![first]);
            while let Some(host) = new.pop() {
                let accepts =
                    |one: usize, other: usize| self.judges(&known[one], &self.hosts[one], id(other));
                let meets = |it: &usize| accepts(host, *it) && accepts(*it, host);
                let found: Vec<usize> = left.iter().copied().filter(meets).collect();
                left.retain(|host| !found.contains(host));
                group.extend(&found);
                new.extend(found);
            }
            groups.push(group);
        }
        groups
    }
}
