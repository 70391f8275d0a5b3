//! The clock, the queue and everything that hangs on them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shoal_kit::{FNV1A, Prng, fnv1a};
use shoal_networks::EngineReport;
use shoal_types::{HostId, Moment, NetworkId};

use crate::host::Host;
use crate::network::Network;
use crate::{Options, Situation, Step};

/// The most events of one run between two checks: a run that needs more than that spins.
const EVENTS_PER_STEP_MAX: u64 = 400_000;

/// Hosts, a network, a clock, and what has happened so far.
pub struct World {
    pub(crate) options: Options,
    pub(crate) prng: Prng,
    pub(crate) now: Moment,
    pub(crate) hosts: Vec<Host>,
    pub(crate) network: Network,
    pub(crate) root_seed: [u8; 32],
    pub(crate) seen: BTreeSet<Situation>,
    /// Networks that were deleted, and on which host.
    pub(crate) deleted: BTreeMap<NetworkId, usize>,
    /// Members that the fabric refuses; known once everything is healed.
    pub(crate) stranded: BTreeSet<usize>,
    /// What broke first.
    pub(crate) violation: Option<String>,
    /// Edits of facts so far, to know who was away when something happened.
    pub(crate) edits: usize,
    queue: BTreeMap<(Moment, u64), Event>,
    events: u64,
    trace: u64,
    lines: Vec<String>,
}

/// What reaches whom.
#[derive(Debug)]
pub(crate) enum Event {
    Datagram {
        from: usize,
        to: usize,
        bytes: Vec<u8>,
    },
    Message {
        from: usize,
        to: usize,
        bytes: Vec<u8>,
    },
    Tick {
        host: usize,
    },
    Project {
        host: usize,
        life: u64,
    },
    /// The agent carries the next of its requests to the engine out.
    Work {
        host: usize,
        life: u64,
    },
    Report {
        host: usize,
        life: u64,
        report: EngineReport,
    },
    /// The agent tries the disk again.
    Disk {
        host: usize,
        life: u64,
    },
    /// The agent asks the engine for names.
    Names {
        host: usize,
        life: u64,
    },
    /// The transport looks at its certificate.
    Renew {
        host: usize,
        life: u64,
    },
    Look {
        host: usize,
        life: u64,
    },
    Op {
        host: usize,
        engine_life: u64,
        op: u64,
    },
}

impl World {
    /// Machines that are on and belong to no fabric.
    pub fn new(seed: u64, options: Options) -> Self {
        let mut prng = Prng::new(seed);
        let network = Network::new(options.network.clone(), options.hosts, &mut prng);
        let hosts = (0..options.hosts).map(|index| Host::new(index, seed)).collect();
        let mut root = [7; 32];
        root[..8].copy_from_slice(&seed.to_be_bytes());
        let mut world = Self {
            options,
            prng,
            now: Moment::from_nanos(1_000_000_000),
            hosts,
            network,
            root_seed: root,
            seen: BTreeSet::new(),
            deleted: BTreeMap::new(),
            stranded: BTreeSet::new(),
            violation: None,
            edits: 0,
            queue: BTreeMap::new(),
            events: 0,
            trace: FNV1A,
            lines: Vec::new(),
        };
        for host in 0..world.hosts.len() {
            world.start_agent(host);
        }
        world
    }

    /// Makes the fabric on the first host and lets `members` hosts in, one after the other.
    pub fn found(&mut self) {
        self.init(0);
        self.pass(Duration::from_millis(500));
        for host in 1..self.options.members {
            self.step(&Step::Join { host, via: host / 2 });
            self.pass(Duration::from_millis(300));
        }
        self.pass(Duration::from_secs(3));
    }

    /// Does one step and checks what must hold at any time.
    pub fn step(&mut self, step: &Step) {
        self.line(&format!("{step}"));
        self.act(step);
        self.check();
    }

    /// Lets time pass, then checks what must hold at any time.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let first = self.events;
        while self.violation.is_none() {
            let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= until) else { break };
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.happen(event);
            if self.events - first > EVENTS_PER_STEP_MAX {
                self.violate(format!(
                    "{EVENTS_PER_STEP_MAX} events within {} ms: something spins",
                    time.as_millis()
                ));
            }
        }
        self.now = until;
        self.check();
    }

    /// A number that two runs have in common only if they did the same.
    pub fn trace(&self) -> u64 {
        self.trace
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// What happened, for people.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// What broke, if something did.
    pub fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// Which situations there were.
    pub fn seen(&self) -> &BTreeSet<Situation> {
        &self.seen
    }

    pub(crate) fn violate(&mut self, what: String) {
        if self.violation.is_none() {
            self.line(&format!("BROKEN: {what}"));
            self.violation = Some(what);
        }
    }

    pub(crate) fn line(&mut self, text: &str) {
        let ms = self.now.as_nanos() / 1_000_000;
        self.lines.push(format!("{:>4}.{:03} s  {text}", ms / 1_000, ms % 1_000));
    }

    /// A line that belongs to the one before.
    pub(crate) fn remark(&mut self, host: usize, text: &str) {
        self.line(&format!("    h{host}: {text}"));
    }

    pub(crate) fn after(&mut self, time: Duration, event: Event) {
        let at = self.now + time;
        self.at(at, event);
    }

    pub(crate) fn at(&mut self, at: Moment, event: Event) {
        self.events += 1;
        self.queue.insert((at.max(self.now), self.events), event);
    }

    /// A host by its id.
    pub(crate) fn index_of(&self, id: HostId) -> Option<usize> {
        self.hosts.iter().position(|host| host.id == id)
    }

    /// Folds bytes into the trace.
    pub(crate) fn note(&mut self, kind: u8, host: usize, bytes: &[u8]) {
        let head = [kind, u8::try_from(host % 256).unwrap_or_default()];
        let time = self.now.as_nanos().to_be_bytes();
        self.trace = fnv1a(self.trace, head.iter().chain(&time).chain(bytes));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Datagram { from, to, bytes } => self.arrive(from, to, &bytes, true),
            Event::Message { from, to, bytes } => self.arrive(from, to, &bytes, false),
            Event::Tick { host } => self.tick(host),
            Event::Project { host, life } if self.hosts[host].life == life => self.project(host),
            Event::Work { host, life } if self.hosts[host].life == life => self.work(host),
            Event::Report { host, life, report } if self.hosts[host].life == life => {
                self.report(host, report);
            }
            Event::Disk { host, life } if self.hosts[host].life == life => self.settle_owed(host),
            Event::Names { host, life } if self.hosts[host].life == life => self.ask_names(host),
            Event::Renew { host, life } if self.hosts[host].life == life => self.renew(host),
            Event::Look { host, life } if self.hosts[host].life == life => self.look(host),
            Event::Op { host, engine_life, op } if self.hosts[host].engine.life == engine_life => {
                self.go_on(host, op);
            }
            // Of an agent or an engine that is no more.
            _ => {}
        }
    }
}
