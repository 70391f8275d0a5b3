//! A bed: a switch, hosts on it, and their end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::capture::run;
use crate::host::{Host, Place};
use crate::nat::{NatKind, Router};
use crate::poll::eventually_ok;
use crate::remains::{self, BedName};
use crate::watch::{Allow, Seen, Watch};

mod reboot;

/// What a socket may ask for as its receive buffer on a bed, bytes; `netbed-probe` does. Room for thousands of packets.
pub const RECEIVE_BUFFER: usize = 4 << 20;

/// Network namespaces with real Docker hosts in them. Dropping it removes everything.
#[derive(Debug)]
pub struct Bed {
    name: BedName,
    folder: PathBuf,
    switch: Child,
    mtu: u32,
    watch: Option<Watch>,
    hosts: Vec<Host>,
    outsiders: Vec<Host>,
    routers: Vec<(usize, Router)>,
    kept: bool,
    quiet: bool,
}

/// What a bed should look like. See [`Bed::builder`].
#[derive(Debug, Clone)]
pub struct Builder {
    hosts: usize,
    outsiders: usize,
    mtu: u32,
    routes: Vec<(usize, String)>,
    nats: Vec<(usize, NatKind)>,
    firewalls: Vec<usize>,
    dockerd: bool,
    quiet: bool,
    watched: bool,
}

impl Bed {
    /// A bed of `hosts` hosts with running dockerds, MTU 1500 and both address families underneath.
    pub fn new(hosts: usize) -> Result<Self> {
        Self::builder(hosts).build()
    }

    /// Begins to describe a bed of `hosts` hosts, named h1, h2 and so on.
    pub fn builder(hosts: usize) -> Builder {
        let (routes, nats, firewalls) = (Vec::new(), Vec::new(), Vec::new());
        let (outsiders, mtu, dockerd, quiet, watched) = (0, 1500, true, false, false);
        Builder { hosts, outsiders, mtu, routes, nats, firewalls, dockerd, quiet, watched }
    }

    /// The bed's name, unique on this machine.
    pub fn name(&self) -> &BedName {
        &self.name
    }

    /// Host number `number`, counted from 1.
    pub fn host(&self, number: usize) -> &Host {
        &self.hosts[number - 1]
    }

    /// All hosts in order.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Outsider number `number`, counted from 1: on the switch, with neither dockerd nor agent.
    pub fn outsider(&self, number: usize) -> &Host {
        &self.outsiders[number - 1]
    }

    /// The router in front of host number `number`; see [`Builder::behind_nat`].
    pub fn router(&self, number: usize) -> Option<&Router> {
        self.routers.iter().rfind(|(behind, _)| *behind == number).map(|(_, router)| router)
    }

    /// Takes a host from its router to another one, with other addresses on both sides; once per host. The first one
    /// stays where it is.
    ///
    /// # Errors
    /// The host has no router.
    pub fn move_behind(&mut self, number: usize, kind: NatKind) -> Result<()> {
        let holder = hold(&self.name, &self.folder.join(format!("router{number}b")), &["--net"], "")?;
        let left = self.router(number).with_context(|| format!("h{number} has no router to leave"))?;
        self.link(&format!("p{number}b"), "wan", holder.id())?;
        let router = left.hand_over(holder, self.host(number), kind)?;
        self.routers.push((number, router));
        Ok(())
    }

