//! The pinned maps, typed.

pub(crate) mod batch;

use std::fmt::Display;
use std::fs;
use std::marker::PhantomData;
use std::path::Path;

use libbpf_rs::{ErrorKind, MapCore, MapFlags, MapHandle};
use shoal_abi::{DropKey, Endpoint, EndpointKey, Link, LinkCounters, Peer, Plain, UnderlayAddress};
use shoal_ports::KernelError;

use crate::Features;
use crate::error::refused;

/// Every map that is pinned, by name.
const NAMES: [&str; 7] =
    ["endpoints", "links", "peers_2", "link_counters", "drops", "tunnel_drops", "unreachable_budget"];

/// All maps; see `bpf/include/maps.h`.
pub(crate) struct Maps {
    pub(crate) endpoints: Map<EndpointKey, Endpoint>,
    pub(crate) links: Map<u32, Link>,
    pub(crate) peers: Map<UnderlayAddress, Peer>,
    pub(crate) link_counters: Map<u32, LinkCounters>,
    pub(crate) drops: Map<DropKey, u64>,
    pub(crate) tunnel_drops: Map<u32, u64>,
    pub(crate) unreachable_budget: Map<u32, u64>,
}

impl Maps {
    /// Whether all maps are pinned, those that the programs of this version need.
    pub(crate) fn are_all_in(pin_dir: &Path) -> bool {
        let folder = pin_dir.join("maps");
        NAMES.iter().all(|name| folder.join(name).exists())
    }

    /// Removes the pins of maps that only other versions need.
    pub(crate) fn forget_others(pin_dir: &Path) -> Result<(), KernelError> {
        let folder = pin_dir.join("maps");
        let failed = |error: std::io::Error| refused("remove earlier maps from", folder.display(), error);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if !NAMES.iter().any(|name| path.ends_with(name)) {
                fs::remove_file(&path).map_err(failed)?;
            }
        }
        Ok(())
    }

    pub(crate) fn open(pin_dir: &Path, features: Features) -> Result<Self, KernelError> {
        let folder = pin_dir.join("maps");
        Ok(Self {
            endpoints: Map::open(&folder, "endpoints", features)?,
            links: Map::open(&folder, "links", features)?,
            peers: Map::open(&folder, "peers_2", features)?,
            link_counters: Map::open(&folder, "link_counters", features)?,
            drops: Map::open(&folder, "drops", features)?,
            tunnel_drops: Map::open(&folder, "tunnel_drops", features)?,
            unreachable_budget: Map::open(&folder, "unreachable_budget", features)?,
        })
    }
}

/// One map.
pub(crate) struct Map<K, V> {
    name: &'static str,
    handle: MapHandle,
    in_batches: bool,
    types: PhantomData<(K, V)>,
}

impl<K: Plain, V: Plain> Map<K, V> {
    fn open(folder: &Path, name: &'static str, features: Features) -> Result<Self, KernelError> {
        let path = folder.join(name);
        let handle =
            MapHandle::from_pinned_path(&path).map_err(|error| refused("open map", path.display(), error))?;
        Ok(Self { name, handle, in_batches: features.map_batch, types: PhantomData })
    }

    pub(crate) fn get(&self, key: &K) -> Result<Option<V>, KernelError> {
        let bytes = self.handle.lookup(&key.to_bytes(), MapFlags::ANY);
        let bytes = bytes.map_err(|error| self.refused("read", error))?;
        Ok(bytes.and_then(|bytes| V::from_bytes(&bytes)))
    }

    /// Makes or replaces an entry. A full map refuses, and the reason says so.
    pub(crate) fn set(&self, key: &K, value: &V) -> Result<(), KernelError> {
        self.handle.update(&key.to_bytes(), &value.to_bytes(), MapFlags::ANY).map_err(|error| {
            if is_full(&error) {
                return self.refused(
                    "add to",
                    format!("it holds its {} entries already", self.handle.max_entries()),
                );
            }
            self.refused("write", error)
        })
    }

    /// Removes an entry; one that is not there is no failure.
    pub(crate) fn remove(&self, key: &K) -> Result<(), KernelError> {
        match self.handle.delete(&key.to_bytes()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.refused("remove from", error)),
            _ => Ok(()),
        }
    }

    /// All entries, in no order. Entries that come or go meanwhile may be among them or not.
    pub(crate) fn entries(&self) -> Result<Vec<(K, V)>, KernelError> {
        if self.in_batches {
            let (key, value) = (self.handle.key_size(), self.handle.value_size());
            match batch::read(&self.handle, key, value) {
                Ok(pairs) => return Ok(pairs.iter().filter_map(|(k, v)| typed(k, v)).collect()),
                Err(error) => {
                    tracing::warn!(map = self.name, %error, "batch refused; reading entry by entry");
                }
            }
        }
        let mut entries = Vec::new();
        for key in self.keys() {
            if let Some(value) = self.get(&key)? {
                entries.push((key, value));
            }
        }
        Ok(entries)
    }

    pub(crate) fn keys(&self) -> Vec<K> {
        self.handle.keys().filter_map(|key| K::from_bytes(&key)).collect()
    }

    /// The values of a per-CPU entry, one for each CPU; empty if there is no entry.
    pub(crate) fn get_per_cpu(&self, key: &K) -> Result<Vec<V>, KernelError> {
        let values = self.handle.lookup_percpu(&key.to_bytes(), MapFlags::ANY);
        let values = values.map_err(|error| self.refused("read", error))?.unwrap_or_default();
        Ok(values.iter().filter_map(|bytes| V::from_bytes(bytes)).collect())
    }

    /// Makes a per-CPU entry with the same value for every CPU; one that is there stays.
    pub(crate) fn make_per_cpu(&self, key: &K, value: &V) -> Result<(), KernelError> {
        let cpus = libbpf_rs::num_possible_cpus().map_err(|error| self.refused("count CPUs for", error))?;
        let values = vec![value.to_bytes(); cpus];
        match self.handle.update_percpu(&key.to_bytes(), &values, MapFlags::NO_EXIST) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(self.refused("write", error)),
            _ => Ok(()),
        }
    }

    fn refused(&self, action: &str, reason: impl Display) -> KernelError {
        refused(action, format!("map {}", self.name), reason)
    }
}

/// The kernel says E2BIG of a full map, a word that libbpf-rs has no kind for.
fn is_full(error: &libbpf_rs::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return error.raw_os_error() == Some(nix::Error::E2BIG as i32);
        }
        cause = error.source();
    }
    error.to_string().ends_with(&std::io::Error::from(nix::Error::E2BIG).to_string())
}

fn typed<K: Plain, V: Plain>(key: &[u8], value: &[u8]) -> Option<(K, V)> {
    Some((K::from_bytes(key)?, V::from_bytes(value)?))
}
