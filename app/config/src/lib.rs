//! The agent's settings: flags, then environment, then the configuration file, then defaults.
//!
//! ```text
//!  --quic-port 7373    SHOAL_QUIC_PORT=7373    quic_port = 7373          (default)
//!        flags      >       environment     >  /etc/shoal/config.toml  >   7373
//! ```
//!
//! A [`Key`] describes each setting once: its name in the file, from which flag and variable follow, and how its value
//! is read. [`resolve`] is pure; only [`load`] reads the environment and the file. Every setting remembers where its
//! value came from, so that `shoal status` can show it. Unknown keys are refused with the nearest known one.

mod error;
mod file;
mod key;
mod span;
mod value;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shoal_api::{Setting, SettingSource};
use shoal_types::HostName;

pub use error::{ConfigError, place};
pub use key::{KEYS, Key};
pub use span::{parse_span, span_text};
pub use value::{Feature, LogLevel, Raw};

/// Where the configuration file is unless `--config` or `SHOAL_CONFIG` names another.
pub const DEFAULT_FILE: &str = "/etc/shoal/config.toml";

/// How every variable of ours begins.
const PREFIX: &str = "SHOAL_";

/// The variable that names the configuration file.
pub const FILE_VARIABLE: &str = "SHOAL_CONFIG";

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Folder of the agent's durable state. Absolute.
    pub state_dir: PathBuf,
    /// Folder in a BPF file system where programs and maps are pinned. Absolute.
    pub pin_dir: PathBuf,
    /// Socket of the admin API. Absolute, at most [`value::SOCKET_PATH_MAX`] bytes.
    pub socket: PathBuf,
    /// Socket on which Docker asks Shoal; Docker must find it as the driver `shoal`. As `socket`.
    pub plugin_socket: PathBuf,
    /// Docker's own socket. As `socket`.
    pub docker_socket: PathBuf,
    /// UDP port of QUIC, not 0.
    pub quic_port: u16,
    /// UDP port of VXLAN in clear. Not 0; the ports all differ.
    pub vxlan_port: u16,
    /// UDP port of encrypted tunnels; the next one is theirs too.
    pub wireguard_port: u16,
    /// UDP port on the loopback device where the agent takes packets for ends that cannot be met.
    pub relay_port: u16,
    /// How long a key of encrypted tunnels is used.
    pub key_lifetime: Duration,
    /// How long this host waits for word of another one before it votes that the other's addresses may be taken over.
    pub lease: Duration,
    /// What the names of tunnel devices begin with.
    pub tunnel_device: String,
    /// Underlay addresses told to the other hosts, the preferred one first, at most 8; empty: chosen by the agent.
    pub advertise: Vec<IpAddr>,
    /// The host's name; `None`: the machine's host name.
    pub name: Option<HostName>,
    /// What is logged.
    pub log_level: LogLevel,
    /// Kernel features that are not used though the kernel has them.
    pub features_off: Vec<Feature>,
    /// MTU of containers' links, bytes, 1,280 to 65,485; `None`: from the underlay.
    pub mtu: Option<u16>,
    /// Sentences about the settings that the user should read.
    pub notices: Vec<String>,
    /// Where each setting came from, by key; one that is missing here is at its default.
    sources: BTreeMap<&'static str, SettingSource>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            state_dir: "/var/lib/shoal".into(),
            pin_dir: "/sys/fs/bpf/shoal".into(),
            socket: shoal_api::DEFAULT_SOCKET.into(),
            plugin_socket: "/run/docker/plugins/shoal.sock".into(),
            docker_socket: "/run/docker.sock".into(),
            quic_port: 7373,
            vxlan_port: 7374,
            wireguard_port: 7375,
            relay_port: 7377,
            key_lifetime: shoal_tunnels::KEY_LIFETIME,
            lease: shoal_leases::LEASE,
            tunnel_device: "shoal".into(),
            advertise: Vec::new(),
            name: None,
            log_level: LogLevel::Info,
            features_off: Vec::new(),
            mtu: None,
            notices: Vec::new(),
            sources: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Every setting in force with its source, in the order of [`KEYS`], as `shoal status` shows them.
    pub fn shown(&self) -> Vec<Setting> {
        let source = |key: &Key| self.sources.get(key.name).cloned().unwrap_or(SettingSource::Default);
        KEYS.iter()
            .map(|key| Setting { key: key.name.to_owned(), value: (key.show)(self), source: source(key) })
            .collect()
    }
}

/// The configuration file as text, and where it is.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// The path, for messages.
    pub path: &'a Path,
    /// What it holds.
    pub text: &'a str,
}

