//! Devices made in a network namespace of their own. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use nix::sched::{CloneFlags, unshare};
use shoal_links::{Kind, Links};
use shoal_plan::{Link, LinkSources};
use shoal_types::{LinkName, MacAddr, Vni};

/// Runs with the devices of a new namespace, which ends with its thread.
fn in_a_new_namespace(work: impl FnOnce(Links) + Send) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
            work(Links::open().unwrap());
        });
    });
}

fn name(text: &str) -> LinkName {
    text.parse().unwrap()
}

fn link() -> Link {
    Link {
        inner_name: name("dp-in"),
        mac: MacAddr::new([2, 0, 0, 0, 0, 9]),
        mtu: 1370,
        vni: Vni::PROBE,
        in_clear: false,
        sources: LinkSources::default(),
    }
}

#[test]
fn a_pair_is_made_down_and_marked() {
    in_a_new_namespace(|links| {
        let made = links.make_pair(&name("dp-out"), &link()).unwrap();
        let inner = links.find(&name("dp-in")).unwrap().unwrap();
        assert_eq!((made.is_ours, made.is_up, made.mtu), (true, false, 1370));
        assert_eq!((inner.is_ours, inner.is_up, inner.mtu, inner.mac), (false, false, 1370, link().mac));
        let kind = Kind::Pair { inner_name: Some(name("dp-in")), inner_index: Some(inner.index) };
        assert_eq!(made.kind, kind);
        assert_eq!(links.list().unwrap(), [made]);
    });
}

#[test]
fn a_device_comes_up_only_when_told_and_makes_no_address() {
    in_a_new_namespace(|links| {
        let made = links.make_pair(&name("dp-out"), &link()).unwrap();
        let inner = links.find(&name("dp-in")).unwrap().unwrap();
        links.set_up(&made).unwrap();
        links.set_up(&inner).unwrap();
        assert!(links.find(&name("dp-out")).unwrap().unwrap().is_up);
        let addresses = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
        assert!(!addresses.contains("dp-out"), "{addresses}");
        links.set_down(&made).unwrap();
        assert!(!links.find(&name("dp-out")).unwrap().unwrap().is_up);
    });
}

#[test]
fn both_ends_get_another_mtu() {
    in_a_new_namespace(|links| {
        let made = links.make_pair(&name("dp-out"), &link()).unwrap();
        links.set_mtu(&made, 1280).unwrap();
        for end in ["dp-out", "dp-in"] {
            assert_eq!(links.find(&name(end)).unwrap().unwrap().mtu, 1280);
        }
    });
}

#[test]
fn removing_takes_both_ends_and_may_be_repeated() {
    in_a_new_namespace(|links| {
        let made = links.make_pair(&name("dp-out"), &link()).unwrap();
        links.remove(&made).unwrap();
        links.remove(&made).unwrap();
        assert_eq!(links.find(&name("dp-in")).unwrap(), None);
    });
}

#[test]
fn a_refusal_names_the_device_and_the_reason() {
    in_a_new_namespace(|links| {
        links.make_pair(&name("dp-out"), &link()).unwrap();
        let error = links.make_pair(&name("dp-out2"), &link()).unwrap_err().to_string();
        assert_eq!(error, "cannot make link dp-out2: File exists (is there a device named dp-in already?)");
    });
}