    /// Runs `work` on all hosts at once and returns the results in order; the first error wins.
    pub fn on_each<T: Send>(&self, work: impl Fn(&Host) -> Result<T> + Sync) -> Result<Vec<T>> {
        thread::scope(|scope| {
            let work = &work;
            let threads: Vec<_> = self.hosts.iter().map(|host| scope.spawn(move || work(host))).collect();
            let joined = threads.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a host's thread panicked")))
            });
            joined.collect()
        })
    }

    /// Cuts a host off: its switch port drops everything, as a broken switch does; its link stays up.
    pub fn cut(&self, host: &Host) -> Result<()> {
        self.switch(&format!("bridge link set dev {} state 0", self.port(host)))
    }

    /// Ends a cut.
    pub fn heal(&self, host: &Host) -> Result<()> {
        self.switch(&format!("bridge link set dev {} state 3", self.port(host)))
    }

    /// Pulls the cable: the host sees its link lose carrier.
    pub fn unplug(&self, host: &Host) -> Result<()> {
        self.switch(&format!("ip link set {} down", self.port(host)))
    }

    /// Puts the cable back.
    pub fn plug(&self, host: &Host) -> Result<()> {
        self.switch(&format!("ip link set {} up", self.port(host)))
    }

    /// Runs a shell script in the switch's namespace.
    pub fn switch(&self, script: &str) -> Result<()> {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.switch.id().to_string(), "-n", "sh", "-ec", script]);
        run(command, format!("switch: {script}"), Duration::from_secs(10))?.ok().map(drop)
    }

    /// Declares something that the scenario does on purpose, from now on; see [`Builder::watched`].
    pub fn allow(&self, allow: Allow) {
        if let Some(watch) = &self.watch {
            watch.allow(allow);
        }
    }

    /// What has been seen on the underlay so far.
    ///
    /// # Errors
    /// The bed is not watched.
    pub fn seen(&self) -> Result<Seen> {
        self.watch.as_ref().map(Watch::seen).context("the bed is not watched")
    }

    /// Leaves the bed standing when this value goes, and lets no sweep take it: [`crate::take_down`] ends it.
    pub fn keep(mut self) -> Result<()> {
        fs::write(self.folder.join("kept"), "")?;
        self.kept = true;
        Ok(())
    }

    /// The port at the switch through which a host reaches it.
    fn port(&self, host: &Host) -> String {
        self.router(host.number()).map_or_else(|| host.port(), Router::port)
    }

    /// Links a namespace to the switch.
    fn link(&self, port: &str, device: &str, pid: u32) -> Result<()> {
        let mtu = self.mtu;
        self.switch(&format!(
            "ip link add {port} mtu {mtu} type veth peer name {device} mtu {mtu} netns {pid}\n\
             ip link set {port} master sw0 up"
        ))
    }

    fn lay_host(&self, number: usize, hostname: &str) -> Result<Host> {
        let folder = self.folder.join(hostname);
        let namespaces = ["--net", "--mount", "--uts"];
        let holder = hold(&self.name, &folder, &namespaces, &host_script(&self.name, hostname))?;
        let place = Place { bed: self.name.clone(), folder, name: hostname.to_owned(), number };
        let host = Host::new(place, holder);
        self.link(&host.port(), "eth0", host.pid())?;
        host.sh(&format!(
            "ip link set lo up\n\
             ip address add 172.31.0.{number}/24 dev eth0\n\
             ip address add fd00:7368::{number:x}/64 dev eth0 nodad\n\
             ip link set eth0 up\n\
             ip route add default via 172.31.0.254\n\
             ip route add default via fd00:7368::fe"
        ))?;
        Ok(host)
    }

    /// Copies the end of every daemon's log to standard error, which a test runner shows if the test failed.
    fn tell_logs(&self) {
        for host in &self.hosts {
            for log in ["agent.log", "dockerd.log"] {
                let text = fs::read_to_string(host.folder().join(log)).unwrap_or_default();
                let lines: Vec<_> = text.lines().collect();
                let from = lines.len().saturating_sub(if log == "agent.log" { 120 } else { 25 });
                if !lines.is_empty() {
                    eprintln!("--- {} {log}, its last lines\n{}", host.name(), lines[from..].join("\n"));
                }
            }
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if !self.quiet {
            self.tell_logs();
        }
        // Nothing here needs an orderly end: every process is killed, and namespaces go with their last process.
        if let Err(error) = remains::remove(&self.name) {
            eprintln!("bed {} is not wholly gone: {error:#}", self.name);
        }
        let _ = self.switch.wait();
        // Now that nobody is left who could send.
        if let Some(watch) = &mut self.watch {
            verdict::add(watch.finish());
        }
    }
}

