//! Edits of ours that lost to one made at the same time: kept and shown, never dropped in silence.
//!
//! Every edit says which was the newest that its author had heard of. If ours lies above that, the winner's author did
//! not know of it: somebody's wish was passed over, and should hear of it on the host where it was made.

use std::time::Duration;

use shoal_schema::{Fact, FactKey, NetworkFact, NetworkSpec};
use shoal_types::{HostId, NetworkId, WallTime};

use crate::pool::save;
use crate::record::{LostRecord, Record};
use crate::{At, Effect, Finding, Networks};

/// How long a lost edit is shown at most.
const SHOWN_FOR: Duration = Duration::from_secs(7 * 86_400);

/// The most lost edits that are kept, one per network; the oldest goes first.
const LOST_MAX: usize = 64;

impl Networks {
    /// Takes back our edits that another one outranks; keeps those whose winner was made without knowledge of them.
    pub(crate) fn drop_outranked(&mut self, at: At, effects: &mut Vec<Effect>) {
        for id in self.catalog.outranked(self.me) {
            if let Some(record) = self.lost_edit(id, at.wall) {
                self.keep_lost(record, effects);
            }
            self.catalog.unlearn(self.me, id);
            effects.push(Effect::Withdraw(FactKey::network(id)));
        }
        self.forget_lost(at.wall, effects);
    }

    fn lost_edit(&self, network: NetworkId, wall: WallTime) -> Option<LostRecord> {
        let mine = self.catalog.edit_of(self.me, network)?;
        let (author, winner) = self.catalog.winner(network)?;
        let text = difference(mine, winner).filter(|_| winner.heard < mine.stamp)?;
        let (name, host) = (called(mine, winner), self.host_name(author));
        let finding = format!(
            "This host and host {host} changed {name} without having heard of each other; the change of host {host} is the \
             later one and counts. {text}"
        );
        Some(LostRecord {
            network,
            name,
            edit: Fact::Network(mine.clone()).encode(),
            to: author,
            stamp: winner.stamp,
            since: wall,
            finding,
        })
    }

    fn keep_lost(&mut self, record: LostRecord, effects: &mut Vec<Effect>) {
        effects.push(Effect::Notice(record.finding.clone()));
        effects.push(save(&Record::Lost(record.clone())));
        self.lost.insert(record.network, record);
        while self.lost.len() > LOST_MAX {
            let oldest = self.lost.values().min_by_key(|lost| lost.since).map(|lost| lost.network);
            let Some(lost) = oldest.and_then(|oldest| self.lost.remove(&oldest)) else { return };
            effects.push(Effect::Save(Record::Lost(lost).key(), None));
        }
    }

    /// A lost edit is shown until its network is changed again, or for a week.
    fn forget_lost(&mut self, wall: WallTime, effects: &mut Vec<Effect>) {
        let over = |lost: &&LostRecord| {
            let winner = self.catalog.winner(lost.network);
            wall.since(lost.since) > SHOWN_FOR || winner.is_none_or(|(_, fact)| fact.stamp > lost.stamp)
        };
        let over: Vec<LostRecord> = self.lost.values().filter(over).cloned().collect();
        for lost in over {
            self.lost.remove(&lost.network);
            effects.push(Effect::Save(Record::Lost(lost).key(), None));
        }
    }

    /// What of ours was passed over.
    pub(crate) fn lost_findings(&self) -> impl Iterator<Item = Finding> {
        self.lost.values().map(|lost| Finding {
            subject: lost.name.clone(),
            finding: lost.finding.clone(),
            mend: "If this host's change is still wanted, make it again. This message ends with the next change of the network, \
                   or after a week."
                .into(),
        })
    }

    /// The edits of ours that lost and are kept: the network, who won, and the edit.
    pub fn lost_edits(&self) -> impl Iterator<Item = (NetworkId, HostId, NetworkFact)> {
        self.lost.values().filter_map(|lost| {
            let key = FactKey::network(lost.network);
            match Fact::decode(key.as_bytes(), &lost.edit) {
                Ok(Fact::Network(edit)) => Some((lost.network, lost.to, edit)),
                _ => None,
            }
        })
    }
}

fn called(mine: &NetworkFact, winner: &NetworkFact) -> String {
    let spec = winner.spec.as_ref().or(mine.spec.as_ref());
    spec.map_or_else(|| format!("network {}", mine.id.short()), |spec| format!("network \"{}\"", spec.name))
}

/// What an edit that lost would have made different; `None`: nothing that a person asked for, since agents choose VXLAN
/// ids by themselves.
fn difference(mine: &NetworkFact, winner: &NetworkFact) -> Option<String> {
    match (&mine.spec, &winner.spec) {
        (None, None) => None,
        (None, Some(spec)) => Some(format!(
            "This host had deleted it; it stays, with VXLAN id {}. `shoal network delete {}` deletes it again.",
            spec.vni.get(),
            spec.name
        )),
        (Some(spec), None) => Some(format!(
            "This host had given it VXLAN id {}; it is deleted. `shoal network create {}` makes it anew.",
            spec.vni.get(),
            spec.name
        )),
        (Some(mine), Some(theirs)) => {
            let differ = fields(mine, theirs);
            (!differ.is_empty()).then(|| format!("This host's change had other {}.", differ.join(", ")))
        }
    }
}

fn fields(mine: &NetworkSpec, theirs: &NetworkSpec) -> Vec<String> {
    let fields = [
        (mine.name != theirs.name, format!("name (\"{}\")", mine.name)),
        (mine.subnets != theirs.subnets, "subnets".into()),
        (mine.options != theirs.options, "options".into()),
        (mine.labels != theirs.labels, "labels".into()),
        (mine.internal != theirs.internal, "reach (internal or not)".into()),
    ];
    fields.into_iter().filter(|(differs, _)| *differs).map(|(_, field)| field).collect()
}
