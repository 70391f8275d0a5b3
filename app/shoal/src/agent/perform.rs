//! Carries effects out.

use std::collections::VecDeque;

use bytes::Bytes;
use shoal_fabric::{Effect, Writes};
use shoal_plan::Change;
use shoal_planner::{View, plan};
use shoal_ports::{Store, Write};
use shoal_transport::Member;
use shoal_types::EndpointId;

use super::kernel::Lane;
use super::owner::Agent;
use super::verbs::Awaited;
use super::{Input, projection, secrets};

impl Agent {
    /// Carries effects out in their order; at the first that fails the rest is put off, and the reason returned.
    /// Nothing waits for the kernel: returned is what an answer to whoever asked must wait for.
    pub(crate) fn perform(&mut self, effects: Vec<Effect>) -> Result<Awaited, String> {
        let mut awaited = Awaited::new();
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match self.carry_out(effect, &mut awaited) {
                Ok(following) => effects.extend(following),
                Err(reason) => {
                    for effect in self.owed.put_off(effects, self.parts.clock.now()) {
                        // Writes are kept with the one that was refused, and refused like it.
                        let _ = self.carry_out(effect, &mut awaited);
                    }
                    return Err(reason);
                }
            }
        }
        Ok(awaited)
    }

    /// Carries one effect out, and notes what an answer must wait for. Returns what follows from it.
    fn carry_out(&mut self, effect: Effect, awaited: &mut Awaited) -> Result<Vec<Effect>, String> {
        match effect {
            Effect::Save { writes, durable: _ } => self.save(writes)?,
            Effect::Clear(prefix) => {
                let stored = self.parts.store.scan(&prefix).map_err(|error| error.to_string())?;
                let unsaved = self.unsaved.iter().map(|write| write.key.clone());
                let unsaved = unsaved.filter(|key| key.starts_with(&prefix));
                let keys = stored.into_iter().map(|(key, _)| key).chain(unsaved);
                self.save(keys.map(|key| (key, None)).collect())?;
            }
            Effect::Project(endpoint) => awaited.extend(self.project(&endpoint)),
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
    pub(crate) fn perform_quietly(&mut self, effects: Vec<Effect>) {
        if let Err(reason) = self.perform(effects) {
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
    pub(crate) fn settle_owed(&mut self) {
        let now = self.parts.clock.now();
        if self.owed.due().is_none_or(|due| now < due) {
            return;
        }
        if self.flush().is_err() {
            return self.owed.refused(now);
        }
        let mut effects = self.fabric.restate(self.at());
        effects.extend(self.owed.settle());
        self.perform_quietly(effects);
    }

    /// Writes what the disk refused before. A repeated call may find nothing to do any more, because memory is ahead
    /// of the disk: it succeeds only once the disk has caught up.
    pub(crate) fn flush(&mut self) -> Result<(), String> {
        if self.unsaved.is_empty() { Ok(()) } else { self.save(Writes::new()) }
    }

    /// Everything that decides this host's kernel state, now.
    pub(crate) fn view(&self) -> View {
        self.fabric.view(self.parts.clock.now())
    }

    /// Keeps the carrier of relayed packets in step with who is met and who is not.
    pub(crate) fn follow_relays(&mut self) {
        let plan = self.fabric.relay_plan(self.parts.clock.now());
        if plan != self.relayed {
            self.relayed.clone_from(&plan);
            self.parts.transport.set_relay_plan(plan);
        }
    }

    /// Has the kernel brought in line for one endpoint. Returns the batches that do it.
    fn project(&mut self, endpoint: &EndpointId) -> Awaited {
        let wanted = projection::wanted(&self.view());
        let changes = self.kernel.changes_for(&wanted, endpoint);
        let (removals, others) = changes.into_iter().partition(|it| matches!(it, Change::RemoveLink(_)));
        self.send(Lane::Quick, others);
        self.send(Lane::Removal, removals);
        self.kernel.awaited_for(endpoint)
    }

    /// Has the whole kernel brought in line with what it should hold by now, once it has taken what it was sent
    /// before.
    pub(crate) fn project_all(&mut self) {
        if !self.plan_changed || !self.kernel.is_known() || self.kernel.is_busy() {
            return;
        }
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
        let changes = self.kernel.changes_to(&wanted);
        self.send(Lane::Slow, changes);
        self.follow_relays();
        if self.prober.is_behind(&view) {
            self.probe();
        }
    }

    /// Sends changes to the kernel; what comes of them is an input.
    pub(crate) fn send(&mut self, lane: Lane, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let batch = self.kernel.send(lane, changes);
        let (number, inputs) = (batch.number, self.parts.inputs.clone());
        let refused = self.parts.kernel.apply(lane, batch);
        tokio::spawn(async move { inputs.send(Input::Applied(number, refused.await)).await });
    }
}
