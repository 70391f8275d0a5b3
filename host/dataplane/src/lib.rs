//! The kernel's data plane: eBPF programs and maps that outlive the agent, and the links they sit on.
//!
//! [`HostKernel`] applies changes of a plan and reads back what is there. It keeps no copy of anything: the kernel is
//! asked each time, so it may be dropped, or killed, and opened again at any moment while packets flow.
//!
//! It works in the network namespace of the thread that calls it; call it from one and the same namespace always. The
//! pin directory belongs to one namespace and to one `HostKernel` at a time.

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

use std::path::PathBuf;

use shoal_links::Links;
use shoal_plan::{Change, Observed};
use shoal_ports::{Counters, Kernel, KernelError};

pub use features::Features;
use maps::Maps;
use programs::Programs;

/// How to open the data plane.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder on a bpffs for maps and programs. A bpffs is mounted on the folder above it if there is none.
    pub pin_dir: PathBuf,
    /// What to use of the running kernel.
    pub features: Features,
}

impl Default for Options {
    /// The place where an agent keeps its state, and everything the kernel has.
    fn default() -> Self {
        Self { pin_dir: PathBuf::from("/sys/fs/bpf/shoal"), features: Features::probe() }
    }
}

/// The data plane of one host: the real [`Kernel`].
pub struct HostKernel {
    links: Links,
    maps: Maps,
    programs: Programs,
}

impl HostKernel {
    /// Loads the programs, or takes up those that an earlier agent has left. Links that carry an earlier agent's
    /// programs get the new ones, each at once and without a gap; nothing else is touched.
    pub fn open(options: &Options) -> Result<Self, KernelError> {
        log::keep();
        bpffs::prepare(&options.pin_dir)?;
        let links = Links::open()?;
        let programs = Programs::open(&options.pin_dir, options.features)?;
        let maps = Maps::open(&options.pin_dir, options.features)?;
        let kernel = Self { links, maps, programs };
        kernel.renew_filters()?;
        kernel.programs.forget_others()?;
        kernel.sweep_all()?;
        Ok(kernel)
    }

    /// Puts the current programs where an earlier agent's are.
    fn renew_filters(&self) -> Result<(), KernelError> {
        for device in self.links.list()? {
            let program = self.programs.for_device(&device);
            if hooks::attached(&device, program)?.is_some_and(|id| id != program.id()) {
                hooks::attach(&device, program)?;
            }
        }
        Ok(())
    }
}

impl Kernel for HostKernel {
    fn apply(&mut self, changes: &[Change]) -> Vec<(Change, KernelError)> {
        let failed = |change: &Change| Some((change.clone(), self.apply_one(change).err()?));
        changes.iter().filter_map(failed).collect()
    }

    fn observe(&mut self) -> Result<Observed, KernelError> {
        observe::observe(&self.links, &self.maps, &self.programs)
    }

    fn counters(&mut self) -> Result<Counters, KernelError> {
        counters::read(&self.links, &self.maps)
    }
}
