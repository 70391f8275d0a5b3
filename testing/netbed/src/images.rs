//! Images made on the spot: from this machine's programs and from Debian's packages, through `docker import`.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::capture::run;
use crate::host::Host;

mod debian;

/// Does nothing and ends at once when asked: a plain `sleep` as first process ignores SIGTERM, and stopping it takes
/// ten seconds.
const IDLE: &str = r#"CMD ["sh", "-c", "trap exit TERM; while :; do sleep 3600 & wait $!; done"]"#;

/// A packed image, ready to be imported on any host.
#[derive(Debug, Clone)]
pub struct Image {
    name: String,
    archive: PathBuf,
    changes: Vec<String>,
}

impl Image {
    /// The name containers are started from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Imports it on a host; does nothing if it is there.
    pub fn load(&self, host: &Host) -> Result<()> {
        if host.run(&["docker", "image", "inspect", &self.name])?.success() {
            return Ok(());
        }
        let archive = self.archive.display().to_string();
        let mut words = vec!["docker", "import"];
        for change in &self.changes {
            words.extend(["--change", change]);
        }
        words.extend([archive.as_str(), self.name.as_str()]);
        host.run_within(&words, Duration::from_secs(300))?.ok().map(drop)
    }
}

/// Busybox, iputils' ping, iperf3 and ip: enough to look at a network from inside. Name: `netbed/tools`.
pub fn tools_image() -> Result<Image> {
    tools("netbed/tools")?.pack()
}

/// The tools and `netbed-probe`, which counts, measures and forges. Name: `netbed/probe`.
pub fn probe_image() -> Result<Image> {
    tools("netbed/probe")?.program(Path::new(&probe_path()?)).pack()
}

/// Where `netbed-probe` lies on this machine, for use outside of containers.
pub fn probe_path() -> Result<String> {
    let path = crate::daemons::built("netbed-probe").context("run `cargo build -p shoal-netbed` first")?;
    Ok(path.display().to_string())
}

fn tools(name: &str) -> Result<Packer> {
    let mut packer = Packer::new(name).busybox().change(IDLE);
    for program in ["ping", "iperf3", "ip"] {
        packer = packer.program(&which(program)?);
    }
    Ok(packer)
}

/// Gathers what goes into an image. Archives are kept in the build folder and used again while nothing has changed.
#[derive(Debug, Clone, Hash)]
pub struct Packer {
    name: String,
    busybox: bool,
    programs: Vec<PathBuf>,
    packages: Vec<String>,
    without: Vec<String>,
    files: Vec<(String, String)>,
    changes: Vec<String>,
}

impl Packer {
    /// Begins an image of this name.
    pub fn new(name: &str) -> Self {
        let (busybox, programs, packages) = (false, Vec::new(), Vec::new());
        let (without, files, changes) = (Vec::new(), Vec::new(), Vec::new());
        Self { name: name.to_owned(), busybox, programs, packages, without, files, changes }
    }

    /// Adds the machine's busybox and a link per applet.
    pub fn busybox(mut self) -> Self {
        self.busybox = true;
        self
    }

    /// Adds a program of this machine with the libraries `ldd` lists, at `/usr/bin`.
    pub fn program(mut self, path: &Path) -> Self {
        self.programs.push(path.to_owned());
        self
    }

    /// Adds a Debian package with everything it depends on, downloaded by `apt-get`; nothing is installed.
    pub fn package(mut self, package: &str) -> Self {
        self.packages.push(package.to_owned());
        self
    }

    /// Leaves out packages whose name begins so, and what only they would bring.
    pub fn without(mut self, prefix: &str) -> Self {
        self.without.push(prefix.to_owned());
        self
    }

    /// Adds an executable text file.
    pub fn file(mut self, path: &str, text: &str) -> Self {
        self.files.push((path.to_owned(), text.to_owned()));
        self
    }

    /// Adds a setting, in the words of a Dockerfile (`CMD`, `ENV`, `USER`).
    pub fn change(mut self, change: &str) -> Self {
        self.changes.push(change.to_owned());
        self
    }

    /// Makes the archive, or finds the one made before.
    pub fn pack(self) -> Result<Image> {
        let cache = cache_folder()?;
        let stem = self.name.replace('/', "-");
        let archive = cache.join(format!("{stem}-{:016x}.tar", self.digest()?));
        if !archive.exists() {
            let stage = cache.join(format!("stage-{}", std::process::id()));
            let packed = self.fill(&stage, &cache).and_then(|()| archive_folder(&stage, &archive));
            fs::remove_dir_all(&stage).context("cannot clear the stage")?;
            packed.with_context(|| format!("cannot pack {}", self.name))?;
            remove_older(&cache, &stem, &archive);
        }
        Ok(Image { name: self.name, archive, changes: self.changes })
    }

