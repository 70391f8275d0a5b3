//! Runs agents: hands them events and carries out what they decide, as the real agent's loop does.

use std::time::Duration;

use shoal_fabric::{Effect, Fabric, KeyPair};
use shoal_networks::{EngineReport, EngineRequest, Refusal, Reply, Verb};
use shoal_planner::{plan, restrict};
use shoal_types::{HostId, WireGuardKey, WireGuardSecret};

use crate::Situation;
use crate::network::draw;
use crate::world::{Event, World};

/// How soon after a change the whole kernel is brought in line.
const PROJECT_AFTER: Duration = Duration::from_millis(1);

/// How often the agent asks the engine for the names of containers, whatever it was told.
const NAMES_EVERY: Duration = Duration::from_secs(10);

impl World {
    pub(crate) fn start_agent(&mut self, host: usize) {
        let seed = self.prng.next_u64();
        let it = &mut self.hosts[host];
        let Some(local) = it.local() else { return };
        (it.tick_due, it.projecting, it.working, it.looking) = (None, false, false, false);
        (it.trust, it.certificate, it.fuse) = (None, None, None);
        it.requests.clear();
        (it.unsaved, it.owed) = Default::default();
        let opened = Fabric::open(it.key.clone(), local, &it.disk.read(), seed, it.at(self.now));
        let (fabric, effects) = match opened {
            Ok(opened) => opened,
            Err(sentence) => return self.violate(format!("h{host} cannot start again: {sentence}")),
        };
        let it = &mut self.hosts[host];
        it.agent = Some(fabric);
        let (taken, life) = (it.taken(), it.life);
        if it.off_since.take().is_some_and(|edits| edits < self.edits) {
            self.seen.insert(Situation::CaughtUp);
        }
        self.perform(host, effects);
        self.with_agent(host, |agent, at| agent.set_taken(taken, at));
        self.plan_projection(host, life);
        self.plan_look(host);
        self.plan_renewal(host);
        self.after(NAMES_EVERY, Event::Names { host, life });
    }

    /// The agent's process is gone; what it has written stays.
    pub(crate) fn kill_agent(&mut self, host: usize) {
        let edits = self.edits;
        let it = &mut self.hosts[host];
        it.agent = None;
        it.life += 1;
        it.fuse = None;
        it.requests.clear();
        (it.unsaved, it.owed) = Default::default();
        it.off_since = Some(edits);
    }

    /// Lets the agent decide something, and carries it out. Does nothing while the agent is off.
    pub(crate) fn with_agent(
        &mut self,
        host: usize,
        decide: impl FnOnce(&mut Fabric, shoal_fabric::At) -> Vec<Effect>,
    ) -> bool {
        let it = &mut self.hosts[host];
        let at = it.at(self.now);
        let Some(agent) = &mut it.agent else { return false };
        let effects = decide(agent, at);
        let done = self.perform(host, effects);
        self.plan_tick(host);
        done
    }

    /// Keys that differ by host and number; nobody here looks into them.
    fn draw_tunnel_keys(&mut self, host: usize) {
        let it = &mut self.hosts[host];
        it.tunnel_keys += 1;
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(it.id.bytes());
        bytes[16..24].copy_from_slice(&it.tunnel_keys.to_be_bytes());
        let keys = KeyPair { secret: WireGuardSecret::new(bytes), key: WireGuardKey::new(bytes) };
        self.with_agent(host, |agent, at| agent.tunnel_keys(keys, at));
    }

    /// dockerd calls the driver; `None`: nobody answers.
    pub(crate) fn verb(&mut self, host: usize, verb: Verb) -> Option<Result<Reply, Refusal>> {
        self.note(b'v', host, format!("{verb:?}").as_bytes());
        let mut reply = None;
        let done = self.with_agent(host, |agent, at| {
            let (effects, decided) = agent.verb(verb, at);
            reply = Some(decided);
            effects
        });
        let it = &self.hosts[host];
        match (done && it.unsaved.is_empty(), it.agent.is_some()) {
            (true, _) => reply,
            // An earlier write may still be refused: what is granted must last.
            (false, true) => Some(Err(Refusal("shoal cannot keep its state".into()))),
            (false, false) => None,
        }
    }

