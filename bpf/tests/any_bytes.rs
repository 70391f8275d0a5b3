//! Bytes that nobody meant: whatever comes, the verdict is a redirect or a drop, and every drop is counted.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod rig;

use rig::packet::{ICMP, ICMPV6, TCP, UDP, arp, framed, solicitation, tcp, udp, v4, v4_with, v6};
use rig::{OWN_V4, OWN_V6, REDIRECT, Rig, SHOP, SHOT};

const PACKETS: u32 = 10_000;

/// Numbers from a seed (Marsaglia's xorshift64), so that a failure repeats.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % below.max(1)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.next(256)).unwrap()
    }
}

/// A good packet with some bytes changed and some of its end lost, or nothing but noise.
fn packet(numbers: &mut Numbers, models: &[Vec<u8>]) -> Vec<u8> {
    if numbers.next(8) == 0 {
        let length = 14 + numbers.next(200);
        return (0..length).map(|_| numbers.byte()).collect();
    }
    let mut packet = models[numbers.next(models.len())].clone();
    for _ in 0..numbers.next(6) {
        // Mostly in the headers.
        let within = packet.len().min(if numbers.next(4) == 0 { 2000 } else { 64 });
        let at = numbers.next(within);
        packet[at] = numbers.byte();
    }
    if numbers.next(4) == 0 {
        packet.truncate(14 + numbers.next(packet.len() - 14));
    }
    packet
}

fn feed(rig: &Rig, models: &[Vec<u8>], seed: u64) {
    let mut numbers = Numbers(seed);
    let mut verdicts = [0_u64; 2];
    for _ in 0..PACKETS {
        let packet = packet(&mut numbers, models);
        let segment = if numbers.next(10) == 0 { u32::try_from(numbers.next(1500)).unwrap() } else { 0 };
        let Some(outcome) = rig.run_segments(&packet, segment.min(2), segment) else { continue };
        match outcome.verdict {
            SHOT => verdicts[0] += 1,
            REDIRECT => verdicts[1] += 1,
            other => panic!("verdict {other} on {packet:02x?}"),
        }
    }
    let lost: u64 = rig.lost().values().sum();
    assert!(lost >= verdicts[0], "{lost} of {} drops were counted", verdicts[0]);
    assert!(verdicts.iter().all(|count| *count > u64::from(PACKETS) / 50), "both happen: {verdicts:?}");
}

#[test]
fn from_container_survives_any_bytes() {
    let models = [
        v4(OWN_V4, "10.7.0.3", TCP, &tcp(60)),
        v4(OWN_V4, "10.7.0.2", UDP, &udp(60)),
        v4(OWN_V4, "10.7.0.2", UDP, &udp(1500)),
        v4(OWN_V4, "10.7.0.99", ICMP, &[8; 40]),
        v4_with(OWN_V4, "10.7.0.2", UDP, 0x2001, &udp(60)),
        v6(OWN_V6, "fd07::3", TCP, &tcp(60)),
        v6(OWN_V6, "fd07::2", UDP, &udp(1500)),
        v6(OWN_V6, "fd07::99", ICMPV6, &[128; 40]),
        arp(1, OWN_V4, "10.7.0.3"),
        solicitation(OWN_V6, "fd07::3"),
    ];
    feed(&Rig::container(), &models, 0x5ea1);
}

#[test]
fn from_tunnel_survives_any_bytes() {
    let models = [
        v4("10.7.0.2", "10.7.0.3", TCP, &tcp(60)),
        v4("10.7.0.2", "10.7.0.3", UDP, &udp(1500)),
        v6("fd07::200", "fd07::3", TCP, &tcp(60)),
        v6("fd07::201", "fd07::3", UDP, &udp(1500)),
    ];
    let rig = Rig::tunnel();
    rig.come_from(SHOP, "10.99.0.2");
    feed(&rig, &models, 0xf15);
}

#[test]
fn from_engine_survives_any_bytes() {
    let models = [
        v4("10.7.0.2", "10.7.0.3", TCP, &tcp(60)),
        v4("10.7.0.200", "10.7.0.3", UDP, &udp(1500)),
        v6("fd07::200", "fd07::3", TCP, &tcp(60)),
        v6("fd07::201", "fd07::3", UDP, &udp(1500)),
    ];
    feed(&Rig::engine(), &models.map(|packet| framed(SHOP, "10.99.0.2", &packet)), 0xe4);
}