    /// What the archive depends on: the recipe and the state of this machine's programs.
    fn digest(&self) -> Result<u64> {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        let busybox = if self.busybox { Some(which("busybox")?) } else { None };
        for path in self.programs.iter().chain(&busybox) {
            let data = fs::metadata(path).with_context(|| format!("{} is missing", path.display()))?;
            (data.len(), data.modified()?).hash(&mut hasher);
        }
        Ok(hasher.finish())
    }

    fn fill(&self, stage: &Path, cache: &Path) -> Result<()> {
        for folder in
            ["usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc", "tmp", "proc", "sys", "dev", "var/run"]
        {
            fs::create_dir_all(stage.join(folder))?;
        }
        fs::set_permissions(stage.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        for merged in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{merged}"), stage.join(merged))?;
        }
        debian::unpack(&self.packages, &self.without, stage, &cache.join("packages"))?;
        if self.busybox {
            add_busybox(stage)?;
        }
        for program in &self.programs {
            add_program(stage, program)?;
        }
        for (path, text) in &self.files {
            let path = stage.join(path.trim_start_matches('/'));
            path.parent().map(fs::create_dir_all).transpose()?;
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }
}

fn add_busybox(stage: &Path) -> Result<()> {
    let busybox = which("busybox").context("install busybox-static")?;
    // Debian has it in two kinds, with libraries and without.
    add_program(stage, &busybox)?;
    for applet in tool("busybox", &["--list"])?.lines() {
        let link = stage.join("usr/bin").join(applet);
        if link.symlink_metadata().is_err() {
            symlink("/usr/bin/busybox", link)?;
        }
    }
    Ok(())
}

fn add_program(stage: &Path, program: &Path) -> Result<()> {
    let name = program.file_name().context("a program has a name")?;
    copy(program, &stage.join("usr/bin").join(name))?;
    for library in libraries(program)? {
        // `/lib` may be a link to `/usr/lib`, here and in the image: the folder's real path is used in both.
        let (folder, name) = (library.parent().context("absolute")?.canonicalize()?, library.file_name());
        let place = stage.join(folder.strip_prefix("/")?);
        fs::create_dir_all(&place)?;
        copy(&library, &place.join(name.context("a library has a name")?))?;
    }
    Ok(())
}

/// Absolute paths in the output of `ldd`; none for a static program.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output =
        run(with_arguments("ldd", &[&program.display().to_string()]), "ldd", Duration::from_secs(10))?;
    Ok(output.stdout.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    // Something may be there already, a link of busybox's for one, which must not be written through.
    let _ = fs::remove_file(to);
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// Under another name first, so that a test that is stopped leaves no half archive.
fn archive_folder(stage: &Path, archive: &Path) -> Result<()> {
    let half = archive.with_extension(format!("half-{}", std::process::id()));
    tool("tar", &["-C", &stage.display().to_string(), "-cf", &half.display().to_string(), "."])?;
    Ok(fs::rename(half, archive)?)
}

/// An archive of an earlier recipe or program is of no more use.
fn remove_older(cache: &Path, stem: &str, archive: &Path) {
    let prefix = format!("{stem}-");
    for path in fs::read_dir(cache).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())) {
        let ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
        if ours && path != archive {
            // Another test may have removed it already.
            let _ = fs::remove_file(path);
        }
    }
}

/// A folder beside the build's output; the machine's temporary folder if the program was not built by cargo.
fn cache_folder() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let target = here.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    let cache = target.map_or_else(std::env::temp_dir, Path::to_owned).join("netbed-images");
    fs::create_dir_all(&cache)?;
    Ok(cache)
}

/// Where a program of this machine lies.
fn which(program: &str) -> Result<PathBuf> {
    let places = ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin"];
    let found = places.iter().map(|place| Path::new(place).join(program)).find(|path| path.is_file());
    found.with_context(|| format!("{program} is not installed here"))
}

fn tool(program: &str, arguments: &[&str]) -> Result<String> {
    let output = run(with_arguments(program, arguments), program, Duration::from_secs(600))?;
    ensure!(output.success(), "{output}");
    Ok(output.stdout)
}

fn with_arguments(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}
