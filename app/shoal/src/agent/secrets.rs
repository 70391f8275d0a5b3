//! Keys and chance: the only place that draws them.

use shoal_fabric::KeyPair;
use shoal_ports::{Store, Write};
use shoal_trust::{FabricRoot, HostKey};
use shoal_types::{WireGuardKey, WireGuardSecret};

/// Where the host's key is kept (32 bytes, an Ed25519 seed).
const HOST_KEY: &[u8] = b"secret/host";

/// Where the fabric's root key is kept, on the host that made the fabric.
const ROOT_KEY: &[u8] = b"secret/root";

/// Bytes that cannot be foretold, from the kernel.
pub(crate) fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    use std::io::Read;
    let mut bytes = [0; N];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A seed for ids that need to differ, not to be secret.
pub(crate) fn random_seed() -> u64 {
    random().map_or_else(|_| u64::from(std::process::id()), u64::from_ne_bytes)
}

/// The host's key; made at the first start.
pub(crate) fn host_key(store: &mut impl Store) -> anyhow::Result<HostKey> {
    let stored = store.scan(HOST_KEY)?.into_iter().find(|(key, _)| key == HOST_KEY);
    if let Some((_, bytes)) = stored {
        let seed = bytes.try_into().map_err(|_| anyhow::anyhow!("the host's key on disk is damaged"))?;
        return Ok(HostKey::from_seed(seed));
    }
    let seed: [u8; 32] = random()?;
    store.write(&[Write { key: HOST_KEY.to_vec(), value: Some(seed.to_vec()) }])?;
    Ok(HostKey::from_seed(seed))
}

/// Draws a fabric's root key and the write that keeps it.
pub(crate) fn new_root() -> anyhow::Result<(FabricRoot, Write)> {
    let seed: [u8; 32] = random()?;
    Ok((FabricRoot::from_seed(seed), Write { key: ROOT_KEY.to_vec(), value: Some(seed.to_vec()) }))
}

/// Draws a pair of WireGuard keys. The private half is clamped (RFC 7748, section 5), as whoever keeps it would do:
/// what is read back equals what was set.
pub(crate) fn tunnel_keys() -> anyhow::Result<KeyPair> {
    let mut secret: [u8; 32] = random()?;
    secret[0] &= 0b1111_1000;
    secret[31] = (secret[31] & 0b0111_1111) | 0b0100_0000;
    let key = shoal_trust::wireguard_public(&secret);
    Ok(KeyPair { secret: WireGuardSecret::new(secret), key: WireGuardKey::new(key) })
}

/// The fabric's root key, if this host made the fabric.
pub(crate) fn root(store: &impl Store) -> Option<FabricRoot> {
    let stored = store.scan(ROOT_KEY).ok()?.into_iter().find(|(key, _)| key == ROOT_KEY)?;
    Some(FabricRoot::from_seed(stored.1.try_into().ok()?))
}

/// The write that drops the root key, when the host leaves its fabric.
pub(crate) fn drop_root() -> Write {
    Write { key: ROOT_KEY.to_vec(), value: None }
}
