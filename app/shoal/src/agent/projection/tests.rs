//! The loop's side against a model of the kernel's three threads, in every order that a seed draws.

use std::collections::VecDeque;

use shoal_plan::{EndpointKey, Link, LinkSources};
use shoal_types::{MacAddr, Vni};

use super::super::kernel::failed;
use super::*;

const ENDPOINTS: u8 = 3;

fn endpoint(number: u8) -> EndpointId {
    format!("{number:02x}").repeat(32).parse().unwrap()
}

fn key(last: u8) -> EndpointKey {
    EndpointKey { vni: Vni::new(7).unwrap(), address: [10, 0, 0, last].into() }
}

fn link(number: u8, mtu: u16) -> (LinkName, Link) {
    let (name, inner_name) = link_names(&endpoint(number));
    let mac = MacAddr::new([2, 0, 0, 0, 0, number]);
    let link = Link {
        inner_name,
        mac,
        mtu,
        vni: Vni::new(7).unwrap(),
        in_clear: false,
        sources: LinkSources { v4: Some([10, 0, 0, number].into()), v6: None },
    };
    (name, link)
}

/// A linear congruential generator (Knuth, MMIX).
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn small(&mut self, sides: u8) -> u8 {
        u8::try_from(self.below(sides.into())).unwrap()
    }
}

/// A plan over three containers and six addresses: each address is nowhere, elsewhere, or behind a link of the plan.
fn any_plan(dice: &mut Dice) -> HostPlan {
    let mut plan = HostPlan::default();
    for number in 0..ENDPOINTS {
        if dice.below(3) > 0 {
            plan.links.extend([link(number, 1300 + u16::from(dice.small(2)))]);
        }
    }
    for last in 0..6 {
        let (local, _) = link_names(&endpoint(dice.small(ENDPOINTS)));
        let entry = match dice.below(3) {
            0 => continue,
            1 if plan.links.contains_key(&local) => EndpointEntry::Local(local),
            _ => EndpointEntry::Remote([192, 0, 2, dice.small(3)].into()),
        };
        plan.endpoints.insert(key(last), entry);
    }
    plan
}

/// Threads that take their work in order, change by change; what a newer batch has changed an older one skips.
#[derive(Default)]
struct Kernel {
    holds: HostPlan,
    /// Of the quick, the removal and the slow thread.
    queues: [VecDeque<Under>; 3],
    newest: BTreeMap<String, u64>,
    refuses: bool,
}

struct Under {
    batch: Batch,
    at: usize,
    refused: Refused,
}

impl Kernel {
    fn push(&mut self, lane: Lane, batch: Batch) {
        let under = Under { batch, at: 0, refused: Refused::new() };
        self.queues[lane as usize].push_back(under);
    }

    /// One change of a lane's first batch. Returns what is told once a batch is done.
    fn step(&mut self, lane: Lane, dice: &mut Dice) -> Option<(u64, Refused)> {
        let queue = &mut self.queues[lane as usize];
        let under = queue.front_mut()?;
        if under.at == 0 {
            self.newest.retain(|_, number| *number >= under.batch.all_done_below);
        }
        if let Some(change) = under.batch.changes.get(under.at) {
            under.at += 1;
            let object = match change {
                Change::SetLink(name, _) | Change::RemoveLink(name) => name.to_string(),
                Change::SetEndpoint(key, _) | Change::RemoveEndpoint(key) => format!("{key:?}"),
                other => panic!("{other:?} is in no plan here"),
            };
            let newest = self.newest.entry(object).or_default();
            if *newest <= under.batch.number {
                *newest = under.batch.number;
                let no_link = matches!(change, Change::SetEndpoint(_, EndpointEntry::Local(name))
                    if !self.holds.links.contains_key(name));
                if no_link || (self.refuses && dice.below(8) == 0) {
                    under.refused.push((change.clone(), failed("use", "the dice said so".into())));
                } else {
                    take(&mut self.holds, change);
                }
            }
        }
        if under.at < under.batch.changes.len() {
            return None;
        }
        let done = queue.pop_front()?;
        Some((done.batch.number, done.refused))
    }

    fn links(&self) -> BTreeMap<LinkName, Link> {
        self.holds.links.clone()
    }

    /// The addresses as they are told beside a list of links that was read before.
    fn observed(&self, links: BTreeMap<LinkName, Link>) -> Observed {
        let mut observed = Observed::default();
        for (key, entry) in &self.holds.endpoints {
            match entry {
                EndpointEntry::Local(name) if !links.contains_key(name) => observed.dangling.push(*key),
                _ => drop(observed.plan.endpoints.insert(*key, entry.clone())),
            }
        }
        observed.plan.links = links;
        observed
    }

    fn is_idle(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }
}

/// As the kernel takes it: entries that lead to a removed link stay.
fn take(holds: &mut HostPlan, change: &Change) {
    match change {
        Change::RemoveLink(name) => drop(holds.links.remove(name)),
        change => holds.note(change.clone()),
    }
}

/// The loop, its kernel, and an observation that is being made.
struct Bench {
    loop_side: Projection,
    kernel: Kernel,
    wanted: HostPlan,
    look: Option<(Look, Option<BTreeMap<LinkName, Link>>)>,
    dice: Dice,
}

impl Bench {
    fn new(seed: u64) -> Self {
        let mut bench = Self {
            loop_side: Projection::default(),
            kernel: Kernel::default(),
            wanted: HostPlan::default(),
            look: None,
            dice: Dice(seed),
        };
        bench.loop_side.believe(&Observed::default());
        bench
    }

