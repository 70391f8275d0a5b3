//! Carries effects out.

use std::collections::VecDeque;

use bytes::Bytes;
use shoal_fabric::{Effect, Writes};
use shoal_plan::{Change, Observed};
use shoal_planner::{View, diff, diff_endpoint, plan};
use shoal_ports::{Store, WireGuardStatus, Write};
use shoal_transport::Member;
use shoal_tunnels::Status;
use shoal_types::EndpointId;

use super::owner::Agent;
use super::{kernel, secrets};

impl Agent {
    /// Carries effects out in their order; at the first that fails the rest is put off, and the reason returned.
    pub(crate) async fn perform(&mut self, effects: Vec<Effect>) -> Result<(), String> {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match self.carry_out(effect).await {
                Ok(following) => effects.extend(following),
                Err(reason) => {
                    for effect in self.owed.put_off(effects, self.parts.clock.now()) {
                        // Writes are kept with the one that was refused, and refused like it.
                        let _ = self.carry_out(effect).await;
                    }
                    return Err(reason);
                }
            }
        }
        Ok(())
    }

    /// Carries one effect out. Returns what follows from that.
    async fn carry_out(&mut self, effect: Effect) -> Result<Vec<Effect>, String> {
        match effect {
            Effect::Save { writes, durable: _ } => self.save(writes)?,
            Effect::Clear(prefix) => {
                let stored = self.parts.store.scan(&prefix).map_err(|error| error.to_string())?;
                let unsaved = self.unsaved.iter().map(|write| write.key.clone());
                let unsaved = unsaved.filter(|key| key.starts_with(&prefix));
                let keys = stored.into_iter().map(|(key, _)| key).chain(unsaved);
                self.save(keys.map(|key| (key, None)).collect())?;
            }
            Effect::Project(endpoint) => self.project(&endpoint).await?,
            Effect::ProjectSoon => self.plan_changed = true,
            Effect::Engine(request) => drop(self.parts.engine.send(request)),
            Effect::Datagram(to, bytes) => {
                let addresses = self.fabric.addresses_of(to);
                self.parts.transport.send_datagram(to, &addresses, Bytes::from(bytes));
            }
            Effect::Message(to, bytes) => {
                // A message may tell what a refused write was to keep: a gift of addresses above all.
                self.flush()?;
                let addresses = self.fabric.addresses_of(to);
                self.parts.transport.send_message(to, &addresses, Bytes::from(bytes));
            }
            Effect::Certificate(certificate) => {
                let root = secrets::root(&self.parts.store).map(std::sync::Arc::new);
                let member = certificate.map(|certificate| Member { certificate, root });
                self.parts.transport.set_membership(member);
            }
            Effect::Trust(view) => self.parts.transport.set_trust(view),
            Effect::DrawTunnelKeys => {
                let keys = secrets::tunnel_keys().map_err(|error| format!("no key can be drawn: {error}"))?;
                return Ok(self.fabric.tunnel_keys(keys, self.at()));
            }
            Effect::Notice(sentence) => self.notice(sentence),
            Effect::Stop(sentence) => {
                tracing::error!("{sentence}");
                self.stop = Some(sentence);
            }
        }
        Ok(Vec::new())
    }

    /// Carries out effects that nobody waits for; a failure is told to the operator.
    pub(crate) async fn perform_quietly(&mut self, effects: Vec<Effect>) {
        if let Err(reason) = self.perform(effects).await {
            self.notice(reason);
        }
    }

    /// Writes a batch. What the disk refuses goes first in the next batch: memory and disk may differ only while the
    /// disk refuses everything, and nothing is promised meanwhile.
    fn save(&mut self, writes: Writes) -> Result<(), String> {
        self.unsaved.extend(writes.into_iter().map(|(key, value)| Write { key, value }));
        match self.parts.store.write(&self.unsaved) {
            Ok(()) => {
                self.unsaved.clear();
                Ok(())
            }
            Err(error) => {
                self.tally.failed_writes += 1;
                Err(format!("shoal cannot keep its state: {error}"))
            }
        }
    }

    /// Once the disk writes again, does what was put off while it refused.
    pub(crate) async fn settle_owed(&mut self) {
        let now = self.parts.clock.now();
        if self.owed.due().is_none_or(|due| now < due) {
            return;
        }
        if self.flush().is_err() {
            return self.owed.refused(now);
        }
        let mut effects = self.fabric.restate(self.at());
        effects.extend(self.owed.settle());
        self.perform_quietly(effects).await;
    }

    /// Writes what the disk refused before. A repeated call may find nothing to do any more, because memory is ahead of
    /// the disk: it succeeds only once the disk has caught up.
    pub(crate) fn flush(&mut self) -> Result<(), String> {
        if self.unsaved.is_empty() { Ok(()) } else { self.save(Writes::new()) }
    }

    /// Everything that decides this host's kernel state, now.
    pub(crate) fn view(&self) -> View {
        self.fabric.view(self.parts.clock.now())
    }

    /// Reads how the encrypted tunnels do.
    pub(crate) async fn look_at_tunnels(&mut self) {
        let Ok(counters) = self.parts.kernel.counters().await else { return };
        self.strangers.note(&counters.encryption_drops, self.at().now);
        let status = |read: WireGuardStatus| Status {
            handshake: read.last_handshake,
            endpoint: read.endpoint,
            received_bytes: read.received_bytes,
            sent_bytes: read.sent_bytes,
        };
        let statuses = counters.wireguard.into_iter().map(|(at, read)| (at, status(read))).collect();
        let effects = self.fabric.tunnel_statuses(statuses, self.at());
        self.perform_quietly(effects).await;
        self.follow_relays();
    }

    /// Keeps the carrier of relayed packets in step with who is met and who is not.
    fn follow_relays(&mut self) {
        let plan = self.fabric.relay_plan(self.parts.clock.now());
        if plan != self.relayed {
            self.relayed.clone_from(&plan);
            self.parts.transport.set_relay_plan(plan);
        }
    }

    /// Brings the kernel in line for one endpoint.
    async fn project(&mut self, endpoint: &EndpointId) -> Result<(), String> {
        let (wanted, _) = plan(&self.view());
        let applied = Observed { plan: std::mem::take(&mut self.applied), ..Observed::default() };
        let changes = diff_endpoint(&wanted, &applied, endpoint);
        self.applied = applied.plan;
        match self.apply(changes).await.into_iter().next() {
            None => Ok(()),
            Some((_, error)) => Err(error.to_string()),
        }
    }

    /// Brings the whole kernel in line with what it should hold by now.
    pub(crate) async fn project_all(&mut self) {
        self.plan_changed = false;
        let view = self.view();
        let (wanted, clashes) = plan(&view);
        for clash in clashes {
            let (winner, loser) = (clash.winner.host, clash.loser.host);
            let networks = self.fabric.networks();
            let sentence = format!(
                "address {} of network {} is claimed on host {} and on host {}: the first has it",
                clash.key.address,
                clash.key.vni,
                networks.host_name(winner),
                networks.host_name(loser)
            );
            self.notice(sentence);
        }
        let applied = Observed { plan: std::mem::take(&mut self.applied), ..Observed::default() };
        let changes = diff(&wanted, &applied);
        self.applied = applied.plan;
        self.apply(changes).await;
        self.follow_relays();
        if self.prober.is_behind(&view) {
            self.probe();
        }
    }

    /// Takes the kernel as an earlier agent has left it: what is right stays untouched.
    pub(crate) async fn take_up_kernel(&mut self) {
        match self.parts.kernel.observe().await {
            Ok(observed) => self.applied = observed.plan,
            Err(error) => self.notice(error.to_string()),
        }
        self.plan_changed = true;
    }

    /// Reads back the whole kernel state and mends what differs.
    pub(crate) async fn audit(&mut self) {
        let observed = match self.parts.kernel.observe().await {
            Ok(observed) => observed,
            Err(error) => return self.notice(error.to_string()),
        };
        let (wanted, _) = plan(&self.view());
        let changes = diff(&wanted, &observed);
        let expected =
            Observed { plan: std::mem::replace(&mut self.applied, observed.plan), ..Observed::default() };
        if !changes.is_empty() && diff(&wanted, &expected).is_empty() {
            self.tally.kernel_mended += changes.len() as u64;
            for (link, why) in &observed.broken {
                tracing::warn!(%link, why, "the kernel differs from the plan: mending");
            }
            tracing::info!(changes = changes.len(), "the kernel differed from the plan and is mended");
        }
        self.apply(changes).await;
        self.probe();
    }

    /// Keeps the prober in step with the hosts and the probe link.
    pub(crate) fn probe(&mut self) {
        let view = self.view();
        let linked =
            view.probe.as_ref().is_some_and(|probe| self.applied.links.contains_key(&probe.outer_name));
        let failure =
            self.prober.follow(&view, linked).err().map(|error| format!("paths are not probed: {error}"));
        if failure != self.probe_failure {
            self.probe_failure.clone_from(&failure);
            if let Some(sentence) = failure {
                self.notice(sentence);
            }
        }
    }

    async fn apply(&mut self, changes: Vec<Change>) -> kernel::Refused {
        if changes.is_empty() {
            return Vec::new();
        }
        let refused = self.parts.kernel.apply(changes.clone()).await;
        for change in changes {
            if !refused.iter().any(|(failed, _)| *failed == change) {
                self.applied.note(change);
            }
        }
        self.tally.kernel_refusals += refused.len() as u64;
        for (_, error) in &refused {
            self.notice(error.to_string());
        }
        refused
    }
}
