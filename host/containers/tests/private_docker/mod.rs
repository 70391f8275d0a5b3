//! A Docker daemon of a test's own: private network and mount namespace, own /run, own data, gone without trace when
//! dropped.

#![allow(dead_code, reason = "each test file that includes this one uses a part of it")]

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a daemon may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A daemon, and the sleeping process that holds its namespaces.
pub(crate) struct PrivateDocker {
    name: String,
    folder: PathBuf,
    holder: Child,
    daemon: Option<Child>,
}

impl PrivateDocker {
    /// Starts a daemon. `name` is short, of letters and digits, and unique among tests that run at once.
    pub(crate) fn start(name: &str) -> Self {
        let user = std::fs::metadata("/proc/self").expect("/proc is mounted").uid();
        assert_eq!(user, 0, "this test needs root");
        let name = format!("shoal-test-{name}-{}", std::process::id());
        let folder = PathBuf::from("/var/tmp").join(&name);
        std::fs::create_dir_all(&folder).unwrap();
        let prepare = "mount -t tmpfs tmpfs /run && mkdir -p /run/docker/plugins \
             && { [ ! -d /etc/docker ] || mount -t tmpfs tmpfs /etc/docker; } \
             && ip link set lo up && touch /run/ready && exec sleep infinity";
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--net", "--propagation", "private", "sh", "-c", prepare]);
        let holder = unshare.spawn().expect("util-linux is installed");
        let mut docker = Self { name, folder, holder, daemon: None };
        let ready = docker.root().join("run/ready");
        wait_for("the daemon's namespaces", || ready.exists());
        docker.start_daemon();
        docker
    }

    /// Starts the daemon again after [`PrivateDocker::stop_daemon`].
    pub(crate) fn start_daemon(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        let daemon = self
            .enter("dockerd")
            .arg("--data-root")
            .arg(self.folder.join("data"))
            .args([
                "--exec-root",
                "/run/docker",
                "--pidfile",
                "/run/docker.pid",
                "--host",
                "unix:///run/docker.sock",
            ])
            .args(["--cgroup-parent", &format!("/{}", self.name)])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.daemon = Some(daemon);
        wait_for("dockerd", || self.docker(&["version"]).status.success());
    }

    /// Ends the daemon as its service manager would.
    pub(crate) fn stop_daemon(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        signal("TERM", daemon.id());
        let until = Instant::now() + PATIENCE;
        while daemon.try_wait().unwrap().is_none() {
            if Instant::now() > until {
                let _ = daemon.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The daemon's socket, as seen from outside its namespace.
    pub(crate) fn socket(&self) -> String {
        self.root().join("run/docker.sock").display().to_string()
    }

    /// Where the daemon looks for the plugin `shoal`, as seen from outside its namespace.
    pub(crate) fn plugin_socket(&self) -> PathBuf {
        self.root().join("run/docker/plugins/shoal.sock")
    }

    /// Runs Docker's command line against the daemon.
    pub(crate) fn docker(&self, arguments: &[&str]) -> Output {
        let mut docker = Command::new("docker");
        docker.arg("--host").arg(format!("unix://{}", self.socket())).args(arguments);
        docker.output().expect("docker's command line is installed")
    }

    /// As [`PrivateDocker::docker`]; the output's first line. The command must succeed.
    pub(crate) fn docker_ok(&self, arguments: &[&str]) -> String {
        let output = self.docker(arguments);
        assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned()
    }

    /// As [`PrivateDocker::docker`]; what stands on standard error. The command must fail.
    pub(crate) fn docker_refused(&self, arguments: &[&str]) -> String {
        let output = self.docker(arguments);
        assert!(!output.status.success(), "docker {arguments:?} was expected to fail");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// A command that runs in the daemon's namespaces.
    pub(crate) fn enter(&self, program: &str) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--target", &self.holder.id().to_string(), "--mount", "--net", program]);
        nsenter
    }

    /// Makes an image `busybox` of the static binary that the package busybox-static installs.
    pub(crate) fn import_busybox(&self) {
        let image = self.folder.join("image");
        std::fs::create_dir_all(image.join("bin")).unwrap();
        for folder in ["proc", "sys", "dev", "etc", "tmp"] {
            std::fs::create_dir_all(image.join(folder)).unwrap();
        }
        std::fs::copy("/bin/busybox", image.join("bin/busybox")).expect("busybox-static is installed");
        for name in ["sh", "sleep", "ip", "cat", "true"] {
            std::os::unix::fs::symlink("busybox", image.join("bin").join(name)).unwrap();
        }
        let archive = self.folder.join("image.tar");
        let tar =
            Command::new("tar").arg("-C").arg(&image).arg("-cf").arg(&archive).arg(".").status().unwrap();
        assert!(tar.success());
        self.docker_ok(&["import", archive.to_str().unwrap(), "busybox"]);
    }

    fn root(&self) -> PathBuf {
        Path::new("/proc").join(self.holder.id().to_string()).join("root")
    }

    /// Processes in the daemon's network namespace, such as shims that outlived it.
    fn left_behind(&self) -> Vec<u32> {
        let namespace = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let Some(ours) = namespace(self.holder.id()) else { return Vec::new() };
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| *pid != self.holder.id() && namespace(*pid).as_ref() == Some(&ours)).collect()
    }
}

impl Drop for PrivateDocker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("the daemon's last words:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
        }
        let all = self.docker(&["ps", "--all", "--quiet"]).stdout;
        let all = String::from_utf8_lossy(&all).into_owned();
        let running: Vec<_> =
            ["rm", "--force", "--volumes"].into_iter().chain(all.split_whitespace()).collect();
        if running.len() > 3 {
            self.docker(&running);
        }
        self.stop_daemon();
        for pid in self.left_behind() {
            signal("KILL", pid);
        }
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        // Mounts and processes went with the namespaces; the kernel may need a moment to notice.
        let is_clean = || remove_cgroups(&self.name) && std::fs::remove_dir_all(&self.folder).is_ok();
        let tries = std::iter::repeat_with(|| {
            is_clean() || {
                std::thread::sleep(Duration::from_millis(50));
                false
            }
        });
        if !tries.take(60).any(|clean| clean) {
            eprintln!("{} or its cgroups could not be removed", self.folder.display());
        }
    }
}

/// Waits until `is_true`, or fails the test.
pub(crate) fn wait_for(what: &str, is_true: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < until, "{what} did not come within {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(name: &str, pid: u32) {
    let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).stderr(Stdio::null()).status();
}

/// Removes the cgroup `name` in every hierarchy of cgroup v1 and v2, with those of its containers; tells whether none
/// is left.
fn remove_cgroups(name: &str) -> bool {
    let hierarchies =
        std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    let roots = hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]).map(|hierarchy| hierarchy.join(name));
    let found: Vec<_> = roots.filter(|root| root.is_dir()).collect();
    for root in &found {
        let below = std::fs::read_dir(root).into_iter().flatten().flatten();
        for child in below.map(|entry| entry.path()).filter(|path| path.is_dir()) {
            let _ = std::fs::remove_dir(child);
        }
        let _ = std::fs::remove_dir(root);
    }
    found.iter().all(|root| !root.is_dir())
}
