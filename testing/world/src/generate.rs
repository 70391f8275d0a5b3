//! Makes up stories.

use std::time::Duration;

use shoal_kit::Prng;

use crate::{Options, Step, Wanted};

/// Names of networks: few, so that they meet.
const NETWORKS: [&str; 4] = ["shop", "web", "db", "lab"];

/// Containers per host.
const CONTAINERS: u64 = 5;

/// The steps of a seed. What is broken is mended some steps later, so that most of a story plays on a fabric that works.
pub fn generate(seed: u64, options: &Options) -> Vec<Step> {
    let mut maker = Maker { prng: Prng::new(seed ^ 0x5ea5_0f5e_ed00_0001), hosts: options.hosts as u64, due: Vec::new() };
    (0..options.steps).map(|at| maker.next(at)).collect()
}

struct Maker {
    prng: Prng,
    hosts: u64,
    /// What mends, and from which step on.
    due: Vec<(usize, Step)>,
}

impl Maker {
    fn next(&mut self, at: usize) -> Step {
        if let Some(index) = self.due.iter().position(|(due, _)| *due <= at) {
            return self.due.remove(index).1;
        }
        let host = self.host();
        match self.prng.below(100) {
            0..=13 => self.network(host),
            14..=17 => Step::Delete { host, network: self.name() },
            18..=20 => Step::DockerRemove { host, network: self.name() },
            21..=42 => self.run(host),
            43..=50 => Step::Start { host, container: self.container(host) },
            51..=57 => Step::Stop { host, container: self.container(host) },
            58..=62 => Step::Remove { host, container: self.container(host) },
            63..=69 => Step::Join { host, via: self.host() },
            70 | 71 => Step::Leave { host },
            72 => Step::Forget { host, whom: self.host() },
            73..=76 => self.mended(at, Step::Kill { host }, Step::Agent { host }),
            77..=81 => {
                let effects = u32::try_from(self.prng.below(12)).unwrap_or_default();
                self.mended(at, Step::KillAfter { host, effects }, Step::Agent { host })
            }
            82..=84 => {
                self.mend(at, Step::EngineUp { host });
                self.mended(at, Step::PowerLoss { host }, Step::Agent { host })
            }
            85 | 86 => self.mended(at, Step::EngineDown { host }, Step::EngineUp { host }),
            87 | 88 => {
                let by_ms = i64::try_from(self.prng.below(1_200_000)).unwrap_or_default() - 600_000;
                self.mended(at, Step::Clock { host, by_ms }, Step::Clock { host, by_ms: -by_ms })
            }
            89 => {
                let by = Duration::from_millis(50 + self.prng.below(1_500));
                self.mended(at, Step::Slow { host, by }, Step::Slow { host, by: Duration::ZERO })
            }
            90..=93 => {
                let groups = self.groups();
                self.mended(at, Step::Partition { groups }, Step::Heal)
            }
            94 | 95 => self.mended(at, Step::Isolate { host }, Step::Heal),
            96 => {
                let to = self.host();
                self.mended(at, Step::OneWay { from: host, to }, Step::Heal)
            }
            _ => Step::Wait(Duration::from_millis(5_000 + self.prng.below(40_000))),
        }
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
        let network = Wanted { name, subnet, v6, gateway };
        match kind {
            0..=4 => Step::Create { host, network },
            _ => Step::DockerCreate { host, network, bound: kind == 5 },
        }
    }

    fn run(&mut self, host: usize) -> Step {
        let (container, network) = (self.container(host), self.name());
        let address = (self.prng.below(3) == 0).then(|| u8::try_from(self.prng.below(30)).unwrap_or_default());
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

    fn container(&mut self, host: usize) -> String {
        format!("c{host}{}", ["a", "b", "c", "d", "e"][usize::try_from(self.prng.below(CONTAINERS)).unwrap_or_default()])
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
