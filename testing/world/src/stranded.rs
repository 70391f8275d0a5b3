//! Hosts that are members by their own belief only.
//!
//! A host that was let in by one that was forgotten, and that no other member had heard of by then, is refused by all:
//! nobody can vouch for it, since who forgets a host must not take its word any more. It has to join again, and is
//! told so. Until it does, nothing of it is expected.

use std::collections::BTreeSet;

use shoal_trust::Cause;

use crate::world::World;

impl World {
    /// Members by their own belief only, by number; known once the world is settled.
    pub fn stranded(&self) -> &BTreeSet<usize> {
        &self.stranded
    }

    /// Finds the members that the fabric refuses although everything is healed.
    ///
    /// # Errors
    /// What is wrong, if one is refused for another reason than that its issuer was forgotten.
    pub(crate) fn find_stranded(&mut self) -> Result<(), String> {
        let mut left: BTreeSet<usize> =
            self.hosts.iter().filter(|it| it.member().is_some()).map(|it| it.index).collect();
        let mut groups = Vec::new();
        while let Some(first) = left.pop_first() {
            let mut group = BTreeSet::from([first]);
            let mut new = vec![first];
            while let Some(host) = new.pop() {
                let peers: Vec<usize> = left
                    .iter()
                    .copied()
                    .filter(|it| self.admits(host, *it) && self.admits(*it, host))
                    .collect();
                left.retain(|it| !peers.contains(it));
                group.extend(&peers);
                new.extend(peers);
            }
            groups.push(group);
        }
        let most = groups.iter().map(BTreeSet::len).max().unwrap_or_default();
        let fabric = groups.iter().find(|group| group.len() == most).cloned().unwrap_or_default();
        self.stranded = groups.into_iter().flatten().filter(|host| !fabric.contains(host)).collect();
        for host in &self.stranded {
            let is_rightly =
                |member: &usize| self.forgot_issuer(*host, *member) || self.forgot_issuer(*member, *host);
            if let Some(member) = fabric.iter().find(|member| !is_rightly(member)) {
                return Err(format!("a member is refused without reason: h{host}, by h{member}"));
            }
        }
        Ok(())
    }

    pub(crate) fn forgot_issuer(&self, subject: usize, judge: usize) -> bool {
        let (subject, judge) = (&self.hosts[subject], &self.hosts[judge]);
        let (Some(certificate), Some(trust)) = (&subject.certificate, &judge.trust) else { return false };
        let refusal = trust.judge(certificate, judge.at(self.now).wall).err();
        refusal.is_some_and(|it| matches!(it.cause, Cause::ForgottenIssuer { .. }))
    }
}