    /// Carries effects out as the real agent does: what need not wait for the disk goes ahead of it, all else comes
    /// behind what is to be kept, in its order. False if the agent died over them or the disk refused.
    pub(crate) fn perform(&mut self, host: usize, effects: Vec<Effect>) -> bool {
        let waits = effects.iter().any(|it| matches!(it, Effect::Certificate(_) | Effect::Trust(_)));
        let (ahead, behind): (Vec<_>, Vec<_>) = effects.into_iter().partition(|effect| match effect {
            Effect::Project(_) | Effect::ProjectSoon => true,
            Effect::Datagram(..) => !waits,
            _ => false,
        });
        let is_kept = |effect: &Effect| matches!(effect, Effect::Save { .. } | Effect::Clear(_));
        let (kept, behind): (Vec<_>, Vec<_>) = behind.into_iter().partition(is_kept);
        let mut effects = ahead.into_iter().chain(kept).chain(behind);
        while let Some(effect) = effects.next() {
            if self.burn(host) {
                return false;
            }
            if !self.carry_out(host, effect) {
                self.put_off(host, effects.collect());
                return false;
            }
        }
        self.hosts[host].agent.is_some()
    }

    /// The disk refused a write in the middle of a decision.
    fn put_off(&mut self, host: usize, rest: Vec<Effect>) {
        self.seen.insert(Situation::WriteRefused);
        let (now, life) = (self.now, self.hosts[host].life);
        let tries_already = self.hosts[host].owed.due().is_some();
        for effect in self.hosts[host].owed.put_off(rest, now) {
            self.carry_out(host, effect);
        }
        if let Some(due) = self.hosts[host].owed.due().filter(|_| !tries_already) {
            self.at(due, Event::Disk { host, life });
        }
    }

    /// The agent tries the disk again.
    pub(crate) fn settle_owed(&mut self, host: usize) {
        let (now, life) = (self.now, self.hosts[host].life);
        if !self.write(host, Vec::new(), true) {
            let it = &mut self.hosts[host];
            it.owed.refused(now);
            if let Some(due) = it.owed.due() {
                self.at(due, Event::Disk { host, life });
            }
            return;
        }
        let owed = self.hosts[host].owed.settle();
        self.with_agent(host, |agent, at| {
            let mut effects = agent.restate(at);
            effects.extend(owed);
            effects
        });
    }

    /// Writes a batch after those that were refused.
    fn write(&mut self, host: usize, writes: shoal_fabric::Writes, durable: bool) -> bool {
        let it = &mut self.hosts[host];
        it.unsaved.extend(writes);
        if it.disk_refuses {
            return false;
        }
        let batch = std::mem::take(&mut it.unsaved);
        if !batch.is_empty() {
            it.disk.write(batch, durable);
        }
        true
    }

    /// Counts down to the agent's death in the middle of its work.
    fn burn(&mut self, host: usize) -> bool {
        let Some(fuse) = &mut self.hosts[host].fuse else { return false };
        if *fuse > 0 {
            *fuse -= 1;
            return false;
        }
        self.seen.insert(Situation::KilledBetweenEffects);
        self.remark(host, "the agent dies in the middle of its work");
        self.kill_agent(host);
        true
    }

