//! Programs on devices: clsact and one filter on its ingress side.
//!
//! clsact lives and dies with its device and needs no pin; replacing the filter is atomic. libbpf speaks to the calling
//! thread's network namespace.

use libbpf_rs::{ErrorKind, TC_INGRESS, TcHook, TcHookBuilder};
use shoal_links::Device;
use shoal_ports::KernelError;

use crate::error::refused;
use crate::programs::Program;

/// Handle and priority of the filter: the first that is asked.
const FIRST: u32 = 1;

/// The id of the program on a device in the place where `program` belongs; `None` if there is none.
pub(crate) fn attached(device: &Device, program: &Program) -> Result<Option<u32>, KernelError> {
    match hook(device, program).query() {
        Ok(id) => Ok(Some(id)),
        // No filter, or no clsact, or no device any more.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => Ok(None),
        Err(_) if !exists(device) => Ok(None),
        Err(error) => Err(refused("look for the program of", &device.name, error)),
    }
}

/// Puts the program on a device, in the place of any other.
pub(crate) fn attach(device: &Device, program: &Program) -> Result<(), KernelError> {
    let mut hook = hook(device, program);
    hook.create().map_err(|error| refused("make a place for the program on", &device.name, error))?;
    hook.attach().map_err(|error| refused("attach program to", &device.name, error))?;
    Ok(())
}

fn hook(device: &Device, program: &Program) -> TcHook {
    let mut builder = TcHookBuilder::new(program.as_fd());
    builder.ifindex(device.index.cast_signed()).replace(true).handle(FIRST).priority(FIRST);
    builder.hook(TC_INGRESS)
}

fn exists(device: &Device) -> bool {
    nix::net::if_::if_nametoindex(device.name.as_str()) == Ok(device.index)
}