/// What the watchers of beds that have ended on this thread have found, as an error if it must not have been.
///
/// A bed's end cannot return anything, so whoever runs scenarios asks here afterwards.
///
/// # Errors
/// Everything that was wrong on the underlay since the last call.
pub fn verdict() -> Result<()> {
    verdict::take()
}

mod verdict {
    use std::cell::RefCell;

    use anyhow::{Result, ensure};

    use crate::watch::Seen;

    thread_local! { static WRONG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) } }

    pub(super) fn add(seen: Result<Seen>) {
        let judged = seen.and_then(|seen| {
            eprintln!("{seen}");
            seen.clean()
        });
        if let Err(error) = judged {
            WRONG.with_borrow_mut(|wrong| wrong.push(format!("{error:#}")));
        }
    }

    pub(super) fn take() -> Result<()> {
        let wrong = WRONG.take();
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    }
}

impl Builder {
    /// Adds hosts that are on the switch but run nothing: x1, x2 and so on.
    pub fn outsiders(mut self, count: usize) -> Self {
        self.outsiders = count;
        self
    }

    /// MTU of the switch and of every host's link, bytes.
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.mtu = mtu;
        self
    }

    /// Gives host number `host` a route, in the words of `ip route add`.
    pub fn route(mut self, host: usize, route: &str) -> Self {
        self.routes.push((host, route.to_owned()));
        self
    }

    /// Puts host number `host` behind a router, which has the host's address on the switch; IPv4 only.
    pub fn behind_nat(mut self, host: usize, kind: NatKind) -> Self {
        self.nats.push((host, kind));
        self
    }

    /// Puts host number `host` behind a router that only filters; see [`Router::admit_only_quic`].
    pub fn behind_firewall(mut self, host: usize) -> Self {
        self.firewalls.push(host);
        self.behind_nat(host, NatKind::None)
    }

    /// Starts no dockerd; see [`Host::start_dockerd`].
    pub fn without_dockerd(mut self) -> Self {
        self.dockerd = false;
        self
    }

    /// Holds every frame that a host sends against what may be seen on the underlay of a fabric; [`verdict`] tells the
    /// outcome once the bed has ended.
    pub fn watched(mut self) -> Self {
        self.watched = true;
        self
    }

    /// Does not print the daemons' logs at the end.
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Lays the bed out and starts the dockerds, all at once.
    pub fn build(self) -> Result<Bed> {
        ensure!(
            nix::unistd::geteuid().is_root(),
            "a bed of Docker hosts needs root: namespaces, mounts, dockerd"
        );
        ensure!(self.hosts + self.outsiders <= 200, "a bed has at most 200 hosts");
        remains::sweep().context("cannot remove what dead beds left")?;
        raise_limits()?;
        let name = next_name();
        let folder = remains::claim(&name)?;
        let mut bed = self.lay(name, folder)?;
        for (number, kind) in &self.nats {
            let holder = hold(&bed.name, &bed.folder.join(format!("router{number}")), &["--net"], "")?;
            let router = Router::place(holder, bed.host(*number), *number, *kind)?;
            if self.firewalls.contains(number) {
                router.admit_only_quic()?;
            }
            bed.routers.push((*number, router));
        }
        for (number, route) in &self.routes {
            bed.host(*number).sh(&format!("ip route add {route}"))?;
        }
        if self.dockerd {
            bed.on_each(Host::start_dockerd)?;
        }
        Ok(bed)
    }

    fn lay(&self, name: BedName, folder: PathBuf) -> Result<Bed> {
        let switch = hold(&name, &folder.join("switch"), &["--net"], &self.switch_script())?;
        // From here on dropping the bed takes down whatever has come up.
        let mut bed = Bed {
            name,
            folder,
            switch,
            mtu: self.mtu,
            watch: None,
            hosts: Vec::new(),
            outsiders: Vec::new(),
            routers: Vec::new(),
            kept: false,
            quiet: self.quiet,
        };
        if self.watched {
            let watch = Watch::start(bed.switch.id(), "sw0")?;
            if self.nats.iter().any(|(_, kind)| *kind != NatKind::None) {
                watch.allow(Allow::TranslatedWireGuard);
            }
            bed.watch = Some(watch);
        }
        for number in 1..=self.hosts + self.outsiders {
            let inside = number <= self.hosts;
            let hostname = if inside { format!("h{number}") } else { format!("x{}", number - self.hosts) };
            let host = bed.lay_host(number, &hostname)?;
            if inside { bed.hosts.push(host) } else { bed.outsiders.push(host) }
        }
        Ok(bed)
    }

    fn switch_script(&self) -> String {
        format!(
            "ip link set lo up\n\
             ip link add sw0 mtu {} type bridge stp_state 0 mcast_snooping 0\n\
             ip address add 172.31.0.254/24 dev sw0\n\
             ip address add fd00:7368::fe/64 dev sw0 nodad\n\
             ip link set sw0 up",
            self.mtu
        )
    }
}

