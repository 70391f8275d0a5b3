//! Makes up stories.

use std::collections::BTreeSet;
use std::time::Duration;

use shoal_kit::Prng;

use crate::{Options, Step, Wanted};

/// Names of networks: few, so that they meet.
const NETWORKS: [&str; 4] = ["shop", "web", "db", "lab"];

/// Containers per host.
const CONTAINERS: u64 = 5;

/// The steps of a seed. What is broken is mended some steps later, so that most of a story plays on a fabric that
/// works.
pub fn generate(seed: u64, options: &Options) -> Vec<Step> {
    let mut maker = Maker {
        prng: Prng::new(seed ^ 0x5ea5_0f5e_ed00_0001),
        hosts: options.hosts as u64,
        due: Vec::new(),
        networks: BTreeSet::new(),
        containers: BTreeSet::new(),
        members: (0..options.members).collect(),
    };
    (0..options.steps).map(|at| maker.next(at)).collect()
}

/// What the maker believes of the world: enough that most steps make sense, and no more.
struct Maker {
    prng: Prng,
    hosts: u64,
    /// What mends, and from which step on.
    due: Vec<(usize, Step)>,
    networks: BTreeSet<String>,
    containers: BTreeSet<(usize, String)>,
    members: BTreeSet<usize>,
}

impl Maker {
    fn next(&mut self, at: usize) -> Step {
        if let Some(index) = self.due.iter().position(|(due, _)| *due <= at) {
            return self.due.remove(index).1;
        }
        let host = self.host();
        let lonely = usize::try_from(self.hosts).unwrap_or_default() - self.members.len();
        match self.prng.below(100) {
            _ if self.networks.is_empty() => self.network(host),
            0..=9 => self.network(host),
            10..=13 => self.delete(host),
            14..=17 => self.docker_remove(host),
            18..=40 => self.run(host),
            41..=60 => self.container_step(),
            61..=65 if lonely > 0 => self.join(),
            66 => self.leave(),
            67 if self.prng.below(2) == 0 && self.members.len() > 2 => self.forget(),
            68..=71 => self.mended(at, Step::Kill { host }, Step::Agent { host }),
            72..=78 => {
                let effects = u32::try_from(self.prng.below(12)).unwrap_or_default();
                self.mended(at, Step::KillAfter { host, effects }, Step::Agent { host })
            }
            79..=81 => {
                self.mend(at, Step::EngineUp { host });
                self.mended(at, Step::PowerLoss { host }, Step::Agent { host })
            }
            82..=84 => self.mended(at, Step::EngineDown { host }, Step::EngineUp { host }),
            85 | 86 => {
                let by_ms = i64::try_from(self.prng.below(1_200_000)).unwrap_or_default() - 600_000;
                self.mended(at, Step::Clock { host, by_ms }, Step::Clock { host, by_ms: -by_ms })
            }
            87 => {
                let by = Duration::from_millis(50 + self.prng.below(1_500));
                self.mended(at, Step::Slow { host, by }, Step::Slow { host, by: Duration::ZERO })
            }
            88..=91 => {
                let groups = self.groups();
                self.mended(at, Step::Partition { groups }, Step::Heal)
            }
            92 | 93 => self.mended(at, Step::Isolate { host }, Step::Heal),
            94 => {
                let to = (host + 1) % usize::try_from(self.hosts).unwrap_or(1);
                self.mended(at, Step::OneWay { from: host, to }, Step::Heal)
            }
            95 => Step::Wait(Duration::from_millis(5_000 + self.prng.below(40_000))),
            96 => self.mended(at, Step::DiskRefuses { host }, Step::DiskWrites { host }),
            97 => {
                let later = at + 3 + usize::try_from(self.prng.below(12)).unwrap_or_default();
                let back = [Step::Restore { host }, Step::EngineUp { host }, Step::Agent { host }];
                self.due.extend(back.map(|step| (later, step)));
                Step::Backup { host }
            }
            98 => {
                let ppm = i64::try_from(self.prng.below(200_000)).unwrap_or_default() - 100_000;
                self.mended(at, Step::Drift { host, ppm }, Step::Drift { host, ppm: 0 })
            }
            _ => self.run(host),
        }
    }

    fn delete(&mut self, host: usize) -> Step {
        let network = self.known_network();
        self.networks.remove(&network);
        Step::Delete { host, network }
    }

    fn docker_remove(&mut self, host: usize) -> Step {
        let network = self.known_network();
        if self.prng.below(2) == 0 {
            let network = Wanted { name: network.clone(), subnet: None, v6: false, gateway: false };
            let later = usize::try_from(self.prng.below(5)).unwrap_or_default();
            self.due.push((later, Step::Create { host, network }));
        }
        Step::DockerRemove { host, network }
    }

