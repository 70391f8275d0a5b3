//! Carries effects out.

use bytes::Bytes;
use shoal_fabric::Effect;
use shoal_plan::Change;
use shoal_planner::{View, plan};
use shoal_transport::Member;
use shoal_types::EndpointId;

use super::disk::After;
use super::kernel::Lane;
use super::owner::Agent;
use super::verbs::Awaited;
use super::{Input, projection, secrets};

/// The whole plan is computed at most this part of the time, so that in a large fabric calls of dockerd do not stand
/// behind one plan after the other: with 10,000 endpoints it takes some 15 ms.
const PLAN_SHARE: u32 = 10;

impl Agent {
    /// Carries effects out in their order. Nothing waits for the disk or the kernel: what needs the disk follows once
    /// everything before it is kept, and returned is what of the kernel an answer to whoever asked must wait for.
    pub(crate) fn perform(&mut self, effects: Vec<Effect>) -> Awaited {
        let mut awaited = Awaited::new();
        let is_kept = |effect: &Effect| matches!(effect, Effect::Save { .. } | Effect::Clear(_));
        let (kept, others): (Vec<_>, Vec<_>) = effects.into_iter().partition(is_kept);
        for effect in kept.into_iter().chain(others) {
            match effect {
                Effect::Save { writes, durable: _ } => self.keep(writes),
                Effect::Clear(prefix) => self.clear(&prefix),
                // Kernel and disk work at the same time. A start finds out what the kernel holds, so what is in it and
                // was never kept goes then.
                Effect::Project(endpoint) => awaited.extend(self.project(&endpoint)),
                Effect::ProjectSoon => self.plan_changed = true,
                // Whether this host is alive does not depend on its disk; but whom it has just met hears it once the
                // transport knows that too.
                Effect::Datagram(..) if self.is_trust_behind() => self.once_kept(After::Do(effect)),
                Effect::Datagram(to, bytes) => {
                    let addresses = self.fabric.addresses_of(to);
                    self.parts.transport.send_datagram(to, &addresses, Bytes::from(bytes));
                }
                Effect::Notice(sentence) => self.notice(sentence),
                Effect::Stop(sentence) => {
                    tracing::error!("{sentence}");
                    self.stop = Some(sentence);
                }
                Effect::Engine(_)
                | Effect::Message(..)
                | Effect::Certificate(_)
                | Effect::Trust(_)
                | Effect::DrawTunnelKeys => self.once_kept(After::Do(effect)),
            }
        }
        awaited
    }

    /// Carries an effect out that had to wait for the disk.
    pub(crate) fn carry_out_kept(&mut self, effect: Effect) {
        match effect {
            Effect::Engine(request) => drop(self.parts.engine.send(request)),
            Effect::Message(to, bytes) => {
                let addresses = self.fabric.addresses_of(to);
                self.parts.transport.send_message(to, &addresses, Bytes::from(bytes));
            }
            Effect::Certificate(certificate) => {
                let root = secrets::root(&self.parts.store).map(std::sync::Arc::new);
                let member = certificate.map(|certificate| Member { certificate, root });
                self.parts.transport.set_membership(member);
            }
            Effect::Trust(view) => self.parts.transport.set_trust(view),
            Effect::DrawTunnelKeys => match secrets::tunnel_keys() {
                Ok(keys) => {
                    let effects = self.fabric.tunnel_keys(keys, self.at());
                    self.perform(effects);
                }
                Err(error) => self.notice(format!("no key can be drawn: {error}")),
            },
            other => drop(self.perform(vec![other])),
        }
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
        let wanted = projection::wanted(&self.fabric.view_of_local_endpoints());
        let changes = self.kernel.changes_for(&wanted, endpoint);
        let (removals, others) = changes.into_iter().partition(|it| matches!(it, Change::RemoveLink(_)));
        self.send(Lane::Quick, others);
        self.send(Lane::Removal, removals);
        self.kernel.awaited_for(endpoint)
    }

    /// Has the whole kernel brought in line with what it should hold by now, once it has taken what it was sent
    /// before.
    pub(crate) fn project_all(&mut self) {
        let began = self.parts.clock.now();
        if !self.is_plan_due() || began < self.next_plan {
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
        let took = self.parts.clock.now().since(began);
        self.next_plan = began + took * PLAN_SHARE;
    }

    /// Whether the plan has changed, and the kernel has taken what it was sent before.
    pub(crate) fn is_plan_due(&self) -> bool {
        self.plan_changed && self.kernel.is_known() && !self.kernel.is_busy()
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
