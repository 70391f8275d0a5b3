//! The kernel's data plane: eBPF programs and maps that outlive the agent, and the links they sit on.
//!
//! [`HostKernel`] applies changes of a plan and reads back what is there. It keeps no copy of anything: the kernel is
//! asked each time, so it may be dropped, or killed, and opened again at any moment while packets flow.
//!
//! It works in the network namespace of the thread that calls it; call it from one and the same namespace always,
//! from as many threads as there is work for. The pin directory belongs to one namespace and to one `HostKernel` at a
//! time.

mod apply;
mod bpffs;
mod counters;
mod error;
mod features;
mod hooks;
mod log;
mod maps;
mod observe;
mod programs;
mod sweep;
mod tunnel;

use std::path::PathBuf;

use shoal_links::{Kind, Links, TunnelOptions, Tunnels};
use shoal_plan::{Change, Observed};
use shoal_ports::{Counters, Kernel, KernelError};

pub use features::Features;
use maps::Maps;
use programs::Programs;
use tunnel::Ways;

/// How to open the data plane.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder on a bpffs for maps and programs. A bpffs is mounted on the folder above it if there is none.
    pub pin_dir: PathBuf,
    /// What to use of the running kernel.
    pub features: Features,
    /// Where tunnels keep what is no device, and who encrypts where the kernel cannot.
    pub tunnels: TunnelOptions,
}

/// The data plane of one host: the real [`Kernel`].
pub struct HostKernel {
    links: Links,
    tunnels: Tunnels,
    maps: Maps,
    programs: Programs,
}

impl HostKernel {
    /// Loads the programs, or takes up those that an earlier agent has left. Links and tunnels that carry an earlier
    /// agent's programs get the new ones, each at once and without a gap; nothing else is touched.
    ///
    /// If the new programs have maps that the earlier ones had not, those programs stay in service, as the new maps
    /// are still empty. What carries them is observed as broken, and so gets its new program when it is set, after
    /// peers.
    pub fn open(options: &Options) -> Result<Self, KernelError> {
        log::keep();
        bpffs::prepare(&options.pin_dir)?;
        let links = Links::open()?;
        let tunnels = Tunnels::open(options.tunnels.clone())?;
        let had_all_maps = Maps::are_all_in(&options.pin_dir);
        let programs = Programs::open(&options.pin_dir, options.features)?;
        let maps = Maps::open(&options.pin_dir, options.features)?;
        let kernel = Self { links, tunnels, maps, programs };
        if had_all_maps {
            kernel.renew_filters()?;
        }
        // Whatever is attached holds on to its program and that to its maps.
        kernel.programs.forget_others()?;
        Maps::forget_others(&options.pin_dir)?;
        kernel.sweep_all()?;
        Ok(kernel)
    }

    /// Puts the current programs where an earlier agent's are. A tunnel that cannot be read is taken for one in clear:
    /// if it is not, it carries nothing until it is set right.
    fn renew_filters(&self) -> Result<(), KernelError> {
        for device in self.links.list()? {
            let program = match device.kind {
                Kind::Pair { .. } => self.programs.for_link(),
                _ => self
                    .programs
                    .for_tunnel(self.tunnels.read(&self.links, &device).ok().and_then(Result::ok).as_ref()),
            };
            if hooks::attached(&device, program)?.is_some_and(|id| id != program.id()) {
                hooks::attach(&device, program)?;
            }
        }
        Ok(())
    }
}

impl Kernel for HostKernel {
    fn apply(&self, changes: &[Change]) -> Vec<(Change, KernelError)> {
        let mut ways = Ways::new();
        let failed = |change: &Change| Some((change.clone(), self.apply_one(&mut ways, change).err()?));
        changes.iter().filter_map(failed).collect()
    }

    fn observe(&self) -> Result<Observed, KernelError> {
        self.observe_all()
    }

    fn counters(&self) -> Result<Counters, KernelError> {
        self.read_counters()
    }
}
