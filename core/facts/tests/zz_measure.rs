//! Measures.
mod world;
use world::*;
#[test]
fn measure() {
    for count in [30, 300] {
        let mut world = World::new(count, 5);
        let t = std::time::Instant::now();
        for number in 0..count {
            let edits = (0..100).map(|n| put(&format!("endpoint/{n}/0123456789012345678901234567890123456789"), &"x".repeat(120))).collect();
            world.publish(number, edits);
            world.wire.clear();
        }
        eprintln!("{count}: publish {:?}", t.elapsed());
        let t = std::time::Instant::now();
        world.bytes = 0;
        world.run_for(seconds(60));
        eprintln!("{count}: converge agree={} {} bytes {:?}", world.agree(), world.bytes, t.elapsed());
        world.run_for(seconds(60));
        world.bytes = 0;
        let before: u64 = world.hosts.values().map(|h| h.facts.stats().messages_sent).sum();
        world.run_for(seconds(80));
        let after: u64 = world.hosts.values().map(|h| h.facts.stats().messages_sent).sum();
        eprintln!("{count}: quiet {} bytes/host/s, {} msgs/host/s", world.bytes as f64 / 80.0 / count as f64, (after-before) as f64/80.0/count as f64);
        world.bytes = 0;
        world.publish(3, vec![put("endpoint/new/0123456789012345678901234567890123456789", &"x".repeat(120))]);
        world.settle();
        let reached = world.hosts.values().filter(|h| h.facts.of(id(3)).count() == 101).count();
        eprintln!("{count}: one change {} bytes in all, reached {reached}", world.bytes);
        world.bytes = 0;
        world.run_for(seconds(10));
        eprintln!("{count}: aftermath {} bytes agree {}", world.bytes, world.agree());
        // away host
        let victim = id(1);
        world.cut = [victim].into();
        for n in 0..count { if n != 1 { world.publish(n, vec![put("one", "more")]); } }
        world.settle();
        world.run_for(seconds(30));
        world.cut.clear();
        world.bytes = 0;
        let all: std::collections::BTreeSet<_> = world.hosts.keys().copied().collect();
        let mut less = all.clone(); less.remove(&victim);
        let stored = world.host(1).stored.clone();
        for h in all.clone() { world.with(h, |f, now| f.set_peers(all.clone(), less.clone(), now)); }
        world.settle(); world.bytes = 0;
        world.start(1, stored);
        world.settle();
        eprintln!("{count}: a host back from absence {} bytes, agree {}", world.bytes, world.agree());
    }
}
