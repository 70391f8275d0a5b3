use std::time::Duration;

use shoal_plan::{EndpointEntry, Link, LinkSources, Tunnel};
use shoal_types::{MacAddr, Vni};
use tokio::time::timeout;

use super::*;

/// Keeps what it was told, and takes its time with tunnels and removals.
struct Slow {
    done: Arc<Mutex<Vec<Change>>>,
    tunnels: Mutex<mpsc::Receiver<()>>,
    removals: Mutex<mpsc::Receiver<()>>,
}

impl Kernel for Slow {
    fn apply(&self, changes: &[Change]) -> Vec<(Change, KernelError)> {
        if changes.iter().any(|change| Object::of(change).is_none()) {
            let _ = self.tunnels.lock().unwrap().recv();
        }
        if changes.iter().any(|change| matches!(change, Change::RemoveLink(_))) {
            let _ = self.removals.lock().unwrap().recv();
        }
        self.done.lock().unwrap().extend_from_slice(changes);
        Vec::new()
    }

    fn observe(&self) -> Result<Observed, KernelError> {
        Ok(Observed::default())
    }

    fn counters(&self) -> Result<Counters, KernelError> {
        Ok(Counters::default())
    }
}

struct Bench {
    threads: KernelThreads,
    done: Arc<Mutex<Vec<Change>>>,
    let_tunnel_go: mpsc::Sender<()>,
    let_link_go: mpsc::Sender<()>,
}

fn bench() -> Bench {
    let ((let_tunnel_go, tunnels), (let_link_go, removals)) = (mpsc::channel(), mpsc::channel());
    let done = Arc::new(Mutex::default());
    let kernel =
        Slow { done: Arc::clone(&done), tunnels: Mutex::new(tunnels), removals: Mutex::new(removals) };
    let (threads, _) = KernelThreads::start(move || Ok(kernel)).unwrap();
    Bench { threads, done, let_tunnel_go, let_link_go }
}

fn link(mtu: u16) -> Change {
    link_named("sh0", mtu)
}

fn link_named(name: &str, mtu: u16) -> Change {
    let link = Link {
        inner_name: "sc0".parse().unwrap(),
        mac: MacAddr::new([2; 6]),
        mtu,
        vni: Vni::new(7).unwrap(),
        in_clear: false,
        sources: LinkSources::default(),
    };
    Change::SetLink(name.parse().unwrap(), link)
}

fn removal(name: &str) -> Change {
    Change::RemoveLink(name.parse().unwrap())
}

fn tunnel() -> Change {
    Change::SetTunnel("shoal0".parse().unwrap(), Tunnel::Clear { port: 7374 })
}

fn endpoint(link: &str) -> Change {
    let key = EndpointKey { vni: Vni::new(7).unwrap(), address: [10, 0, 0, 2].into() };
    Change::SetEndpoint(key, EndpointEntry::Local(link.parse().unwrap()))
}

fn batch(number: u64, changes: Vec<Change>) -> Batch {
    Batch { number, all_done_below: 1, changes }
}

#[tokio::test]
async fn a_tunnel_that_hangs_holds_no_link_up() {
    let bench = bench();
    let slow = bench.threads.apply(Lane::Slow, batch(1, vec![tunnel()]));
    let quick = bench.threads.apply(Lane::Quick, batch(2, vec![link(1370)]));
    assert_eq!(timeout(Duration::from_secs(10), quick).await.unwrap(), []);
    assert_eq!(*bench.done.lock().unwrap(), [link(1370)]);
    bench.let_tunnel_go.send(()).unwrap();
    assert_eq!(slow.await, []);
    assert_eq!(*bench.done.lock().unwrap(), [link(1370), tunnel()]);
}

#[tokio::test]
async fn a_link_that_takes_its_time_to_go_holds_up_its_own_name_alone() {
    let bench = bench();
    let removed = bench.threads.apply(Lane::Removal, batch(1, vec![removal("sh0")]));
    let other = bench.threads.apply(Lane::Quick, batch(2, vec![link_named("sh1", 1370)]));
    assert_eq!(timeout(Duration::from_secs(10), other).await.unwrap(), []);
    // The same name is either made after the removal, or the removal is skipped; never removed after it was made.
    let again = bench.threads.apply(Lane::Quick, batch(3, vec![link(1370)]));
    bench.let_link_go.send(()).unwrap();
    assert_eq!((removed.await, again.await), (vec![], vec![]));
    let done = bench.done.lock().unwrap().clone();
    assert_eq!((&done[0], done.last()), (&link_named("sh1", 1370), Some(&link(1370))));
}

#[tokio::test]
async fn an_older_plan_does_not_undo_what_a_newer_call_has_done() {
    let bench = bench();
    let slow = bench.threads.apply(Lane::Slow, batch(1, vec![tunnel(), link(1300), endpoint("sh9")]));
    bench.threads.apply(Lane::Quick, batch(2, vec![link(1370)])).await;
    bench.let_tunnel_go.send(()).unwrap();
    assert_eq!(slow.await, []);
    // What nobody else has spoken of is done.
    assert_eq!(*bench.done.lock().unwrap(), [link(1370), tunnel(), endpoint("sh9")]);
}

#[tokio::test]
async fn a_newer_plan_is_applied_and_an_older_call_after_it_is_not() {
    let bench = bench();
    bench.threads.apply(Lane::Slow, batch(2, vec![endpoint("sh2")])).await;
    bench.threads.apply(Lane::Quick, batch(1, vec![endpoint("sh1")])).await;
    bench.threads.apply(Lane::Slow, batch(3, vec![endpoint("sh3")])).await;
    assert_eq!(*bench.done.lock().unwrap(), [endpoint("sh2"), endpoint("sh3")]);
}

#[tokio::test]
async fn nothing_is_remembered_once_all_is_done() {
    let kernel = bench();
    let Bench { done, .. } = &kernel;
    kernel.threads.apply(Lane::Slow, batch(5, vec![endpoint("sh5")])).await;
    // All below six are done, so an older one is none that could still be under way.
    let late = Batch { number: 4, all_done_below: 6, changes: vec![endpoint("sh4")] };
    kernel.threads.apply(Lane::Quick, late).await;
    assert_eq!(*done.lock().unwrap(), [endpoint("sh5"), endpoint("sh4")]);
}

#[tokio::test]
async fn a_kernel_that_does_not_open_refuses_all() {
    let refusal = || failed("load", "no BPF here".into());
    let (threads, outcome) = KernelThreads::start(move || Err::<Slow, _>(refusal())).unwrap();
    assert_eq!(outcome.await.unwrap(), Err(refusal()));
    for lane in [Lane::Quick, Lane::Removal, Lane::Slow] {
        let refused = threads.apply(lane, batch(1, vec![tunnel()])).await;
        assert_eq!(refused.len(), 1);
    }
    assert!(threads.observe().await.is_err());
    assert!(threads.counters().await.is_err());
}
