//! Facts about leases.

use std::net::IpAddr;

use shoal_types::{HostId, NetworkId, PoolIndex};

use super::{Checked, address, address_bytes, bytes, check, host, last};
use crate::wire::{limit, message};
use crate::{Decision, FactsVersion, LeaseFact, RosterFact, SpareFact, VoteFact};

impl From<&LeaseFact> for message::Lease {
    fn from(fact: &LeaseFact) -> Self {
        let ids = |hosts: &[HostId]| hosts.iter().map(|host| host.bytes().to_vec()).collect();
        let (witnesses, before) = (ids(&fact.witnesses), ids(&fact.before));
        Self { term: fact.term, witnesses, before, settled: ids(&fact.settled) }
    }
}

impl message::Lease {
    pub(in crate::wire) fn fact(self) -> Checked<LeaseFact> {
        check(self.term > 0, "term", "the first is 1")?;
        Ok(LeaseFact {
            term: self.term,
            witnesses: hosts(&self.witnesses, limit::WITNESSES_MAX, "witnesses")?,
            before: hosts(&self.before, limit::WITNESSES_MAX, "before")?,
            settled: hosts(&self.settled, limit::SETTLED_MAX, "settled")?,
        })
    }
}

impl From<&SpareFact> for message::Spare {
    fn from(fact: &SpareFact) -> Self {
        let run = |(first, last): &(IpAddr, IpAddr)| message::Run {
            first: address_bytes(*first),
            last: address_bytes(*last),
        };
        Self { spare: fact.spare.iter().map(run).collect(), wanted: fact.wanted.iter().map(run).collect() }
    }
}

impl message::Spare {
    pub(in crate::wire) fn fact(self, network: NetworkId, pool: PoolIndex) -> Checked<SpareFact> {
        check(usize::from(pool.0) < limit::SUBNETS_MAX, "pool", "a network has at most 16 subnets")?;
        let (spare, wanted) = (runs(&self.spare, "spare")?, runs(&self.wanted, "wanted")?);
        Ok(SpareFact { network, pool, spare, wanted })
    }
}

impl From<&VoteFact> for message::Vote {
    fn from(fact: &VoteFact) -> Self {
        Self {
            term: fact.term,
            taker: fact.taker.bytes().to_vec(),
            incarnation: fact.seen.incarnation,
            counter: fact.seen.counter,
            decision: match fact.decision {
                Decision::Open => 0,
                Decision::Taken => 1,
                Decision::Renounced => 2,
            },
        }
    }
}

impl message::Vote {
    pub(in crate::wire) fn fact(self, owner: HostId) -> Checked<VoteFact> {
        let decision = match self.decision {
            0 => Some(Decision::Open),
            1 => Some(Decision::Taken),
            2 => Some(Decision::Renounced),
            _ => None,
        };
        Ok(VoteFact {
            owner,
            term: self.term,
            taker: host(&self.taker, "taker")?,
            seen: FactsVersion { incarnation: self.incarnation, counter: self.counter },
            decision: super::some(decision, "decision", "0, 1 or 2 are expected")?,
        })
    }
}

impl From<&RosterFact> for message::Roster {
    fn from(fact: &RosterFact) -> Self {
        Self { digest: fact.digest.to_vec() }
    }
}

impl message::Roster {
    pub(in crate::wire) fn fact(self) -> Checked<RosterFact> {
        Ok(RosterFact { digest: bytes::<32>(&self.digest, "digest")? })
    }
}

fn hosts(ids: &[Vec<u8>], most: usize, field: &'static str) -> Checked<Vec<HostId>> {
    check(ids.len() <= most, field, "too many hosts")?;
    let hosts = ids.iter().map(|id| host(id, field)).collect::<Checked<Vec<_>>>()?;
    check(hosts.is_sorted_by(|one, next| one < next), field, "not in ascending order")?;
    Ok(hosts)
}

fn runs(runs: &[message::Run], field: &'static str) -> Checked<Vec<(IpAddr, IpAddr)>> {
    check(runs.len() <= limit::SPARE_RUNS_MAX, field, "more than 64 runs")?;
    let run = |run: &message::Run| {
        let first = address(&run.first, field)?;
        Ok((first, last(first, &run.last)?))
    };
    runs.iter().map(run).collect()
}