    /// Something with a container that may exist.
    fn container_step(&mut self) -> Step {
        let known: Vec<_> = self.containers.iter().cloned().collect();
        let Some((host, container)) = self.prng.sample(known, 1).pop() else {
            let host = self.host();
            return self.run(host);
        };
        match self.prng.below(5) {
            0 | 1 => Step::Start { host, container },
            2 | 3 => Step::Stop { host, container },
            _ => {
                self.containers.remove(&(host, container.clone()));
                Step::Remove { host, container }
            }
        }
    }

    fn join(&mut self) -> Step {
        let outside: Vec<_> = (0..usize::try_from(self.hosts).unwrap_or_default())
            .filter(|it| !self.members.contains(it))
            .collect();
        let inside: Vec<_> = self.members.iter().copied().collect();
        let host = self.prng.sample(outside, 1).pop().unwrap_or_default();
        let via = self.prng.sample(inside, 1).pop().unwrap_or_default();
        if self.prng.below(8) > 0 {
            self.members.insert(host);
        }
        Step::Join { host, via }
    }

    fn leave(&mut self) -> Step {
        let host = self.host();
        if self.members.len() > 2 {
            self.members.remove(&host);
        }
        // Containers keep a host from leaving.
        let own: Vec<_> = self.containers.iter().filter(|(at, _)| *at == host).cloned().collect();
        for (host, container) in own {
            self.containers.remove(&(host, container.clone()));
            self.due.push((0, Step::Remove { host, container }));
        }
        self.due.push((0, Step::Leave { host }));
        Step::Wait(Duration::from_millis(100))
    }

    fn forget(&mut self) -> Step {
        let pair = self.prng.sample(self.members.iter().copied().collect(), 2);
        let (host, whom) = (pair[0], pair[1]);
        self.members.remove(&whom);
        Step::Forget { host, whom }
    }

    fn mended(&mut self, at: usize, breaks: Step, mends: Step) -> Step {
        self.mend(at, mends);
        breaks
    }

    fn mend(&mut self, at: usize, mends: Step) {
        let later = usize::try_from(1 + self.prng.below(9)).unwrap_or(1);
        self.due.push((at + later, mends));
    }

    fn network(&mut self, host: usize) -> Step {
        let name = self.name();
        let kind = self.prng.below(10);
        if kind == 9 {
            return Step::DockerBridge { host, name };
        }
        let subnet = (self.prng.below(3) > 0).then(|| {
            let third = u8::try_from(self.prng.below(24)).unwrap_or_default();
            (third, [24, 27, 28, 29][usize::try_from(self.prng.below(4)).unwrap_or_default()])
        });
        let v6 = self.prng.below(4) == 0;
        let gateway = subnet.is_some_and(|(_, length)| length < 29) && self.prng.below(3) == 0;
        self.networks.insert(name.clone());
        let network = Wanted { name, subnet, v6, gateway };
        match kind {
            0..=4 => Step::Create { host, network },
            _ => Step::DockerCreate { host, network, bound: kind == 5 },
        }
    }

    fn run(&mut self, host: usize) -> Step {
        let (container, network) = (self.container(host), self.known_network());
        self.containers.insert((host, container.clone()));
        let address =
            (self.prng.below(3) == 0).then(|| u8::try_from(self.prng.below(30)).unwrap_or_default());
        let restart = self.prng.below(3) == 0;
        Step::Run { host, container, network, address, restart }
    }

    fn host(&mut self) -> usize {
        usize::try_from(self.prng.below(self.hosts)).unwrap_or_default()
    }

    fn name(&mut self) -> String {
        // The first names come up more often: most of a story is about one network.
        let index = self.prng.below(4).min(self.prng.below(4));
        NETWORKS[usize::try_from(index).unwrap_or_default()].to_owned()
    }

    /// A network that has probably been made.
    fn known_network(&mut self) -> String {
        let known: Vec<_> = self.networks.iter().cloned().collect();
        if self.prng.below(12) == 0 {
            self.name()
        } else {
            self.prng.sample(known, 1).pop().unwrap_or_else(|| "shop".into())
        }
    }

    fn container(&mut self, host: usize) -> String {
        format!(
            "c{host}{}",
            ["a", "b", "c", "d", "e"][usize::try_from(self.prng.below(CONTAINERS)).unwrap_or_default()]
        )
    }

    fn groups(&mut self) -> Vec<Vec<usize>> {
        let mut groups = vec![Vec::new(); 2 + usize::try_from(self.prng.below(2)).unwrap_or_default()];
        for host in 0..usize::try_from(self.hosts).unwrap_or_default() {
            let group = usize::try_from(self.prng.below(groups.len() as u64)).unwrap_or_default();
            groups[group].push(host);
        }
        groups.retain(|group| !group.is_empty());
        groups
    }
}
