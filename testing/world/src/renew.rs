//! Renews certificates as the transport does. Stories are too short for one to come of age; what is left is the host
//! whose issuer was forgotten: who does not know it yet refuses it, until another member vouches for it.

use std::time::Duration;

use shoal_trust::{Certificate, Claim, Issuer};

use crate::Situation;
use crate::world::{Event, World};

/// How often the transport looks at its certificate.
const EVERY: Duration = Duration::from_secs(60);

impl World {
    pub(crate) fn plan_renewal(&mut self, host: usize) {
        let life = self.hosts[host].life;
        self.after(EVERY, Event::Renew { host, life });
    }

    /// Looks at a host's certificate, and asks connected members for another one.
    pub(crate) fn renew(&mut self, host: usize) {
        self.plan_renewal(host);
        let it = &self.hosts[host];
        let (Some(trust), Some(certificate)) = (&it.trust, &it.certificate) else { return };
        let is_orphan =
            matches!(certificate.issuer, Issuer::Member(issuer) if trust.forgotten.contains(&issuer));
        if !is_orphan {
            return;
        }
        let old = certificate.not_after;
        let offers = (0..self.hosts.len()).filter_map(|member| self.offer(host, member));
        let Some(new) = offers.into_iter().find(|new| new.not_after > old) else { return };
        self.seen.insert(Situation::Renewed);
        self.note(b'c', host, &new.encode());
        self.with_agent(host, |agent, at| agent.renewed(new, at));
    }

    /// The certificate that a member gives a host that asks for one.
    fn offer(&self, host: usize, member: usize) -> Option<Certificate> {
        let connected = host != member && self.network.connects(host, member);
        if !connected || !self.admits(host, member) || !self.admits(member, host) {
            return None;
        }
        let (it, member) = (&self.hosts[host], &self.hosts[member]);
        let (present, trust) = (it.certificate.as_ref()?, member.trust.as_ref()?);
        let known = trust.members.get(&it.id) == Some(&present.key) && !trust.forgotten.contains(&it.id);
        if !known || member.agent.is_none() {
            return None;
        }
        let (fabric, key, name) = (trust.fabric, present.key, present.name.clone());
        let claim = Claim { fabric, key, name, from: member.at(self.now).wall };
        Some(Certificate::issue_by_member(&member.key, claim))
    }
}
