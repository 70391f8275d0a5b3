use std::collections::BTreeMap;

use super::*;

/// A linear congruential generator (Knuth, MMIX).
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn put(key: u64, value: u64) -> Write {
    Write { key: vec![u8::try_from(key).unwrap()], value: Some(value.to_be_bytes().to_vec()) }
}

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

fn write(entries: &mut Entries, batch: &[Write]) {
    for Write { key, value } in batch {
        match value {
            Some(value) => drop(entries.insert(key.clone(), value.clone())),
            None => drop(entries.remove(key)),
        }
    }
}

/// A ledger, a disk that takes its time and refuses now and then, and what should be on it.
#[derive(Default)]
struct Bench {
    ledger: Ledger,
    disk: Entries,
    under_way: Option<(u64, Vec<Write>)>,
    /// Everything that was noted, and what memory held by each ticket that was given.
    memory: Entries,
    tickets: Vec<(u64, Entries)>,
}

impl Bench {
    fn note(&mut self, dice: &mut Dice) {
        let batch: Vec<Write> = (0..=dice.below(3))
            .map(|_| match (dice.below(6), dice.below(1000)) {
                (key, 0..200) => Write { key: vec![u8::try_from(key).unwrap()], value: None },
                (key, value) => put(key, value),
            })
            .collect();
        write(&mut self.memory, &batch);
        self.ledger.keep(batch);
    }

    fn ask(&mut self) {
        match self.ledger.ticket() {
            Some(ticket) => self.tickets.push((ticket, self.memory.clone())),
            None => assert_eq!(self.disk, self.memory, "what is kept is on the disk"),
        }
    }

    fn begin(&mut self) {
        if let Some(next) = self.ledger.next() {
            assert_eq!(self.under_way.replace(next), None, "one batch at a time");
        }
    }

    fn end(&mut self, kept: bool) {
        let Some((number, batch)) = self.under_way.take() else { return };
        if kept {
            write(&mut self.disk, &batch);
        }
        self.ledger.written(kept);
        let (due, later) = std::mem::take(&mut self.tickets).into_iter().partition(|(it, _)| *it <= number);
        self.tickets = later;
        let due: Vec<(u64, Entries)> = due;
        if let Some((_, memory)) = due.last().filter(|_| kept) {
            assert_eq!(
                &self.disk, memory,
                "a ticket is called when all before it is on the disk, and nothing after it"
            );
        }
    }
}

#[test]
fn in_any_order_what_waits_is_called_once_everything_before_it_is_on_the_disk() {
    for seed in 0..3000 {
        let (mut bench, mut dice) = (Bench::default(), Dice(seed));
        for _ in 0..80 {
            match dice.below(8) {
                0..3 => {
                    bench.note(&mut dice);
                    bench.ask();
                }
                3 => bench.ask(),
                4..6 => bench.begin(),
                6 => bench.end(true),
                _ => bench.end(false),
            }
            let seen = bench.ledger.over(bench.disk.clone().into_iter().collect(), b"");
            assert_eq!(seen, bench.memory, "seed {seed}: what will be kept is seen over what is");
        }
        bench.ledger.retry();
        for _ in 0..2 {
            bench.begin();
            bench.end(true);
        }
        assert_eq!(bench.disk, bench.memory, "seed {seed}");
        assert!(
            bench.ledger.is_kept() && bench.ledger.refused() == 0 && bench.tickets.is_empty(),
            "seed {seed}"
        );
    }
}

#[test]
fn a_disk_that_refuses_is_left_alone_until_somebody_wants_it() {
    let mut ledger = Ledger::default();
    ledger.keep([put(1, 1)]);
    assert_eq!(ledger.next(), Some((1, vec![put(1, 1)])));
    ledger.keep([put(2, 2)]);
    assert_eq!((ledger.ticket(), ledger.next()), (Some(2), None), "one at a time");
    ledger.written(false);
    assert_eq!((ledger.refused(), ledger.next()), (1, Some((2, vec![put(1, 1), put(2, 2)]))));
    ledger.written(false);
    assert_eq!((ledger.refused(), ledger.next(), ledger.is_writing()), (2, None, false));
    ledger.retry();
    assert_eq!(ledger.next(), Some((3, vec![put(1, 1), put(2, 2)])));
    ledger.written(true);
    assert_eq!((ledger.ticket(), ledger.refused(), ledger.is_kept()), (None, 0, true));
}

#[test]
fn a_store_hears_of_one_batch_after_the_other() {
    let (inputs, mut outcomes) = channel::channel(4);
    let disk = Disk::start(shoal_ports::MemoryStore::default(), inputs).unwrap();
    disk.write(1, vec![put(1, 1)]);
    disk.write(2, vec![put(2, 2)]);
    for expected in [1, 2] {
        let input = outcomes.blocking_recv().unwrap();
        assert!(matches!(input, Input::Written(number, Ok(())) if number == expected));
    }
}
