//! The owner of all decisions: one loop.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use shoal_api::{Answer, Failure};
use shoal_fabric::{At, Effect, Fabric, Owed};
use shoal_links::Survey;
use shoal_networks::EngineRequest;
use shoal_plan::RelayPlan;
use shoal_ports::Clock;
use shoal_store::RedbStore;
use shoal_transport::{Event, Transport};
use shoal_types::{HostId, Moment, NetworkId, NetworkName};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::commands::PendingDelete;
use super::disk::{After, Disk, Ledger};
use super::strangers::Strangers;
use super::verbs::{Awaiting, Held};
use super::{Input, engine, kernel::KernelThreads, machine, probe, projection};
use shoal_config::Settings;

/// How often the whole kernel state is read back and compared.
const AUDIT_EVERY: Duration = Duration::from_secs(5);

/// How often addresses and routes of the machine are read.
const SURVEY_EVERY: Duration = Duration::from_secs(5);

/// How often encrypted tunnels are looked at while one of them is not settled.
const TUNNELS_EVERY: Duration = Duration::from_secs(1);

/// Inputs that are decided before the kernel is brought in line with all of them at once.
const BURST: usize = 64;

/// Sentences for the operator that are kept.
const NOTICES_MAX: usize = 50;

/// What the agent is made of.
pub(crate) struct Parts {
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    /// For reading; writes go to the disk's thread.
    pub(crate) store: RedbStore,
    pub(crate) disk: Disk,
    pub(crate) transport: Transport,
    pub(crate) kernel: KernelThreads,
    pub(crate) engine: mpsc::UnboundedSender<EngineRequest>,
    pub(crate) inputs: mpsc::Sender<Input>,
}

/// The loop's state.
pub(crate) struct Agent {
    pub(crate) fabric: Fabric,
    pub(crate) parts: Parts,
    /// What the kernel is about to hold.
    pub(crate) kernel: projection::Projection,
    pub(crate) plan_changed: bool,
    /// When the plan may be computed again.
    pub(crate) next_plan: Moment,
    /// What the carrier of relayed packets was last told.
    pub(crate) relayed: RelayPlan,
    /// Counters, or an observation, were asked for and have not come.
    pub(crate) is_counting: bool,
    /// See `is_counting`.
    pub(crate) is_auditing: bool,
    /// What the disk is to keep.
    pub(crate) ledger: Ledger,
    /// When the batch that is being written was begun.
    pub(crate) writing_since: Moment,
    /// What waits for it, with the batch it waits for.
    pub(crate) behind: VecDeque<(u64, After)>,
    /// What was put off when the disk refused.
    pub(crate) owed: Owed,
    pub(crate) foreign: engine::ForeignNetworks,
    pub(crate) stranded: Vec<shoal_containers::Stranded>,
    /// The engine's version, while it answers.
    pub(crate) engine: Option<String>,
    pub(crate) paths: BTreeMap<HostId, probe::Path>,
    pub(crate) prober: probe::Prober,
    /// Why paths are not probed, told once.
    pub(crate) probe_failure: Option<String>,
    pub(crate) notices: VecDeque<String>,
    pub(crate) tally: Tally,
    /// When the kernel last differed from the plan, and in what.
    pub(crate) last_mended: Option<(Moment, String)>,
    pub(crate) strangers: Strangers,
    pub(crate) started: Moment,
    pub(crate) stop: Option<String>,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) held: Vec<Held>,
    pub(crate) awaiting: Vec<Awaiting>,
    pub(crate) deletes: Vec<PendingDelete>,
}

/// Counts of what went wrong, since the start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) kernel_refusals: u64,
    pub(crate) kernel_mended: u64,
    pub(crate) failed_writes: u64,
    pub(crate) messages_given_up: u64,
    pub(crate) peers_refused: u64,
    pub(crate) refused_by_peers: u64,
}

/// An operator who waits for the engine on this host.
pub(crate) struct Waiting {
    network: NetworkId,
    name: NetworkName,
    goal: Goal,
    until: Moment,
    reply: oneshot::Sender<Result<Answer, Failure>>,
}

impl Waiting {
    /// What was asked for could not be kept.
    pub(crate) fn refuse(self, reason: &str) {
        let _ = self.reply.send(Err(Failure::internal(reason)));
    }
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// The engine has the network.
    Present,
    /// The engine no longer has it.
    Absent,
}

impl Agent {
    pub(crate) fn new(fabric: Fabric, parts: Parts) -> Self {
        let started = parts.clock.now();
        let folder = parts.settings.socket.parent().map(std::path::Path::to_path_buf).unwrap_or_default();
        let prober =
            probe::Prober::new(folder.join("probe.netns"), Arc::clone(&parts.clock), parts.inputs.clone());
        Self {
            fabric,
            parts,
            kernel: projection::Projection::default(),
            plan_changed: true,
            next_plan: started,
            relayed: RelayPlan::default(),
            is_counting: false,
            is_auditing: false,
            ledger: Ledger::default(),
            writing_since: started,
            behind: VecDeque::new(),
            owed: Owed::default(),
            foreign: Vec::new(),
            stranded: Vec::new(),
            engine: None,
            paths: BTreeMap::new(),
            prober,
            probe_failure: None,
            notices: VecDeque::new(),
            tally: Tally::default(),
            last_mended: None,
            strangers: Strangers::default(),
            started,
            stop: None,
            waiting: Vec::new(),
            held: Vec::new(),
            awaiting: Vec::new(),
            deletes: Vec::new(),
        }
    }

