//! A host that loses power and boots again.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::Bed;
use crate::capture::run;
use crate::host::Host;
use crate::poll::eventually;
use crate::remains;

/// What lies on a host's disk and, unlike Docker's data, in its mount namespace.
const ON_DISK: [&str; 2] = ["/var/lib/shoal", "/etc/shoal"];

/// How long the kernel may take to take apart what no process holds any more.
const GONE: Duration = Duration::from_secs(10);

impl Bed {
    /// Plays the loss of power and the next boot of host number `number`: every process, namespace, device and pin of
    /// it goes, and so does all of `/run`; its disk is as it was. No daemon runs afterwards.
    ///
    /// # Errors
    /// The host is behind a router, or does not go.
    pub fn reboot(&mut self, number: usize) -> Result<()> {
        ensure!(self.router(number).is_none(), "a host behind a router cannot be rebooted");
        let host = self.host(number);
        let (name, port, kept) = (host.name().to_owned(), host.port(), host.folder().join("kept-state"));
        remains::end_host(host)?;
        keep(host, &kept)?;
        host.end_holder()?;
        // The next holder tells with this file that it stands.
        fs::remove_file(host.folder().join("pid"))?;
        eventually("the link of a host without power to go", GONE, || {
            self.switch(&format!("! ip link show {port} 2>/dev/null"))
        })?;
        let booted = self.lay_host(number, &name)?;
        for path in ON_DISK {
            booted.sh(&format!("cp -a {}{path}/. {path}", kept.display()))?;
        }
        fs::remove_dir_all(&kept)?;
        self.hosts[number - 1] = booted;
        Ok(())
    }
}

/// Copies what a host has on its disk to where it outlives the host's namespaces.
fn keep(host: &Host, kept: &Path) -> Result<()> {
    for path in ON_DISK {
        let to = format!("{}{path}", kept.display());
        fs::create_dir_all(&to)?;
        let mut command = Command::new("cp");
        command.args(["-a", &format!("/proc/{}/root{path}/.", host.pid()), &to]);
        run(command, format!("cp -a {path} of {}", host.name()), GONE)?.ok()?;
    }
    Ok(())
}