/// Mounts of a host. `/run/netbed` is for the bed's own files. The two folders on the machine's disk are mount points
/// only and stay empty.
///
/// The first mount's source is the bed's name: a process that was given an empty environment is known by it.
fn host_script(bed: &BedName, hostname: &str) -> String {
    format!(
        "hostname {hostname}\n\
         mount -t tmpfs -o mode=755 {bed} /run\n\
         mkdir -p /run/lock /run/netbed /var/lib/shoal /etc/shoal\n\
         mount -t tmpfs -o mode=700 netbed /var/lib/shoal\n\
         mount -t tmpfs -o mode=755 netbed /etc/shoal\n\
         mount -t bpf bpf /sys/fs/bpf"
    )
}

/// Starts a process that holds fresh namespaces after `script` has furnished them.
fn hold(bed: &BedName, folder: &Path, namespaces: &[&str], script: &str) -> Result<Child> {
    fs::create_dir_all(folder)?;
    let (ready, log) = (folder.join("pid"), folder.join("holder.log"));
    let mut command = Command::new("unshare");
    command.args(namespaces);
    if namespaces.contains(&"--mount") {
        command.args(["--propagation", "private"]);
    }
    let script = format!("{script}\necho -n $$ > {}\nexec sleep infinity", ready.display());
    command.args(["sh", "-ec", &script]).env(remains::TAG, bed.as_str());
    command.stdin(std::process::Stdio::null());
    let out = fs::File::create(&log)?;
    let mut child = command.stdout(out.try_clone()?).stderr(out).spawn().context("unshare does not start")?;
    let standing = eventually_ok("the namespaces of a host", Duration::from_secs(10), || ready.exists());
    if let Err(error) = standing {
        let _ = child.kill();
        return Err(error.context(fs::read_to_string(log).unwrap_or_default()));
    }
    Ok(child)
}

/// One kernel carries all hosts, and some limits are one for all namespaces: sixty containers that all know each other
/// overflow the usual 1024 neighbours, and no socket may ask for a larger buffer. Limits are raised, never lowered.
fn raise_limits() -> Result<()> {
    raise("core/rmem_max", RECEIVE_BUFFER)?;
    for family in ["ipv4", "ipv6"] {
        raise(&format!("{family}/neigh/default/gc_thresh3"), 32768)?;
        raise(&format!("{family}/neigh/default/gc_thresh2"), 16384)?;
    }
    Ok(())
}

fn raise(limit: &str, wanted: usize) -> Result<()> {
    let path = format!("/proc/sys/net/{limit}");
    let now: usize = fs::read_to_string(&path)?.trim().parse()?;
    if now < wanted {
        fs::write(&path, wanted.to_string()).with_context(|| format!("cannot raise {path}"))?;
    }
    Ok(())
}

fn next_name() -> BedName {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    BedName::new(std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
