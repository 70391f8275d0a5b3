//! Gathers what a call leads to and puts it in the order in which it must happen.

use shoal_types::HostId;

use crate::set::Set;
use crate::stats::Counters;
use crate::{Change, Effect, Notice, load, wire};

/// Effects of one call while it runs.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    changes: Vec<Change>,
    pub(crate) durable: bool,
    pub(crate) notices: Vec<Notice>,
    pub(crate) conflict: Option<String>,
    sends: Vec<(HostId, Vec<u8>)>,
}

impl Outcome {
    /// Records that an author's set was replaced: the writes that store it and the changes that readers see.
    pub(crate) fn replace(&mut self, author: HostId, old: Option<&Set>, new: Option<&Set>) {
        self.writes.push((load::head_key(author), new.map(wire::stored_head)));
        for (key, before, after) in differences(old, new) {
            self.writes.push((load::entry_key(author, key), after.map(wire::stored_entry)));
            let value = |entry: Option<&crate::set::Entry>| entry.and_then(|entry| entry.value.clone());
            let (old, new) = (value(before), value(after));
            if old != new {
                self.changes.push(Change { author, key: key.to_vec(), old, new });
            }
        }
    }

    pub(crate) fn send(&mut self, to: HostId, message: Vec<u8>) {
        self.sends.push((to, message));
    }

    /// Writes come first: a host must not say what it may forget. `leftovers` are removed before all else, lest they
    /// remove what was written under the same key since.
    pub(crate) fn into_effects(self, leftovers: Vec<Vec<u8>>, counters: &mut Counters) -> Vec<Effect> {
        let mut writes: Vec<_> = leftovers.into_iter().map(|key| (key, None)).collect();
        writes.extend(self.writes);
        let mut effects = Vec::new();
        if !writes.is_empty() {
            effects.push(Effect::Persist { writes, durable: self.durable });
        }
        if !self.changes.is_empty() {
            effects.push(Effect::Changed(self.changes));
        }
        effects.extend(self.notices.into_iter().map(Effect::Notice));
        effects.extend(self.conflict.map(Effect::Conflict));
        counters.messages_sent += self.sends.len() as u64;
        counters.bytes_sent += self.sends.iter().map(|(_, message)| message.len() as u64).sum::<u64>();
        effects.extend(self.sends.into_iter().map(|(to, message)| Effect::Send { to, message }));
        effects
    }
}

type Difference<'a> = (&'a [u8], Option<&'a crate::set::Entry>, Option<&'a crate::set::Entry>);

/// Keys whose entries differ between two states, in order of keys, with the entry before and after.
pub(crate) fn differences<'a>(old: Option<&'a Set>, new: Option<&'a Set>) -> Vec<Difference<'a>> {
    let entries = |set: Option<&'a Set>| set.into_iter().flat_map(|set| &set.entries);
    let in_old = |key: &[u8]| old.and_then(|set| set.entries.get(key));
    let in_new = |key: &[u8]| new.and_then(|set| set.entries.get(key));
    let kept = entries(old).map(|(key, entry)| (key.as_slice(), Some(entry), in_new(key)));
    let added = entries(new).filter(|(key, _)| in_old(key).is_none());
    let added = added.map(|(key, entry)| (key.as_slice(), None, Some(entry)));
    let mut all: Vec<_> = kept.chain(added).filter(|(_, before, after)| before != after).collect();
    all.sort_unstable_by_key(|(key, ..)| *key);
    all
}
