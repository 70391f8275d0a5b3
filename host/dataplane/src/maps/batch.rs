//! Reading a whole map in few calls (`BPF_MAP_LOOKUP_BATCH`, Linux 5.6).
//!
//! libbpf-rs has an iterator for this, which ends at an error as it ends at the last entry; a plan must not be
//! compared with half a map, so here an error is one.

use std::io::Error;
use std::os::fd::{AsFd, AsRawFd};

use libbpf_rs::{MapHandle, MapType, libbpf_sys};

/// Entries asked for at once: more than any bucket of a hash map holds, and a few hundred kilobytes.
const ENTRIES: u32 = 4096;

/// Keys and values as bytes.
pub(crate) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Whether the running kernel can; tried on a map of its own.
pub(crate) fn is_supported() -> bool {
    #[allow(clippy::needless_update, reason = "the struct has padding on some platforms")]
    let options = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
        ..Default::default()
    };
    let map = MapHandle::create(MapType::Hash, Some("shoal_probe"), 4, 4, 1, &options);
    map.is_ok_and(|map| read(&map, 4, 4).is_ok())
}

/// Reads all entries of a hash map.
pub(crate) fn read(map: &MapHandle, key_size: u32, value_size: u32) -> Result<Pairs, Error> {
    let mut pairs = Pairs::new();
    let (key_size, value_size) = (key_size as usize, value_size as usize);
    let mut keys = vec![0; ENTRIES as usize * key_size];
    let mut values = vec![0; ENTRIES as usize * value_size];
    let mut place = None;
    loop {
        let (count, next) = step(map, place, &mut keys, &mut values)?;
        let found = keys.chunks_exact(key_size).zip(values.chunks_exact(value_size)).take(count);
        pairs.extend(found.map(|(key, value)| (key.to_vec(), value.to_vec())));
        match next {
            None => return Ok(pairs),
            next => place = next,
        }
    }
}

/// Reads on from a place in the map (its number of a bucket); returns how many entries, and where to go on, unless that
/// was all.
#[allow(unsafe_code, reason = "libbpf-rs has no call that tells an error from the end")]
fn step(
    map: &MapHandle,
    place: Option<u32>,
    keys: &mut [u8],
    values: &mut [u8],
) -> Result<(usize, Option<u32>), Error> {
    let mut from = place.unwrap_or_default();
    let mut next = 0_u32;
    let mut count = ENTRIES;
    let from = if place.is_some() { std::ptr::from_mut(&mut from).cast() } else { std::ptr::null_mut() };
    #[allow(clippy::needless_update, reason = "the struct has padding on some platforms")]
    let options = libbpf_sys::bpf_map_batch_opts {
        sz: size_of::<libbpf_sys::bpf_map_batch_opts>() as libbpf_sys::size_t,
        ..Default::default()
    };
    // SAFETY: both buffers hold `count` entries of the map's own sizes, as `read` made them; a hash map's place is a
    // u32; everything outlives the call.
    let result = unsafe {
        libbpf_sys::bpf_map_lookup_batch(
            map.as_fd().as_raw_fd(),
            from,
            std::ptr::from_mut(&mut next).cast(),
            keys.as_mut_ptr().cast(),
            values.as_mut_ptr().cast(),
            &mut count,
            &options,
        )
    };
    match nix::Error::from_raw(-result) {
        _ if result == 0 => Ok((count as usize, Some(next))),
        nix::Error::ENOENT => Ok((count as usize, None)),
        errno => Err(errno.into()),
    }
}
