//! Carries effects from one core to the next until only the agent's are left.

use std::collections::BTreeSet;

use shoal_facts::Change;
use shoal_ipam::Ask;
use shoal_networks::Effect as NetworksEffect;
use shoal_schema::{Fact, FactKey};
use shoal_types::HostId;

use crate::effect::Writes;
use crate::trust::Acquaintances;
use crate::{At, Effect, Fabric, message};

/// Edits of this host's own facts: key and new value.
pub(crate) type Edits = Vec<(Vec<u8>, Option<Vec<u8>>)>;

impl Fabric {
    pub(crate) fn carry_networks(&mut self, mut effects: Vec<NetworksEffect>, at: At) -> Vec<Effect> {
        let mut carried = Vec::new();
        let untold = self.take_back_untold(&mut effects, at);
        carried.extend(untold.map(|error| Effect::Notice(error.to_string())));
        let mut edits = Edits::new();
        for effect in effects {
            match effect {
                NetworksEffect::Save(key, value) => {
                    carried.push(Effect::Save { writes: vec![(key, value)], durable: true });
                }
                NetworksEffect::Publish(fact) => edits.push((fact.key().into_bytes(), Some(fact.encode()))),
                NetworksEffect::Withdraw(key) => edits.push((key.into_bytes(), None)),
                NetworksEffect::Project(endpoint) => carried.push(Effect::Project(endpoint)),
                NetworksEffect::ProjectSoon => carried.push(Effect::ProjectSoon),
                NetworksEffect::Engine(request) => carried.push(Effect::Engine(request)),
                NetworksEffect::Ask(owner, ask) => carried.push(Effect::Message(owner, message::ask(&ask))),
                NetworksEffect::Notice(text) => carried.push(Effect::Notice(text)),
            }
        }
        carried.extend(self.publish(edits, at));
        saves_first(carried)
    }

    /// Makes facts ours.
    pub(crate) fn publish(&mut self, edits: Edits, at: At) -> Vec<Effect> {
        match &mut self.member {
            Some(member) if !edits.is_empty() => {
                let effects = member.facts.publish(edits, at.now);
                self.carry_facts(effects, at)
            }
            _ => Vec::new(),
        }
    }

    /// Publishes facts by value.
    pub(crate) fn publish_facts(&mut self, facts: &[Fact], at: At) -> Vec<Effect> {
        self.publish(facts.iter().map(|fact| (fact.key().into_bytes(), Some(fact.encode()))).collect(), at)
    }

    pub(crate) fn carry_facts(&mut self, effects: Vec<shoal_facts::Effect>, at: At) -> Vec<Effect> {
        let mut carried = Vec::new();
        for effect in effects {
            match effect {
                shoal_facts::Effect::Persist { writes, durable } => {
                    carried.push(Effect::Save { writes, durable });
                }
                shoal_facts::Effect::Changed(changes) => carried.extend(self.learn(changes, at)),
                shoal_facts::Effect::Notice(notice) => {
                    carried.push(Effect::Notice(self.notice(&notice)));
                    if let shoal_facts::Notice::Restored { lost, .. } = &notice {
                        carried.extend(self.save_lost(lost, at));
                    }
                }
                shoal_facts::Effect::Conflict(sentence) => carried.push(Effect::Stop(sentence)),
                shoal_facts::Effect::Send { to, message } => {
                    carried.push(Effect::Message(to, message::facts(&message)));
                }
            }
        }
        saves_first(carried)
    }

    pub(crate) fn carry_membership(&mut self, effects: Vec<shoal_membership::Effect>, at: At) -> Vec<Effect> {
        let mut carried = Vec::new();
        let mut changes = Vec::new();
        for effect in effects {
            match effect {
                shoal_membership::Effect::Send { to, bytes } => carried.push(Effect::Datagram(to, bytes)),
                shoal_membership::Effect::Up(host) => changes.push((host, true)),
                shoal_membership::Effect::Down(host) => changes.push((host, false)),
            }
        }
        if let Some(member) = self.member.as_mut().filter(|_| !changes.is_empty()) {
            for (host, is_up) in &changes {
                if *is_up {
                    member.alive.insert(*host)
                } else {
                    member.alive.remove(host)
                };
            }
            let effects = member.facts.came_and_went(&changes, at.now);
            carried.extend(self.carry_facts(effects, at));
        }
        carried
    }

    /// Tells facts whom to exchange with.
    pub(crate) fn meet(&mut self, at: At) -> Vec<Effect> {
        let Some(member) = &mut self.member else { return Vec::new() };
        member.alive.clone_from(member.membership.alive());
        let trusted = member.trust.members.keys().filter(|host| !member.trust.forgotten.contains(host));
        let known = trusted.copied().filter(|host| *host != self.me).collect();
        let effects = member.facts.set_peers(known, member.alive.clone(), at.now);
        self.carry_facts(effects, at)
    }

    /// This host was restored from an old backup, or is back after it left: what it once told the fabric and
    /// must stand by is told again, also where it now says something older. Addresses it gave away are not its own any
    /// more; networks and expulsions are everybody's.
    pub(crate) fn save_lost(&mut self, lost: &[Change], at: At) -> Vec<Effect> {
        let read = |change: &Change, value: Option<&[u8]>| Fact::decode(&change.key, value?).ok();
        let outdone = |old: &Fact, new: Option<Fact>| match (old, new) {
            (Fact::Network(old), Some(Fact::Network(new))) => old.stamp > new.stamp,
            (Fact::Gift(old), Some(Fact::Gift(new))) => old.epoch > new.epoch,
            (Fact::Gift(_) | Fact::Network(_) | Fact::Secret(_) | Fact::Forgotten(_), None) => true,
            _ => false,
        };
        let lasting = lost.iter().filter_map(|change| {
            let old = read(change, change.old.as_deref())?;
            outdone(&old, read(change, change.new.as_deref())).then_some(old)
        });
        let leases = lost.iter().filter_map(|change| self.leases_after_loss(change));
        let facts: Vec<Fact> = lasting.chain(leases).collect();
        self.publish_facts(&facts, at)
    }

