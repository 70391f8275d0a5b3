//! The TAP device: Ethernet frames, each with a header that says how to cut it.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Longest name of a device, bytes (IFNAMSIZ less the zero at its end).
pub(crate) const NAME_MAX: usize = 15;

/// Checksums, and super-packets of TCP over both, with ECN: TUN_F_CSUM, TSO4, TSO6, TSO_ECN of linux/if_tun.h.
const OFFLOADS: libc::c_ulong = 0x01 | 0x02 | 0x04 | 0x08;
/// Super-packets of UDP: TUN_F_USO4 and USO6, since Linux 6.2.
const OFFLOADS_UDP: libc::c_ulong = 0x20 | 0x40;

nix::ioctl_write_int_bad!(set_persist, libc::TUNSETPERSIST);
nix::ioctl_write_int_bad!(set_offload, libc::TUNSETOFFLOAD);
nix::ioctl_write_ptr_bad!(set_header_size, libc::TUNSETVNETHDRSZ, libc::c_int);
nix::ioctl_readwrite_bad!(attach, libc::TUNSETIFF, libc::ifreq);

/// One queue of the device.
#[derive(Debug)]
pub(crate) struct Queue {
    file: File,
    /// Whether a read can say that it would have to wait: since Linux 6.4.
    says_not_ready: AtomicBool,
}

/// Opens so many queues of the device, fewer if it is one that can have one only. It is made if it is not there, and
/// stays when all queues are closed.
pub(crate) fn open(name: &str, queues: usize) -> io::Result<Vec<Queue>> {
    let first = match Queue::open(name, true) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            return Ok(vec![Queue::open(name, false)?]);
        }
        first => first?,
    };
    let mut all = vec![first];
    for _ in 1..queues {
        all.push(Queue::open(name, true)?);
    }
    Ok(all)
}

impl Queue {
    fn open(name: &str, is_one_of_many: bool) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
        let many = if is_one_of_many { libc::IFF_MULTI_QUEUE } else { 0 };
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | many;
        let mut request = request(name, flags as libc::c_short)?;
        let header = crate::wire::Offload::LENGTH as libc::c_int;
        let fd = file.as_raw_fd();
        #[allow(unsafe_code, reason = "ioctl has no safe form; the request outlives the calls")]
        // SAFETY: `fd` is open, `request` is a whole ifreq with a name that ends with a zero, `header` an int.
        unsafe {
            attach(fd, &raw mut request)?;
            set_header_size(fd, &raw const header)?;
            set_persist(fd, 1)?;
            if set_offload(fd, (OFFLOADS | OFFLOADS_UDP) as libc::c_int).is_err() {
                set_offload(fd, OFFLOADS as libc::c_int)?;
            }
        }
        Ok(Self { file, says_not_ready: AtomicBool::new(true) })
    }

    /// Waits for a frame and reads it, with its header.
    #[inline]
    pub(crate) fn read(&self, buffer: &mut [u8]) -> nix::Result<usize> {
        nix::unistd::read(&self.file, buffer)
    }

    /// Reads a frame, with its header, if there is one. For one reader at a time: another one might take the frame
    /// between the look and the read.
    #[inline]
    pub(crate) fn read_ready(&self, buffer: &mut [u8]) -> nix::Result<Option<usize>> {
        if self.says_not_ready.load(Ordering::Relaxed) {
            match self.read_at_once(buffer) {
                Err(Errno::EOPNOTSUPP) => self.says_not_ready.store(false, Ordering::Relaxed),
                read => return read,
            }
        }
        let mut look = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        match poll(&mut look, PollTimeout::ZERO) {
            Ok(0) | Err(Errno::EINTR) => Ok(None),
            Ok(_) => self.read(buffer).map(Some),
            Err(error) => Err(error),
        }
    }

    /// The same in one call, where the kernel can.
    #[inline]
    #[allow(unsafe_code, reason = "nix has no preadv2, which alone can tell a read from a waiting one")]
    fn read_at_once(&self, buffer: &mut [u8]) -> nix::Result<Option<usize>> {
        let part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: the one part is a buffer that is borrowed for the call.
        let length =
            unsafe { libc::preadv2(self.file.as_raw_fd(), &raw const part, 1, -1, libc::RWF_NOWAIT) };
        match Errno::result(length) {
            Ok(length) => Ok(Some(length.unsigned_abs())),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a frame with its header.
    #[inline]
    pub(crate) fn write(&self, parts: &[IoSlice<'_>]) -> nix::Result<()> {
        nix::sys::uio::writev(&self.file, parts).map(drop)
    }
}

fn request(name: &str, flags: libc::c_short) -> io::Result<libc::ifreq> {
    let is_name =
        !name.is_empty() && name.len() <= NAME_MAX && name.is_ascii() && !name.contains(['/', '%', '\0']);
    if !is_name {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("\"{name}\" cannot be the name of a device"),
        ));
    }
    let mut ifr_name = [0; libc::IFNAMSIZ];
    for (to, byte) in ifr_name.iter_mut().zip(name.bytes()) {
        *to = byte as libc::c_char;
    }
    Ok(libc::ifreq { ifr_name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags } })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_there_is_read_and_nothing_waited_for_whatever_the_kernel_can() {
        for says_not_ready in [true, false] {
            let (end, mut other) = io::pipe().unwrap();
            let file = File::from(std::os::fd::OwnedFd::from(end));
            let queue = Queue { file, says_not_ready: AtomicBool::new(says_not_ready) };
            let mut buffer = [0; 16];
            assert_eq!(queue.read_ready(&mut buffer), Ok(None));
            other.write_all(b"frame").unwrap();
            assert_eq!(queue.read_ready(&mut buffer), Ok(Some(5)));
            assert_eq!(queue.read_ready(&mut buffer), Ok(None));
        }
    }
}