    /// Carries one effect out; false if the disk refused.
    fn carry_out(&mut self, host: usize, effect: Effect) -> bool {
        match effect {
            Effect::Save { writes, durable } => {
                self.edits += 1;
                let is_gift = |key: &[u8]| key.windows(5).any(|part| part == b"gift/");
                if writes.iter().any(|(key, value)| value.is_some() && is_gift(key)) {
                    self.seen.insert(Situation::AddressesGiven);
                }
                return self.write(host, writes, durable);
            }
            Effect::Clear(prefix) => {
                let stored = self.hosts[host].disk.read().into_iter().map(|(key, _)| key);
                let unsaved = self.hosts[host].unsaved.iter().map(|(key, _)| key.clone());
                let keys = stored.chain(unsaved).filter(|key| key.starts_with(&prefix));
                let writes = keys.map(|key| (key, None)).collect();
                return self.write(host, writes, true);
            }
            Effect::Project(endpoint) => {
                let now = self.now;
                let it = &mut self.hosts[host];
                let Some(agent) = &it.agent else { return true };
                let (here, all) = (agent.view_of_local_endpoints(), agent.view(now));
                let part = |view| restrict(&plan(view).0, &endpoint);
                let as_planned = part(&here) == part(&all);
                if let Err(broken) = it.kernel.project_endpoint(&here, &endpoint) {
                    self.violate(format!("h{host}: {broken}"));
                }
                if !as_planned {
                    self.violate(format!("h{host}: a link's plan depends on other hosts"));
                }
            }
            Effect::ProjectSoon => {
                let life = self.hosts[host].life;
                self.plan_projection(host, life);
            }
            Effect::Engine(request) => {
                self.hosts[host].traffic.engine_requests += 1;
                self.hosts[host].requests.push_back(request);
                self.plan_work(host);
            }
            Effect::Datagram(to, bytes) => self.send_datagram(host, to, &bytes),
            Effect::Message(to, bytes) => {
                // It may tell what a refused write was to keep.
                if !self.write(host, Vec::new(), true) && !self.hosts[host].unsaved.is_empty() {
                    return false;
                }
                self.send_message(host, to, bytes);
            }
            Effect::Certificate(certificate) => self.hosts[host].certificate = certificate,
            Effect::Trust(trust) => self.hosts[host].trust = Some(trust),
            Effect::DrawTunnelKeys => self.draw_tunnel_keys(host),
            Effect::Notice(sentence) => {
                if self.is_false_alarm(host, &sentence) {
                    self.violate(format!("a false alarm: h{host} says: {sentence}"));
                }
                if sentence.starts_with("this host was restored") {
                    self.seen.insert(Situation::Restored);
                    self.hosts[host].is_behind = false;
                }
                if self.hosts[host].notices.insert(sentence.clone()) {
                    self.remark(host, &format!("notice: {sentence}"));
                }
            }
            Effect::Stop(sentence) => {
                self.violate(format!("the agent of h{host} stops for good: {sentence}"));
                self.kill_agent(host);
            }
        }
        true
    }

    /// Whether an agent says what cannot be so.
    fn is_false_alarm(&self, host: usize, sentence: &str) -> bool {
        let alarms = [
            ("this host was restored", self.hosts[host].is_restored),
            ("has told two states", self.hosts.iter().any(|host| host.is_restored)),
            ("is damaged", false),
        ];
        alarms.iter().any(|(alarm, may_be)| !may_be && sentence.contains(alarm))
    }

    fn send_datagram(&mut self, host: usize, to: HostId, bytes: &[u8]) {
        let Some(target) = self.index_of(to) else { return };
        let traffic = &mut self.hosts[host].traffic;
        traffic.datagrams += 1;
        traffic.datagram_bytes += bytes.len() as u64;
        if bytes.len() > 1_200 {
            self.violate(format!("h{host} sends a datagram of {} bytes: at most 1,200 pass", bytes.len()));
        }
        let copies = self.network.datagram(host, target, &mut self.prng);
        if copies.len() > 1 {
            self.seen.insert(Situation::DatagramTwice);
        }
        for delay in copies {
            let (from, to, bytes) = (host, target, bytes.to_vec());
            let slow = self.hosts[target].slow;
            self.after(delay + slow, Event::Datagram { from, to, bytes });
        }
    }

    fn send_message(&mut self, host: usize, to: HostId, bytes: Vec<u8>) {
        let Some(target) = self.index_of(to) else { return };
        let traffic = &mut self.hosts[host].traffic;
        traffic.messages += 1;
        traffic.message_bytes += bytes.len() as u64;
        match bytes.first() {
            Some(b'a') => drop(self.seen.insert(Situation::AddressesAsked)),
            Some(b'r') => drop(self.seen.insert(Situation::AddressesRefused)),
            _ => {}
        }
        match self.network.message(host, target, &mut self.prng) {
            Some(delay) => {
                let slow = self.hosts[target].slow;
                self.after(delay + slow, Event::Message { from: host, to: target, bytes });
            }
            None => drop(self.seen.insert(Situation::MessageCut)),
        }
    }

