//! What may be typed. Doc comments here are the text of `--help`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use shoal_types::{HostName, IpNet, NetworkName};

use super::flags::SettingFlags;
use super::parse::{self, Member};
use crate::output::Format;

/// One network for the containers of plain Docker hosts
#[derive(Debug, Parser)]
#[command(name = "shoal", version, max_term_width = 110, after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Typed,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done; 1 failed, or doctor found differences; 2 wrong command line or configuration; 3 agent not reached.

Start a fabric with `shoal init`, print a token with `shoal token`, and on the next host run `shoal join`.";

/// What every command takes.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Global {
    /// The agent's socket [default: /run/shoal/agent.sock] [env: SHOAL_SOCKET]
    #[arg(long, global = true, display_order = 900, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) socket: Option<PathBuf>,
    /// The configuration file [default: /etc/shoal/config.toml] [env: SHOAL_CONFIG]
    #[arg(long, global = true, display_order = 901, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
}

/// A command.
#[derive(Debug, Subcommand)]
pub(crate) enum Typed {
    /// Run the agent of this host (what `systemctl start shoal` does)
    Agent(SettingFlags),
    /// Encrypt for a tunnel device of the agent's, which starts this by itself
    #[command(hide = true)]
    Wireguard(Wireguard),
    /// Start a fabric of which this host is the first
    Init(Init),
    /// Print a token with which another host may join, alone on the last line; list and revoke open ones
    Token(Token),
    /// Join the fabric of another host
    Join(Join),
    /// Take this host out of its fabric
    Leave,
    /// Put another host out of the fabric for good
    Forget {
        /// Its name, its id, or the first digits of its id
        host: String,
    },
    /// Give this host a new key for encrypted tunnels, without losing a packet
    RotateKey,
    /// Show this host at a glance: fabric, ports, Docker, settings, losses
    Status(List),
    /// List the hosts of the fabric
    Hosts(List),
    /// Make, list and delete networks
    #[command(subcommand)]
    Network(NetworkCommand),
    /// List the endpoints of all hosts, with traffic and drops of this host's
    Endpoints(List),
    /// List which host owns which addresses
    Addresses(List),
    /// Compare kernel, Docker and facts; exits with 1 if they differ
    Doctor(List),
    /// Print everything that is counted or measured, for a scraper (OpenMetrics)
    Metrics,
    /// Print the version of this program and of the running agent
    Version(List),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// What every list takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct List {
    /// How to print
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub(crate) output: Format,
}

/// The process that encrypts where the kernel has no WireGuard.
#[derive(Debug, ClapArgs)]
pub(crate) struct Wireguard {
    /// The TAP device
    #[arg(long)]
    pub(crate) device: String,
    /// This host's address in the tunnel
    #[arg(long)]
    pub(crate) address: Ipv4Addr,
    /// The socket on which it is configured
    #[arg(long, value_name = "PATH")]
    pub(crate) control: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Init {
    /// This host's name in the fabric [default: as set, else the machine's host name]
    #[arg(long)]
    pub(crate) name: Option<HostName>,
}

#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Token {
    #[command(subcommand)]
    pub(crate) command: Option<TokenCommand>,
    /// How long it is valid: a number with s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = shoal_config::parse_span)]
    pub(crate) ttl: Duration,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// List the tokens with which hosts may join now, from whichever host they are
    #[command(visible_alias = "ls")]
    List(List),
    /// End open tokens at once, on every host
    Revoke {
        /// Their names, as the list has them, or the tokens themselves
        #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "TOKEN")]
        tokens: Vec<String>,
        /// Every open token
        #[arg(long)]
        all: bool,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Join {
    /// A host of the fabric, by name or address; an IPv6 address with a port stands in brackets
    #[arg(value_name = "ADDR[:PORT]", value_parser = parse::member)]
    pub(crate) member: Member,
    /// What `shoal token` printed there
    pub(crate) token: String,
    /// Underlay address at which other hosts reach this one; may be given several times, the preferred one first
    #[arg(long, value_name = "ADDR")]
    pub(crate) advertise: Vec<IpAddr>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Make a network on every host, or put one back that is off this host
    Create(Box<NetworkCreate>),
    /// List the networks
    #[command(visible_alias = "ls")]
    List(List),
    /// Remove a network everywhere; refused while a container uses it
    #[command(visible_alias = "rm")]
    Delete {
        /// The networks
        #[arg(required = true, value_name = "NAME")]
        names: Vec<NetworkName>,
    },
}

/// The flags of `docker network create`.
#[derive(Debug, ClapArgs)]
pub(crate) struct NetworkCreate {
    /// Its name, the same on every host
    pub(crate) name: NetworkName,
    /// A subnet; may be given several times [default: chosen, clear of every host's routes]
    #[arg(long, value_name = "PREFIX", value_parser = parse::prefix)]
    pub(crate) subnet: Vec<IpNet>,
    /// The gateway of the subnet in which it lies [default: the subnet's first address]
    #[arg(long, value_name = "ADDR")]
    pub(crate) gateway: Vec<IpAddr>,
    /// Choose addresses only from this part of the subnet in which it lies
    #[arg(long, value_name = "PREFIX", value_parser = parse::prefix)]
    pub(crate) ip_range: Vec<IpNet>,
    /// Keep an address free for something else
    #[arg(long, value_name = "NAME=ADDR", value_parser = parse::named_address)]
    pub(crate) aux_address: Vec<(String, IpAddr)>,
    /// Carry IPv6 too
    #[arg(long)]
    pub(crate) ipv6: bool,
    /// No way out of the network
    #[arg(long)]
    pub(crate) internal: bool,
    /// Send its packets between hosts in clear: whoever can read the underlay can read them
    #[arg(long)]
    pub(crate) plaintext: bool,
    /// Set a label
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse::pair)]
    pub(crate) label: Vec<(String, String)>,
    /// Set a driver option
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = parse::pair)]
    pub(crate) opt: Vec<(String, String)>,
}
