//! Persistent TAP devices, the one kind of device that netlink does not make.

use std::fs::File;
use std::os::fd::AsRawFd;

use shoal_ports::KernelError;
use shoal_types::LinkName;

use crate::netlink::refused;

// Numbers of `linux/if_tun.h`.
const IFF_TAP: i16 = 0x0002;
const IFF_MULTI_QUEUE: i16 = 0x0100;
const IFF_NO_PI: i16 = 0x1000;
const IFF_VNET_HDR: i16 = 0x4000;

/// `struct ifreq`: a name, the flags, and what other requests need.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: i16,
    rest: [u8; 22],
}

const _: () = assert!(size_of::<Request>() == 40, "the kernel copies 40 bytes");

/// The ioctls, kept apart as nothing else here is unsafe.
#[allow(unsafe_code, reason = "ioctls of tun have no safe wrapper")]
mod ioctls {
    use std::os::fd::RawFd;

    mod raw {
        nix::ioctl_write_ptr_bad!(set_device, nix::request_code_write!(b'T', 202, 4), super::super::Request);
        nix::ioctl_write_int_bad!(set_persistent, nix::request_code_write!(b'T', 203, 4));
    }

    /// `TUNSETIFF`.
    pub(super) fn set_device(fd: RawFd, request: &super::Request) -> nix::Result<()> {
        // SAFETY: the request has the size that the kernel copies, and outlives the call.
        unsafe { raw::set_device(fd, request) }.map(drop)
    }

    /// `TUNSETPERSIST`.
    pub(super) fn set_persistent(fd: RawFd) -> nix::Result<()> {
        // SAFETY: the argument is a number.
        unsafe { raw::set_persistent(fd, 1) }.map(drop)
    }
}

/// Makes a TAP device in the namespace of the calling thread, or takes part in one that is there, and lets it outlive
/// this call.
pub(crate) fn make(name: &LinkName) -> Result<(), KernelError> {
    let failed = |reason: String| refused("make TAP device", name.as_str(), reason);
    let mut request =
        Request { name: [0; 16], flags: IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE, rest: [0; 22] };
    // Linux' names have 15 bytes at most, which `LinkName` keeps.
    for (to, from) in request.name.iter_mut().zip(name.as_str().bytes()) {
        *to = from;
    }
    let file = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .map_err(|error| failed(format!("/dev/net/tun: {error}")))?;
    ioctls::set_device(file.as_raw_fd(), &request).map_err(|errno| failed(errno.desc().into()))?;
    ioctls::set_persistent(file.as_raw_fd()).map_err(|errno| failed(errno.desc().into()))
}
