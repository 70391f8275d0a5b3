use super::*;

/// A path that carries packets up to a size, as the far end of [`Paths`].
struct Wire {
    paths: Paths,
    carries: u16,
    now: Moment,
    found: Vec<Path>,
    transfers: usize,
    probes: usize,
}

const FULL: u16 = 1370;

fn host() -> HostId {
    HostId::new([7; 16])
}

impl Wire {
    fn new(carries: u16) -> Self {
        let mut paths = Paths::new(1);
        paths.set_hosts(&BTreeMap::from([(host(), FULL)]), Moment::ZERO);
        Self { paths, carries, now: Moment::ZERO, found: Vec::new(), transfers: 0, probes: 0 }
    }

    /// Lets time pass, answering what fits.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.paths.next_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            let effects = self.paths.tick(self.now);
            self.take(effects);
        }
        self.now = end;
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Probe { host, nonce, bytes } => {
                    self.probes += 1;
                    if bytes <= self.carries {
                        let answer = self.paths.answered(host, nonce, self.now);
                        self.take(answer);
                    }
                }
                Effect::Transfer(_) => self.transfers += 1,
                Effect::Found(_, path) => self.found.push(path),
            }
        }
    }

    fn mtu(&self) -> Option<u16> {
        self.paths.path(host()).unwrap().mtu
    }
}

#[test]
fn a_path_that_carries_full_size_is_known_after_one_probe() {
    let mut wire = Wire::new(1500);
    wire.run(Duration::from_millis(1));
    assert_eq!((wire.mtu(), wire.probes, wire.transfers), (Some(FULL), 1, 1));
}

#[test]
fn a_narrow_path_is_measured_to_the_resolution() {
    for carries in [128, 576, 1000, 1280, 1369] {
        let mut wire = Wire::new(carries);
        wire.run(Duration::from_secs(20));
        let mtu = wire.mtu().unwrap();
        assert!(mtu <= carries && carries - mtu <= RESOLUTION, "{carries}: found {mtu}");
        assert_eq!(wire.transfers, 0, "{carries}: a stream of full packets cannot pass");
    }
}

#[test]
fn a_dead_path_is_told_once_and_comes_back_by_itself() {
    let mut wire = Wire::new(0);
    wire.run(Duration::from_secs(30));
    assert_eq!(wire.found, [Path { tried: true, full: FULL, mtu: None, bulk: Bulk::Unknown }]);
    wire.carries = 1500;
    wire.run(Duration::from_secs(5));
    assert_eq!(wire.mtu(), Some(FULL));
}

#[test]
fn a_path_that_shrinks_is_measured_again_and_one_that_grows_is_noticed_within_the_search_interval() {
    let mut wire = Wire::new(1500);
    wire.run(Duration::from_secs(1));
    wire.carries = 1200;
    wire.run(WATCH_EVERY + Duration::from_secs(20));
    assert!((1192..=1200).contains(&wire.mtu().unwrap()), "{:?}", wire.mtu());
    wire.carries = 1500;
    wire.run(SEARCH_EVERY + WATCH_EVERY + Duration::from_secs(5));
    assert_eq!(wire.mtu(), Some(FULL));
}

#[test]
fn a_path_that_was_interrupted_while_it_was_watched_is_soon_measured_from_the_top() {
    let mut wire = Wire::new(1500);
    wire.run(WATCH_EVERY - Duration::from_millis(1));
    wire.carries = 0;
    wire.run(ANSWER_WITHIN * TRIES);
    wire.carries = 1500;
    wire.run(Duration::from_secs(1));
    assert!(wire.mtu().is_some_and(|mtu| mtu < FULL), "{:?}", wire.mtu());
    wire.run(WATCH_EVERY);
    assert_eq!(wire.mtu(), Some(FULL));
}

#[test]
fn a_late_or_foreign_answer_counts_for_nothing() {
    let mut wire = Wire::new(0);
    wire.run(Duration::from_millis(1));
    assert!(wire.paths.answered(host(), 999, wire.now).is_empty());
    assert!(wire.paths.answered(HostId::new([8; 16]), 1, wire.now).is_empty());
    assert_eq!(wire.mtu(), None);
}

#[test]
fn an_idle_path_costs_one_probe_per_interval() {
    let mut wire = Wire::new(1500);
    wire.run(Duration::from_secs(600));
    assert!(wire.probes <= 62, "{} probes in ten minutes", wire.probes);
}

#[test]
fn a_broken_bulk_transfer_is_told_beside_the_size_that_passes() {
    let mut wire = Wire::new(1500);
    wire.run(Duration::from_secs(1));
    let told = wire.paths.bulk(host(), Bulk::Broken);
    let path = Path { tried: true, full: FULL, mtu: Some(FULL), bulk: Bulk::Broken };
    assert_eq!(told, [Effect::Found(host(), path)]);
}