    fn send(&mut self, lane: Lane, changes: Vec<Change>) {
        if !changes.is_empty() {
            let batch = self.loop_side.send(lane, changes);
            self.kernel.push(lane, batch);
        }
    }

    fn verb(&mut self) {
        let number = self.dice.small(ENDPOINTS);
        self.verb_for(number);
    }

    fn verb_for(&mut self, number: u8) {
        let changes = self.loop_side.changes_for(&self.wanted, &endpoint(number));
        let (removals, others) = changes.into_iter().partition(|it| matches!(it, Change::RemoveLink(_)));
        self.send(Lane::Quick, others);
        self.send(Lane::Removal, removals);
    }

    fn project(&mut self) {
        if !self.loop_side.is_busy() {
            let changes = self.loop_side.changes_to(&self.wanted);
            self.send(Lane::Slow, changes);
        }
    }

    /// One of the three moments of an observation: it begins, has read the links, has read the addresses.
    fn look(&mut self) {
        match self.look.take() {
            None => self.look = Some((self.loop_side.look(), None)),
            Some((look, None)) => self.look = Some((look, Some(self.kernel.links()))),
            Some((look, Some(links))) => {
                let observed = self.loop_side.seen(look, self.kernel.observed(links));
                let changes = diff(&self.wanted, &observed);
                self.loop_side.believe(&observed);
                self.send(Lane::Slow, changes);
            }
        }
    }

    fn work(&mut self, lane: Lane) {
        if let Some((number, refused)) = self.kernel.step(lane, &mut self.dice) {
            self.loop_side.done(number, &refused);
        }
    }

    fn anything(&mut self) {
        match self.dice.below(14) {
            0 => self.wanted = any_plan(&mut self.dice),
            1..=2 => self.verb(),
            3 => self.project(),
            4..=5 => self.look(),
            6..=8 => self.work(Lane::Quick),
            9..=10 => self.work(Lane::Removal),
            _ => self.work(Lane::Slow),
        }
    }

    fn settle(&mut self) {
        while !self.kernel.is_idle() {
            self.work(Lane::Quick);
            self.work(Lane::Removal);
            self.work(Lane::Slow);
        }
    }
}

/// What every container was told and every plan said is in the kernel, without any audit: all that was sent adds up.
#[test]
fn in_any_order_the_kernel_comes_to_hold_what_is_expected_and_then_what_is_wanted() {
    for seed in 0..3000 {
        let mut bench = Bench::new(seed);
        (0..80).for_each(|_| bench.anything());
        bench.settle();
        let (expected, holds) = (bench.loop_side.expected().clone(), bench.kernel.holds.clone());
        assert_eq!(without_dangling(&holds), expected, "seed {seed}");
        bench.project();
        bench.settle();
        assert_eq!(without_dangling(&bench.kernel.holds), bench.wanted, "seed {seed}");
    }
}

/// Somebody else removes things, and the kernel refuses now and then.
#[test]
fn whatever_was_lost_or_refused_two_audits_bring_it_in_line() {
    for seed in 0..3000 {
        let mut bench = Bench::new(seed);
        bench.kernel.refuses = true;
        for _ in 0..80 {
            bench.anything();
            if bench.dice.below(10) == 0 {
                let gone = bench.kernel.holds.links.keys().next().cloned();
                gone.map(|name| bench.kernel.holds.links.remove(&name));
                bench.kernel.holds.endpoints.pop_first();
            }
        }
        bench.kernel.refuses = false;
        bench.settle();
        while bench.look.is_some() {
            bench.look();
            bench.settle();
        }
        for _ in 0..2 {
            (0..3).for_each(|_| bench.look());
            bench.settle();
        }
        assert_eq!(bench.kernel.holds, bench.wanted, "seed {seed}");
        assert_eq!(*bench.loop_side.expected(), bench.wanted, "seed {seed}");
    }
}

/// An answer waits for the link, however often the call is repeated, and not for the slow lane.
#[test]
fn a_repeated_call_waits_for_what_the_first_one_began() {
    let mut bench = Bench::new(1);
    bench.wanted.links.extend([link(1, 1300)]);
    bench.project();
    assert!(bench.loop_side.awaited_for(&endpoint(1)).is_empty());
    for calls in 1..3 {
        let changes = bench.loop_side.changes_for(&bench.wanted, &endpoint(1));
        assert_eq!(changes.len(), 1, "what a plan is about to do is done at once");
        bench.send(Lane::Quick, changes);
        assert_eq!(bench.loop_side.awaited_for(&endpoint(1)).len(), calls);
        assert!(!bench.loop_side.has_link(&link_names(&endpoint(1)).0));
    }
    bench.settle();
    // What it leaves, and what is removed, is not waited for.
    if let Some(link) = bench.wanted.links.values_mut().next() {
        link.sources = LinkSources::default();
    }
    bench.verb_for(1);
    assert!(bench.loop_side.awaited_for(&endpoint(1)).is_empty());
    bench.settle();
    assert!(bench.loop_side.has_link(&link_names(&endpoint(1)).0));
    assert!(bench.loop_side.changes_for(&bench.wanted, &endpoint(1)).is_empty());
}

fn without_dangling(holds: &HostPlan) -> HostPlan {
    let leads = |entry: &EndpointEntry| {
        matches!(entry, EndpointEntry::Remote(_))
            || holds.links.keys().any(|name| *entry == EndpointEntry::Local(name.clone()))
    };
    let endpoints = holds.endpoints.iter().filter(|(_, entry)| leads(entry));
    HostPlan { endpoints: endpoints.map(|(key, entry)| (*key, entry.clone())).collect(), ..holds.clone() }
}