    /// Gives addresses to a host that asked. The gift is a fact: once it is durable here, its arrival is the answer.
    pub(crate) fn give(&mut self, to: HostId, ask: &Ask, at: At) -> Vec<Effect> {
        if self.member.as_ref().is_none_or(|member| member.trust.forgotten.contains(&to)) {
            return Vec::new();
        }
        match self.networks.ipam_mut().give(ask.network, ask.pool, to, ask.want, at.now) {
            Ok(gift) => {
                let (network, pool) = (gift.network, gift.pool);
                let mut edits = vec![(FactKey::gift(&gift).into_bytes(), Some(Fact::Gift(gift).encode()))];
                let obsolete = self.networks.ipam().obsolete_gifts(network, pool);
                edits.extend(obsolete.iter().map(|gift| (FactKey::gift(gift).into_bytes(), None)));
                self.publish(edits, at)
            }
            Err(_) => vec![Effect::Message(to, message::refused(ask.network, ask.pool))],
        }
    }

    fn learn(&mut self, changes: Vec<Change>, at: At) -> Vec<Effect> {
        let mut effects = Vec::new();
        let (mut replan, mut batch) = (false, Acquaintances::default());
        let mut owners = BTreeSet::new();
        for change in changes {
            let old = change.old.as_deref().and_then(|bytes| Fact::decode(&change.key, bytes).ok());
            let new = change.new.as_deref().map(|bytes| Fact::decode(&change.key, bytes));
            match new {
                Some(Ok(fact)) => {
                    effects.extend(self.learn_of_members(change.author, &fact, at, &mut batch));
                    replan |= self.learn_of_tunnels(change.author, &fact, at.now);
                    owners.extend(self.learn_of_leases(change.author, &fact).then_some(change.author));
                    replan |= self.networks.learn(change.author, fact, at.wall);
                }
                Some(Err(shoal_schema::DecodeError::UnknownKind)) => {}
                Some(Err(error)) => {
                    let host = self.networks.host_name(change.author);
                    effects.push(Effect::Notice(format!("a fact of host {host} cannot be read: {error}")));
                    replan |= self.unlearn(change.author, old, &mut batch);
                }
                None => replan |= self.unlearn(change.author, old, &mut batch),
            }
        }
        effects.extend(self.meet_new(batch, at));
        if replan {
            effects.push(Effect::ProjectSoon);
        }
        self.next_reconcile = at.now;
        let kept = self.networks.keep();
        effects.extend(self.carry_networks(kept, at));
        effects.extend(owners.into_iter().flat_map(|owner| self.word_to(owner)));
        effects
    }

    fn unlearn(&mut self, author: HostId, old: Option<Fact>, batch: &mut Acquaintances) -> bool {
        let Some(fact) = old else { return false };
        self.unlearn_of_members(author, &fact, batch);
        let changed = self.unlearn_of_tunnels(author, &fact);
        self.unlearn_of_leases(author, &fact);
        self.networks.unlearn(author, fact) || changed
    }

    fn notice(&self, notice: &shoal_facts::Notice) -> String {
        use shoal_facts::Notice;
        match notice {
            Notice::Restored { held, taken, .. } => format!(
                "this host was restored from an old backup or cloned: the fabric knew its state {held}; it has published \
                 itself anew as {taken}"
            ),
            // A host with a twin finds out by itself, and stops; one that was restored goes on.
            Notice::TwoStates { author, version } => format!(
                "host {} has told two states under version {version}: it was restored from an old backup and had not heard \
                 of it yet, or another host has its key; look whether its agent runs",
                self.networks.host_name(*author)
            ),
            Notice::Refused { author, reason } => {
                format!("facts of host {} were refused: {reason}", self.networks.host_name(*author))
            }
            Notice::TooManyAuthors { author } => {
                format!("facts of host {} were refused: the fabric has too many hosts", author.short())
            }
            Notice::TooLarge(error) => error.to_string(),
        }
    }

    /// Everything of this host's facts under a prefix, by value.
    pub(crate) fn own_facts(&self, prefix: &[u8]) -> Vec<Fact> {
        let Some(member) = &self.member else { return Vec::new() };
        let own = member.facts.of(self.me).filter(|(key, _)| key.starts_with(prefix));
        own.filter_map(|(key, value)| Fact::decode(key, value).ok()).collect()
    }
}

/// Puts all writes into one batch ahead of everything else: one flush per decision, and nothing is told or done before
/// it is kept.
pub(crate) fn saves_first(effects: Vec<Effect>) -> Vec<Effect> {
    let mut batch = Writes::new();
    let mut must_last = false;
    let mut rest = Vec::with_capacity(effects.len() + 1);
    for effect in effects {
        match effect {
            Effect::Save { writes, durable } => {
                batch.extend(writes);
                must_last |= durable;
            }
            other => rest.push(other),
        }
    }
    if !batch.is_empty() {
        rest.insert(0, Effect::Save { writes: batch, durable: must_last });
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_writes_come_first_in_one_batch_and_in_their_order() {
        let save = |key: &[u8], durable| Effect::Save { writes: vec![(key.to_vec(), None)], durable };
        let effects = vec![save(b"a", false), Effect::ProjectSoon, save(b"b", true)];
        let writes = vec![(b"a".to_vec(), None), (b"b".to_vec(), None)];
        assert_eq!(saves_first(effects), [Effect::Save { writes, durable: true }, Effect::ProjectSoon]);
    }
}