    /// Something arrives, if there is still a way and both ends accept each other.
    pub(crate) fn arrive(&mut self, from: usize, to: usize, bytes: &[u8], datagram: bool) {
        let way = if datagram { !self.network.is_cut(from, to) } else { self.network.connects(from, to) };
        if !way || !self.admits(from, to) || !self.admits(to, from) {
            if !way && !datagram {
                self.seen.insert(Situation::MessageCut);
            }
            return;
        }
        self.note(if datagram { b'd' } else { b'm' }, to, bytes);
        let from = self.hosts[from].id;
        self.with_agent(to, |agent, at| {
            if datagram { agent.datagram(from, bytes, at) } else { agent.message(from, bytes, at) }
        });
    }

    /// Whether the transport of `judge` would hold a connection with `other`. The handshake's signatures are taken for
    /// right; membership and expulsion are looked at each time, as the transport does when its trust changes.
    pub(crate) fn admits(&self, other: usize, judge: usize) -> bool {
        let (other, judge) = (&self.hosts[other], &self.hosts[judge]);
        let (Some(trust), Some(certificate)) = (&judge.trust, &other.certificate) else { return false };
        if trust.forgotten.contains(&other.id) || judge.certificate.is_none() {
            return false;
        }
        let known = trust.members.get(&other.id) == Some(&certificate.key);
        known || trust.judge(certificate, judge.at(self.now).wall).is_ok()
    }

    pub(crate) fn tick(&mut self, host: usize) {
        let it = &mut self.hosts[host];
        if it.tick_due != Some(self.now) {
            return;
        }
        it.tick_due = None;
        self.note(b't', host, &[]);
        self.with_agent(host, |agent, at| agent.tick(at));
    }

    fn plan_tick(&mut self, host: usize) {
        let it = &self.hosts[host];
        let Some(due) = it.agent.as_ref().and_then(Fabric::next_timeout) else { return };
        // A timer that is due already still takes a turn of the agent's loop.
        let due = due.max(self.now + Duration::from_micros(50)) + it.slow;
        if it.tick_due.is_none_or(|known| due < known || known <= self.now) {
            self.hosts[host].tick_due = Some(due);
            self.at(due, Event::Tick { host });
        }
    }

    fn plan_projection(&mut self, host: usize, life: u64) {
        if !self.hosts[host].projecting {
            self.hosts[host].projecting = true;
            self.after(PROJECT_AFTER, Event::Project { host, life });
        }
    }

    /// Brings the whole kernel in line.
    pub(crate) fn project(&mut self, host: usize) {
        let now = self.now;
        let it = &mut self.hosts[host];
        it.projecting = false;
        let Some(agent) = &it.agent else { return };
        if let Err(broken) = it.kernel.project(&agent.view(now)) {
            self.violate(format!("h{host}: {broken}"));
        }
    }

    /// Lets the agent look at the engine a little later, once for all changes until then.
    pub(crate) fn plan_look(&mut self, host: usize) {
        let it = &mut self.hosts[host];
        if it.agent.is_some() && it.engine.up && !it.looking {
            it.looking = true;
            let delay = draw(&mut self.prng, &self.options.engine.look);
            let life = self.hosts[host].life;
            self.after(delay, Event::Look { host, life });
        }
    }

    /// The agent looks at the engine; what it saw reaches its decisions later still.
    pub(crate) fn look(&mut self, host: usize) {
        let it = &mut self.hosts[host];
        it.looking = false;
        if !it.engine.up {
            return;
        }
        let (taken, life) = (it.taken(), it.life);
        let reports = it.engine.look();
        self.with_agent(host, |agent, at| agent.set_taken(taken, at));
        let delay = draw(&mut self.prng, &self.options.engine.answer);
        for report in reports {
            self.after(delay, Event::Report { host, life, report });
        }
    }

    pub(crate) fn ask_names(&mut self, host: usize) {
        let life = self.hosts[host].life;
        self.after(NAMES_EVERY, Event::Names { host, life });
        if self.hosts[host].engine.up {
            self.hosts[host].requests.push_back(EngineRequest::Names);
            self.plan_work(host);
        }
    }

    pub(crate) fn report(&mut self, host: usize, report: EngineReport) {
        self.note(b'r', host, format!("{report:?}").as_bytes());
        self.with_agent(host, |agent, at| agent.engine(report, at));
    }
}