    /// Decides until told to end.
    pub(crate) async fn run(
        mut self,
        first: Vec<Effect>,
        mut inbox: mpsc::Receiver<Input>,
        mut events: mpsc::Receiver<Event>,
    ) -> anyhow::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut audit = tokio::time::interval(AUDIT_EVERY);
        let mut survey = tokio::time::interval(SURVEY_EVERY);
        let mut tunnels = tokio::time::interval(TUNNELS_EVERY);
        self.perform(first);
        // Before any call is decided: a pool must not lie where the machine has a route.
        if let Ok(survey) = shoal_links::survey().await {
            self.surveyed(&survey);
        }
        while self.stop.is_none() {
            let wake = self.next_wake();
            tokio::select! {
                Some(input) = inbox.recv() => {
                    self.take(input);
                    for _ in 0..BURST {
                        let Ok(input) = inbox.try_recv() else { break };
                        self.take(input);
                    }
                }
                Some(event) = events.recv() => {
                    self.hear(event);
                    for _ in 0..BURST {
                        let Ok(event) = events.try_recv() else { break };
                        self.hear(event);
                    }
                }
                () = tokio::time::sleep_until(wake) => {
                    let effects = self.fabric.tick(self.at());
                    self.perform(effects);
                }
                _ = audit.tick() => self.audit(),
                _ = tunnels.tick() => self.look_at_unsettled_tunnels(),
                _ = survey.tick() => {
                    tokio::spawn(look_around(self.parts.inputs.clone()));
                    self.ask_for_names();
                }
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
            self.follow_up();
        }
        self.answer_last(&mut inbox).await;
        self.parts.transport.shutdown().await;
        match self.stop {
            Some(sentence) => Err(anyhow::anyhow!(sentence)),
            None => Ok(()),
        }
    }

    /// What is left to do once something was decided.
    fn follow_up(&mut self) {
        self.try_disk_again();
        self.project_all();
        self.answer_waiting();
        self.try_held();
        self.try_deletes();
        self.give_disk_up();
        self.write_on();
    }

    fn look_at_unsettled_tunnels(&mut self) {
        if self.fabric.tunnels().is_unsettled(self.parts.clock.now()) {
            self.look_at_tunnels();
        }
    }

    fn ask_for_names(&self) {
        if self.engine.is_some() {
            let _ = self.parts.engine.send(EngineRequest::Names);
        }
    }

    /// Both clocks.
    pub(crate) fn at(&self) -> At {
        At { now: self.parts.clock.now(), wall: self.parts.clock.wall() }
    }

    fn next_wake(&self) -> Instant {
        let now = self.parts.clock.now();
        let wait = self.fabric.next_timeout().map_or(Duration::from_secs(3600), |due| due.since(now));
        let waiting = self.waiting.iter().map(|it| it.until.since(now));
        let held = self.held.iter().map(|it| it.until.since(now));
        let deletes = self.deletes.iter().map(|it| it.until.since(now));
        // A disk that is being written to tells by itself.
        let owed = self.owed.due().filter(|_| !self.ledger.is_writing());
        let disk = owed.into_iter().chain(self.disk_given_up()).map(|due| due.since(now));
        let plan = self.is_plan_due().then(|| self.next_plan.since(now));
        let deadline = waiting.chain(held).chain(deletes).chain(disk).chain(plan).min();
        Instant::now() + deadline.map_or(wait, |deadline| wait.min(deadline))
    }

    fn take(&mut self, input: Input) {
        let at = self.at();
        match input {
            Input::Verb(verb, reply) => self.verb(verb, reply),
            Input::Command(command, reply) => self.command(command, reply),
            Input::Shown(command, seen, reply) => self.show(&command, *seen, reply),
            Input::Applied(number, refused) => self.applied(number, &refused),
            Input::Written(number, result) => self.written(number, result),
            Input::Counted(counters) => self.counted(counters),
            Input::Observed(look, observed) => self.observed(look, observed),
            Input::NoKernel(error) => self.stop = Some(error.to_string()),
            Input::Engine(report) => {
                let effects = self.fabric.engine(report, at);
                self.perform(effects);
            }
            Input::EngineState(version) => self.engine = version,
            Input::Foreign(networks) => {
                if self.foreign != networks {
                    self.foreign = networks;
                    tokio::spawn(look_around(self.parts.inputs.clone()));
                }
            }
            Input::Stranded(stranded) => self.stranded = stranded,
            Input::Joining(join, source, reply) => self.join_from(join, source, reply),
            Input::Joined(result, reply) => self.joined(*result, reply),
            Input::Surveyed(survey) => self.surveyed(&survey),
            Input::Probed(host, path) => {
                let effects = self.fabric.path_mtu(host, path.mtu);
                self.paths.insert(host, path);
                self.perform(effects);
            }
        }
    }