/// Decides what is in force. `flags` holds what was typed, by key; `environment` may hold anything.
///
/// # Errors
/// The first setting that is unknown or whose value cannot be used, with its place; or two that exclude each other.
pub fn resolve(
    flags: &BTreeMap<&'static str, Raw>,
    environment: &BTreeMap<String, String>,
    file: Option<File<'_>>,
) -> Result<Settings, ConfigError> {
    let mut settings = Settings::default();
    let in_file = file.map(|file| file::read(&file)).transpose()?.unwrap_or_default();
    for key in KEYS {
        let flag =
            flags.get(key.name).map(|raw| (SettingSource::Flag { flag: key.flag.to_owned() }, raw.clone()));
        let given =
            flag.or_else(|| from_environment(key, environment)).or_else(|| in_file.get(key.name).cloned());
        if let Some((source, raw)) = given {
            (key.set)(&mut settings, &raw).map_err(|problem| ConfigError::new(&source, key.name, problem))?;
            settings.sources.insert(key.name, source);
        }
    }
    // A file's value is checked even where a flag outranks it: the flag may be gone at the next start.
    for (name, (source, raw)) in &in_file {
        let key = KEYS.iter().find(|key| key.name == *name);
        let outcome = key.map_or(Ok(()), |key| (key.set)(&mut Settings::default(), raw));
        outcome.map_err(|problem| ConfigError::new(source, name, problem))?;
    }
    settings.notices = unknown_variables(environment);
    check_together(&settings)?;
    Ok(settings)
}

/// Reads the environment and the file, then decides.
///
/// # Errors
/// As [`resolve`]; also a file that cannot be read. The usual file need not exist, one that was named must.
pub fn load(flags: &BTreeMap<&'static str, Raw>, file: Option<&Path>) -> Result<Settings, ConfigError> {
    let environment = environment();
    let named = file.map(PathBuf::from).or_else(|| environment.get(FILE_VARIABLE).map(PathBuf::from));
    let path = named.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => None,
        Err(error) => return Err(ConfigError::unreadable(&path, &error)),
    };
    resolve(flags, &environment, text.as_deref().map(|text| File { path: &path, text }))
}

/// The variables whose name and value are text; an empty one counts as not set.
fn environment() -> BTreeMap<String, String> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os()
        .filter_map(text)
        .filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty())
        .collect()
}

fn from_environment(key: &Key, environment: &BTreeMap<String, String>) -> Option<(SettingSource, Raw)> {
    let variable = key.variable();
    let value = environment.get(&variable).filter(|value| !value.is_empty())?;
    Some((SettingSource::Environment { variable }, Raw::Text(value.clone())))
}

/// Variables that look like settings but are none. Not an error: the environment is not ours alone.
fn unknown_variables(environment: &BTreeMap<String, String>) -> Vec<String> {
    let known: Vec<String> = KEYS.iter().map(Key::variable).chain([FILE_VARIABLE.to_owned()]).collect();
    let unknown = environment.keys().filter(|name| name.starts_with(PREFIX) && !known.contains(name));
    let words = |name: &str| name.trim_start_matches(PREFIX).to_lowercase();
    unknown
        .map(|name| {
            let nearest = error::nearest(&words(name), KEYS.iter().map(|key| key.name));
            let nearest = KEYS.iter().find(|key| Some(key.name) == nearest).map(Key::variable);
            let meant = nearest.map(|known| format!("; the nearest setting is {known}")).unwrap_or_default();
            format!("The environment variable {name} is not a setting and has no effect{meant}.")
        })
        .collect()
}

/// Settings that are right alone and wrong together.
fn check_together(settings: &Settings) -> Result<(), ConfigError> {
    let ports = [
        ("quic_port", settings.quic_port),
        ("vxlan_port", settings.vxlan_port),
        ("wireguard_port", settings.wireguard_port),
        ("the port after wireguard_port", settings.wireguard_port.saturating_add(1)),
        ("relay_port", settings.relay_port),
    ];
    for (at, (name, port)) in ports.iter().enumerate() {
        if let Some((other, _)) = ports[at + 1..].iter().find(|(_, other)| other == port) {
            return Err(ConfigError::together(format!(
                "{name} and {other} are both {port}: each needs a UDP port of its own"
            )));
        }
    }
    let sockets = [
        ("socket", &settings.socket),
        ("plugin_socket", &settings.plugin_socket),
        ("docker_socket", &settings.docker_socket),
    ];
    for (at, (name, path)) in sockets.iter().enumerate() {
        if let Some((other, _)) = sockets[at + 1..].iter().find(|(_, other)| other == path) {
            let path = path.display();
            return Err(ConfigError::together(format!(
                "{name} and {other} are both {path}: they must differ"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
