//! Who the peers are and how they are found: by tunnel address, by the index of a session, by key. Pure values.
//!
//! A [`Table`] never changes. A [`Change`] makes a new one that shares the peers which stay, so that their sessions go
//! on, and the workers take it up before their next batch.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use shoal_ports::SystemClock;
use shoal_types::WireGuardKey;

use crate::identity::Identity;
use crate::peer::Peer;
use crate::uapi::{Change, PeerChange};

/// Slots are 24 bits: the lower 8 of an index count sessions.
const SLOT_MASK: u32 = 0x00ff_ffff;

/// All peers, and this end's key.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// This end's key.
    pub(crate) identity: Option<Arc<Identity>>,
    /// Largest packet in the tunnel, bytes.
    pub(crate) mtu: usize,
    by_key: HashMap<WireGuardKey, Arc<Peer>>,
    by_slot: HashMap<u32, Arc<Peer>>,
    by_address: HashMap<Ipv4Addr, Arc<Peer>>,
    next_slot: u32,
    clock: SystemClock,
}

/// What a change has brought about.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    /// Peers whose session must begin anew.
    pub(crate) begun: Vec<Arc<Peer>>,
    /// Peers that are gone.
    pub(crate) gone: Vec<Arc<Peer>>,
}

impl Table {
    /// One without peers. `first_slot` should be different each time, so that a datagram of an earlier life finds
    /// nobody.
    pub(crate) fn new(mtu: u16, first_slot: u32, clock: SystemClock) -> Self {
        Self {
            identity: None,
            mtu: mtu.into(),
            by_key: HashMap::new(),
            by_slot: HashMap::new(),
            by_address: HashMap::new(),
            next_slot: first_slot & SLOT_MASK,
            clock,
        }
    }

    /// The peer with this tunnel address.
    #[inline]
    pub(crate) fn by_address(&self, address: Ipv4Addr) -> Option<&Arc<Peer>> {
        self.by_address.get(&address)
    }

    /// The peer whose session has this index.
    #[inline]
    pub(crate) fn by_index(&self, index: u32) -> Option<&Arc<Peer>> {
        self.by_slot.get(&(index >> 8))
    }

    /// The peer with this key.
    pub(crate) fn by_key(&self, key: &WireGuardKey) -> Option<&Arc<Peer>> {
        self.by_key.get(key)
    }

    /// All peers, in order of their keys.
    pub(crate) fn peers(&self) -> Vec<&Arc<Peer>> {
        let mut peers: Vec<_> = self.by_key.values().collect();
        peers.sort_by_key(|peer| peer.key);
        peers
    }

    /// The table after a change. Peers that stay are the same ones, changed in place.
    pub(crate) fn changed(&self, change: &Change) -> (Self, Changed) {
        let mut table = self.clone();
        let mut changed = Changed::default();
        if let Some(mtu) = change.mtu {
            table.mtu = mtu.into();
        }
        if change.replace_peers {
            let named = |key: &WireGuardKey| change.peers.iter().any(|peer| peer.key == *key);
            let unnamed: Vec<_> = table.by_key.keys().filter(|key| !named(key)).copied().collect();
            unnamed.iter().for_each(|key| table.remove(key, &mut changed));
        }
        if let Some(private) = &change.private {
            table.set_identity(private.clone().map(Identity::new), &mut changed);
        }
        for peer in &change.peers {
            table.change_peer(peer, change.replace_peers, &mut changed);
        }
        (table, changed)
    }

    fn set_identity(&mut self, identity: Option<Identity>, changed: &mut Changed) {
        let same = self.identity.as_ref().map(|own| own.key()) == identity.as_ref().map(Identity::key);
        if same {
            return;
        }
        self.identity = identity.map(Arc::new);
        for peer in self.by_key.values() {
            peer.lock().begin(self.identity.as_deref());
            changed.begun.push(Arc::clone(peer));
        }
        // As the kernel does: this end is no peer of itself.
        if let Some(own) = self.identity.as_ref().map(|identity| identity.key()) {
            self.remove(&own, changed);
        }
    }

    fn change_peer(&mut self, change: &PeerChange, is_replacing: bool, changed: &mut Changed) {
        let is_own = self.identity.as_ref().is_some_and(|own| own.key() == change.key);
        if change.remove || is_own {
            return self.remove(&change.key, changed);
        }
        let peer = match self.by_key.get(&change.key) {
            Some(peer) => Arc::clone(peer),
            None if change.update_only => return,
            None => self.add(change.key, changed),
        };
        self.set_address(&peer, change, is_replacing);
        let mut inside = peer.lock();
        if let Some(keepalive) = change.keepalive {
            inside.keepalive = keepalive;
        }
        if let Some(endpoint) = change.endpoint {
            if !inside.has_session() {
                changed.begun.push(Arc::clone(&peer));
            }
            inside.endpoint = Some(endpoint);
        }
        if let Some(preshared) = &change.preshared
            && inside.preshared() != preshared.as_ref()
        {
            inside.set_preshared(preshared.clone());
            inside.begin(self.identity.as_deref());
            changed.begun.push(Arc::clone(&peer));
        }
    }

    /// Gives the peer its one address and takes it from whoever had it.
    fn set_address(&mut self, peer: &Arc<Peer>, change: &PeerChange, is_replacing: bool) {
        let old = peer.address();
        let is_lost = (change.replace_address || is_replacing) && change.address.is_none();
        let new = if is_lost { None } else { change.address.or(old) };
        if new == old {
            return;
        }
        if let Some(old) = old {
            self.by_address.remove(&old);
        }
        peer.set_address(new);
        if let Some(new) = new
            && let Some(robbed) = self.by_address.insert(new, Arc::clone(peer))
        {
            robbed.set_address(None);
        }
    }

    fn add(&mut self, key: WireGuardKey, changed: &mut Changed) -> Arc<Peer> {
        while self.by_slot.contains_key(&self.next_slot) {
            self.next_slot = (self.next_slot + 1) & SLOT_MASK;
        }
        let peer = Arc::new(Peer::new(key, self.next_slot, self.clock, self.identity.as_deref()));
        self.next_slot = (self.next_slot + 1) & SLOT_MASK;
        self.by_key.insert(key, Arc::clone(&peer));
        self.by_slot.insert(peer.slot, Arc::clone(&peer));
        changed.begun.push(Arc::clone(&peer));
        peer
    }

    fn remove(&mut self, key: &WireGuardKey, changed: &mut Changed) {
        let Some(peer) = self.by_key.remove(key) else { return };
        self.by_slot.remove(&peer.slot);
        if let Some(address) = peer.address() {
            self.by_address.remove(&address);
        }
        // Whoever still holds an older table finds no session.
        peer.lock().begin(None);
        changed.gone.push(peer);
    }
}

#[cfg(test)]
mod tests;