    fn hear(&mut self, event: Event) {
        let at = self.at();
        let effects = match event {
            Event::Datagram { from, bytes } => self.fabric.datagram(from, &bytes, at),
            Event::Message { from, bytes } => self.fabric.message(from, &bytes, at),
            Event::Connected { host, address, .. } => {
                tracing::info!(host = %host.short(), %address, "connected");
                Vec::new()
            }
            Event::Disconnected { host, why } => {
                tracing::info!(host = %host.short(), why, "disconnected");
                Vec::new()
            }
            Event::JoinAsked { host, reply, .. } => {
                match self.fabric.let_in(host) {
                    Ok((welcome, effects)) => {
                        self.perform(effects);
                        self.once_kept(After::LetIn(welcome, reply));
                    }
                    Err(why) => drop(reply.send(Err(why))),
                }
                Vec::new()
            }
            Event::Refused { address, sentence, by_us, .. } => {
                self.refused(address, &sentence, by_us);
                Vec::new()
            }
            Event::CertificateRenewed(certificate) => self.fabric.renewed(certificate, at),
        };
        self.perform(effects);
    }

    fn refused(&mut self, address: std::net::SocketAddr, sentence: &str, by_us: bool) {
        let who = if by_us { "refused" } else { "was refused by" };
        if by_us {
            self.tally.peers_refused += 1;
        } else {
            self.tally.refused_by_peers += 1;
        }
        self.notice(format!("this host {who} {address}: {sentence}"));
    }

    /// Keeps a sentence for `shoal status`, once.
    pub(crate) fn notice(&mut self, sentence: String) {
        if self.notices.contains(&sentence) {
            return;
        }
        tracing::warn!("{sentence}");
        self.notices.push_back(sentence);
        if self.notices.len() > NOTICES_MAX {
            self.notices.pop_front();
        }
    }

    /// Takes note of the machine's addresses and routes.
    fn surveyed(&mut self, survey: &Survey) {
        let at = self.at();
        let taken = machine::taken(survey, &self.foreign);
        let mut effects = self.fabric.set_taken(taken, at);
        let advertise = self.advertise(survey);
        let underlay = machine::underlay(survey, &advertise).limited(self.parts.settings.mtu);
        if !underlay.addresses.is_empty() {
            let name = self.fabric.local().name.clone();
            effects.extend(self.fabric.set_local(name, underlay.addresses, underlay.mtu, at));
        }
        self.perform(effects);
    }

    /// Answers an operator once what was asked for is kept, and the engine on this host has, or no longer has, a
    /// network.
    pub(crate) fn wait_for(
        &mut self,
        network: NetworkId,
        name: NetworkName,
        goal: Goal,
        reply: oneshot::Sender<Result<Answer, Failure>>,
    ) {
        const PATIENCE: Duration = Duration::from_secs(15);
        let until = self.at().now + PATIENCE;
        self.once_kept(After::Wait(Waiting { network, name, goal, until, reply }));
    }

    fn answer_waiting(&mut self) {
        let now = self.at().now;
        for waiting in std::mem::take(&mut self.waiting) {
            let networks = self.fabric.networks();
            let present = networks.docker_networks().any(|docker| docker.network == waiting.network);
            let failure = networks.engine_failure(waiting.network).map(str::to_owned);
            let reached = (waiting.goal == Goal::Present) == present;
            let verdict = match (reached, failure) {
                (true, _) => Some(Ok(self.reached(waiting.network, waiting.goal))),
                (false, Some(why)) => {
                    Some(Err(Failure::conflict(format!("network \"{}\": {why}", waiting.name))))
                }
                (false, None) if now >= waiting.until => {
                    Some(Err(self.too_late(&waiting.name, waiting.goal)))
                }
                (false, None) => None,
            };
            match verdict {
                Some(verdict) => drop(waiting.reply.send(verdict)),
                None => self.waiting.push(waiting),
            }
        }
    }

    fn too_late(&self, name: &NetworkName, goal: Goal) -> Failure {
        let docker = if self.engine.is_some() { "has not answered yet" } else { "does not answer" };
        let done = if goal == Goal::Present { "has" } else { "no longer has" };
        Failure::unavailable(format!(
            "the fabric {done} network \"{name}\", but Docker on this host {docker}"
        ))
        .hint("Shoal goes on trying; `shoal network list` shows when it is done")
    }
}

/// Reads the machine's addresses and routes, which the kernel may take its time for.
pub(crate) async fn look_around(inputs: mpsc::Sender<Input>) {
    if let Ok(survey) = shoal_links::survey().await {
        let _ = inputs.send(Input::Surveyed(Box::new(survey))).await;
    }
}
