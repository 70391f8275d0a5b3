//! The guest: its initramfs, its modules, its run.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::kernel::{Kernel, run};
use crate::report::Report;
use crate::tests::Tests;

const INIT: &str = include_str!("../guest/init");
const RUN: &str = include_str!("../guest/run");

/// What the initramfs must load before it has the host's file system.
const FIRST_MODULES: [&str; 4] = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];

/// Longest that one kernel may take: many times what an idle machine needs, as a busy one is no fault of the tests.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// Boots a kernel, runs the tests in it, and prints a line for each.
pub(crate) fn boot(kernel: &Kernel, tests: &[Tests]) -> Result<Report> {
    let stage = stage(kernel, tests)?;
    let console = stage.join("console");
    let mut guest = qemu(kernel, &stage, &console)?;
    let output = guest.stdout.take().context("qemu has no output")?;
    let has_ended = Arc::new(AtomicBool::new(false));
    let watch = watch(guest, has_ended.clone());
    let mut report = Report::new(kernel);
    for line in BufReader::new(output).split(b'\n') {
        report.read(String::from_utf8_lossy(&line?).trim_end());
    }
    has_ended.store(true, Ordering::Relaxed);
    watch.join().map_err(|_| anyhow::anyhow!("the watch over qemu ended"))??;
    report.read_console(&std::fs::read(&console).unwrap_or_default());
    Ok(report)
}

/// Ends the guest when its time is over, and waits for it.
#[allow(clippy::disallowed_methods, reason = "a guest runs on real time")]
fn watch(mut guest: Child, has_ended: Arc<AtomicBool>) -> std::thread::JoinHandle<Result<()>> {
    let end = Instant::now() + PATIENCE;
    std::thread::spawn(move || {
        while !has_ended.load(Ordering::Relaxed) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(100));
        }
        if !has_ended.load(Ordering::Relaxed) {
            guest.kill()?;
        }
        guest.wait()?;
        Ok(())
    })
}

/// Starts the guest. It has one processor: on two, a kernel that patches its own code while the other processor runs it
/// may find half of the change, and die of it. Its clock counts instructions, a nanosecond each, and leaps to the next
/// timer when all wait. So no test finds the guest slow because this machine is busy, and none takes longer than its
/// work.
fn qemu(kernel: &Kernel, stage: &Path, console: &Path) -> Result<Child> {
    let share = "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap";
    let line = format!("console=ttyS0 quiet panic=-1 stage={}", stage.display());
    // It ends with this program, however that ends.
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
        .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
        .args(["-cpu", "max", "-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"])
        .args(["-smp", "1", "-m", "3072"])
        .arg("-kernel")
        .arg(kernel.image())
        .arg("-initrd")
        .arg(stage.join("initramfs"))
        .args(["-append", &line, "-virtfs", share])
        .args(["-serial", &format!("file:{}", console.display()), "-serial", "stdio"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start qemu-system-x86_64 by setpriv")
}

/// Lays out what the guest reads: its modules, its initramfs, the list of tests.
fn stage(kernel: &Kernel, tests: &[Tests]) -> Result<PathBuf> {
    let stage = kernel.folder.join("stage");
    let text = stage.display().to_string();
    ensure!(!text.contains(char::is_whitespace), "{text}: a kernel's command line takes no blank");
    let modules = stage.join("lib/modules");
    if !modules.join(&kernel.version).join("modules.dep").exists() {
        std::fs::create_dir_all(&modules)?;
        run(Command::new("cp").arg("-r").arg(kernel.modules()?.join(&kernel.version)).arg(&modules))?;
        run(Command::new("depmod").arg("-b").arg(&stage).arg(&kernel.version))?;
    }
    initramfs(kernel, &stage)?;
    std::fs::write(stage.join("run"), RUN)?;
    let mut list = String::new();
    for test in tests {
        let option = if test.measures { "--nocapture" } else { "--color=never" };
        // Writing to a string cannot fail.
        let _ = writeln!(list, "{} {} {} {option}", test.label, test.folder.display(), test.binary.display());
    }
    std::fs::write(stage.join("tests"), list)?;
    Ok(stage)
}

fn initramfs(kernel: &Kernel, stage: &Path) -> Result<()> {
    let root = stage.join("initramfs.root");
    if root.exists() {
        std::fs::remove_dir_all(&root)?;
    }
    for folder in ["bin", "modules", "proc", "dev", "host", "scratch", "root"] {
        std::fs::create_dir_all(root.join(folder))?;
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).context("busybox-static is missing")?;
    std::os::unix::fs::symlink("busybox", root.join("bin/sh"))?;
    std::fs::write(root.join("init"), INIT)?;
    std::fs::set_permissions(root.join("init"), std::fs::Permissions::from_mode(0o755))?;
    for (number, module) in first_modules(kernel, stage)?.iter().enumerate() {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        let to = root.join("modules").join(format!("{number:02}-{name}"));
        std::fs::copy(module, &to)?;
        if name.ends_with(".xz") {
            run(Command::new("xz").arg("--decompress").arg(&to))?;
        }
    }
    let pack = "find . | cpio --quiet -o -H newc | gzip -1 >../initramfs";
    run(Command::new("sh").args(["-ec", pack]).current_dir(&root))
}

/// The modules in the order in which they are to be loaded.
fn first_modules(kernel: &Kernel, stage: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("modprobe")
        .arg("-d")
        .arg(stage)
        .args(["-S", &kernel.version, "--show-depends", "-a"])
        .args(FIRST_MODULES)
        .output()
        .context("cannot start modprobe")?;
    ensure!(output.status.success(), "modprobe: {}", String::from_utf8_lossy(&output.stderr));
    let mut modules = Vec::new();
    // What is built in is told as such.
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some(path) = line.strip_prefix("insmod ").map(|path| PathBuf::from(path.trim()))
            && !modules.contains(&path)
        {
            modules.push(path);
        }
    }
    Ok(modules)
}
