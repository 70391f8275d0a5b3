//! The operator's commands.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shoal_api::{Answer, Command, Failure, Join, NetworkCreate, Notices};
use shoal_fabric::Introduction;
use shoal_links::Survey;
use shoal_networks::{EngineRequest, NetworkRequest, SubnetRequest};
use shoal_plan::Observed;
use shoal_ports::{Counters, KernelError, Write};
use shoal_transport::{JoinRequest, Joined, PORT_DEFAULT};
use shoal_trust::Token;
use shoal_types::{HostName, Moment, NetworkName};
use tokio::sync::oneshot;

use super::audit::in_time;
use super::disk::After;
use super::owner::{Agent, Goal, look_around};
use super::projection::Look;
use super::{Input, machine, secrets};

/// Where the name given with `init` and the addresses given with `join` are kept.
const LOCAL_KEY: &[u8] = b"agent/local";

/// How long a deletion of a network waits for containers to be gone.
const DELETE_PATIENCE: Duration = Duration::from_secs(1);

/// A deletion that was refused a moment ago.
pub(crate) struct PendingDelete {
    name: NetworkName,
    pub(crate) until: Moment,
    reply: Reply,
}

/// Where an answer goes.
pub(crate) type Reply = oneshot::Sender<Result<Answer, Failure>>;

/// An answer to an operator, who is told once what it says is kept.
pub(crate) struct Told {
    answer: Answer,
    reply: Reply,
}

impl Told {
    pub(crate) fn send(self) {
        let _ = self.reply.send(Ok(self.answer));
    }

    /// It was not kept.
    pub(crate) fn refuse(self, reason: &str) {
        let _ = self.reply.send(Err(Failure::internal(reason)));
    }
}

/// What was seen of the kernel for a command.
pub(crate) enum Seen {
    State(Look, Result<Observed, KernelError>),
    Counters(Counters),
}

/// What an operator said of this host while making it a member.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Said {
    name: Option<HostName>,
    advertise: Vec<IpAddr>,
    /// The addresses were found while joining: they hold only as long as this machine has them.
    #[serde(default)]
    found: bool,
}

/// The name that was given with `shoal init --name`.
pub(crate) fn stored_name(stored: &[(Vec<u8>, Vec<u8>)]) -> Option<HostName> {
    said(stored)?.name
}

/// The addresses that were given with `shoal join --advertise`, or found while joining and still on this machine: a
/// host that moved has others.
pub(crate) fn stored_advertise(stored: &[(Vec<u8>, Vec<u8>)], survey: &Survey) -> Option<Vec<IpAddr>> {
    let said = said(stored)?;
    let holds = !said.found || machine::holds_all(survey, &said.advertise);
    Some(said.advertise).filter(|addresses| holds && !addresses.is_empty())
}

fn said(stored: &[(Vec<u8>, Vec<u8>)]) -> Option<Said> {
    let (_, bytes) = stored.iter().find(|(key, _)| key == LOCAL_KEY)?;
    serde_json::from_slice(bytes).ok()
}

impl Agent {
    /// Carries a command out; its answer may come later.
    pub(crate) fn command(&mut self, command: Command, reply: Reply) {
        let changed = match command {
            Command::Join(join) => return self.join(join, reply),
            Command::NetworkCreate(request) => return self.network_create(request, reply),
            Command::NetworkDelete { name } => return self.network_delete(name, reply),
            Command::Status | Command::Endpoints | Command::Doctor => return self.look_for(command, reply),
            Command::Hosts
            | Command::NetworkList
            | Command::Addresses
            | Command::TokenList
            | Command::Version => return drop(reply.send(Ok(self.known(&command)))),
            Command::Init { name } => self.init(name),
            Command::Token { ttl_s } => self.token(ttl_s),
            Command::TokenRevoke { token } => self.revoke_tokens(token.as_deref()),
            Command::Leave => self.leave(),
            Command::Forget { host } => self.forget(&host),
            Command::RotateKey => self.rotate_key(),
        };
        self.tell(changed, reply);
    }

    /// Answers an operator once what was changed is kept.
    fn tell(&mut self, changed: Result<Answer, Failure>, reply: Reply) {
        match changed {
            Ok(answer) => self.once_kept(After::Tell(Told { answer, reply })),
            Err(failure) => drop(reply.send(Err(failure))),
        }
    }

    /// What this agent knows without asking anybody.
    fn known(&self, command: &Command) -> Answer {
        match command {
            Command::Hosts => self.hosts().into(),
            Command::NetworkList => self.network_list().into(),
            Command::Addresses => self.addresses().into(),
            Command::TokenList => self.open_tokens().into(),
            _ => shoal_api::Version { version: env!("CARGO_PKG_VERSION").into() }.into(),
        }
    }

    /// Looks at the kernel for a command that shows it. The loop goes on meanwhile.
    fn look_for(&mut self, command: Command, reply: Reply) {
        let inputs = self.parts.inputs.clone();
        if command == Command::Doctor {
            let (look, observed) = (self.kernel.look(), self.parts.kernel.observe());
            tokio::spawn(async move {
                let seen = Seen::State(look, in_time(observed).await);
                inputs.send(Input::Shown(command, Box::new(seen), reply)).await
            });
        } else {
            let counters = self.parts.kernel.counters();
            tokio::spawn(async move {
                let seen = Seen::Counters(in_time(counters).await.unwrap_or_default());
                inputs.send(Input::Shown(command, Box::new(seen), reply)).await
            });
        }
    }

    /// Answers a command with what was seen for it.
    pub(crate) fn show(&mut self, command: &Command, seen: Seen, reply: Reply) {
        let answer = match seen {
            Seen::State(look, observed) => return self.doctor(look, observed, reply),
            Seen::Counters(counters) if *command == Command::Endpoints => self.endpoints(&counters).into(),
            Seen::Counters(counters) => self.status(&counters).into(),
        };
        let _ = reply.send(Ok(answer));
    }

    fn init(&mut self, name: Option<HostName>) -> Result<Answer, Failure> {
        if self.fabric.identity().is_some() {
            return Err(
                Failure::conflict("this host belongs to a fabric already").hint("run `shoal leave` first")
            );
        }
        self.say(&Said { name, advertise: self.parts.settings.advertise.clone(), found: false })?;
        let (root, write) = secrets::new_root().map_err(Failure::internal)?;
        let effects = self.fabric.init(&root, self.at()).map_err(Failure::conflict)?;
        self.ledger.keep([write]);
        self.perform(effects);
        self.look_at_engine();
        Ok(self.joined_answer().into())
    }

    fn token(&mut self, ttl_s: u64) -> Result<Answer, Failure> {
        let secret = secrets::random().map_err(Failure::internal)?;
        let made = self.fabric.token(secret, Duration::from_secs(ttl_s), self.at());
        let (token, effects) = made.map_err(Failure::conflict)?;
        self.perform(effects);
        let local = self.fabric.local();
        let (addresses, quic_port) = (local.addresses.clone(), local.quic_port);
        let (name, expires_at) = (token.name(), token.expires());
        Ok(shoal_api::Token { token: token.reveal(), name, expires_at, addresses, quic_port }.into())
    }

    fn revoke_tokens(&mut self, which: Option<&str>) -> Result<Answer, Failure> {
        let (names, effects) = self.fabric.revoke_tokens(which, self.at()).map_err(Failure::conflict)?;
        self.perform(effects);
        Ok(names.into())
    }

    fn leave(&mut self) -> Result<Answer, Failure> {
        let effects = self.fabric.leave(self.at()).map_err(Failure::conflict)?;
        self.ledger.keep([secrets::drop_root()]);
        self.perform(effects);
        self.paths.clear();
        self.probe();
        Ok(Notices::default().into())
    }

    fn rotate_key(&mut self) -> Result<Answer, Failure> {
        let effects = self.fabric.rotate_keys(self.at()).map_err(Failure::conflict)?;
        self.perform(effects);
        Ok(Notices::default().into())
    }

    fn forget(&mut self, host: &str) -> Result<Answer, Failure> {
        let ended = self.fabric.open_tokens(self.parts.clock.wall()).len();
        let (_, effects) = self.fabric.forget(host, self.at()).map_err(Failure::conflict)?;
        self.perform(effects);
        let told = "Join tokens that were open have ended, since that host knew them: `shoal token` makes a new one.";
        let notices = (ended > 0).then(|| told.to_owned()).into_iter().collect();
        Ok(Notices { notices }.into())
    }

    fn network_create(&mut self, request: NetworkCreate, reply: Reply) {
        let name = request.name.clone();
        match self.fabric.create_network(network_request(request), self.at()) {
            Ok((network, effects)) => {
                self.perform(effects);
                self.wait_for(network, name, Goal::Present, reply);
            }
            Err(refusal) => drop(reply.send(Err(Failure::conflict(refusal.0)))),
        }
    }

    /// Docker tells of a removed container a moment after the command has ended, so a network that seems to be in use
    /// is looked at again for [`DELETE_PATIENCE`] before the command is refused.
    fn network_delete(&mut self, name: NetworkName, reply: Reply) {
        self.ask_for_containers(&name);
        let until = self.at().now + DELETE_PATIENCE;
        self.try_delete(PendingDelete { name, until, reply });
    }

    /// Tries deletions again that were refused a moment ago.
    pub(crate) fn try_deletes(&mut self) {
        for pending in std::mem::take(&mut self.deletes) {
            self.try_delete(pending);
        }
    }

    fn ask_for_containers(&self, name: &NetworkName) {
        let networks = self.fabric.networks();
        let Some((id, _)) = networks.catalog().by_name(name) else { return };
        if let Some(here) = networks.docker_networks().find(|docker| docker.network == id) {
            let _ = self.parts.engine.send(EngineRequest::Containers(here.docker.clone()));
        }
    }

    fn try_delete(&mut self, pending: PendingDelete) {
        let PendingDelete { name, until, reply } = pending;
        match self.fabric.delete_network(&name, self.at()) {
            Ok((network, effects)) => {
                self.perform(effects);
                self.wait_for(network, name, Goal::Absent, reply);
            }
            Err(_) if self.is_known(&name) && self.at().now < until => {
                self.deletes.push(PendingDelete { name, until, reply });
            }
            Err(refusal) => {
                let unknown = !self.is_known(&name);
                let failure =
                    if unknown { Failure::not_found(refusal.0) } else { Failure::conflict(refusal.0) };
                drop(reply.send(Err(failure)));
            }
        }
    }

    fn is_known(&self, name: &NetworkName) -> bool {
        self.fabric.networks().catalog().by_name(name).is_some()
    }

    /// Finds out by which of its addresses this host reaches a member, which a name server may take its time for.
    fn join(&self, join: Join, reply: Reply) {
        let inputs = self.parts.inputs.clone();
        tokio::spawn(async move {
            let member = (join.host.as_str(), join.port.unwrap_or(PORT_DEFAULT));
            let target = tokio::net::lookup_host(member).await.ok().and_then(|mut found| found.next());
            let source = target.and_then(machine::source_towards);
            inputs.send(Input::Joining(join, source, reply)).await
        });
    }

    /// Asks a member to let this host in. The loop goes on meanwhile.
    pub(crate) fn join_from(&mut self, join: Join, source: Option<IpAddr>, reply: Reply) {
        let token: Token = match join.token.trim().parse() {
            Ok(token) => token,
            Err(error) => return drop(reply.send(Err(Failure::user(format!("{error}"))))),
        };
        let port = join.port.unwrap_or(PORT_DEFAULT);
        let host = if join.host.contains(':') { format!("[{}]", join.host) } else { join.host.clone() };
        let address = format!("{host}:{port}");
        if let Err(failure) = self.prepare_join(&token, join, source) {
            return drop(reply.send(Err(failure)));
        }
        let local = self.fabric.local();
        let request = JoinRequest {
            name: local.name.clone(),
            addresses: local.addresses.clone(),
            quic_port: local.quic_port,
            vxlan_port: local.tunnels.vxlan_port,
            version: local.version.clone(),
        };
        let (transport, inputs) = (self.parts.transport.clone(), self.parts.inputs.clone());
        tokio::spawn(async move {
            let result = transport.join(&address, &token, &request).await;
            let result = result.map_err(|error| Failure::unavailable(error.to_string()));
            // What it first says of itself to its fabric should be true.
            look_around(inputs.clone()).await;
            let _ = inputs.send(Input::Joined(Box::new(result), reply)).await;
        });
    }

    /// Finds out what this host says of itself. A member of the token's fabric has said it: it only needs another
    /// certificate.
    fn prepare_join(&mut self, token: &Token, join: Join, source: Option<IpAddr>) -> Result<(), Failure> {
        if let Some(identity) = self.fabric.identity() {
            let fabric = identity.fabric;
            return if fabric != token.fabric() {
                let what = format!("this host belongs to another fabric, {}", fabric.short());
                Err(Failure::conflict(what).hint("run `shoal leave` first"))
            } else if !join.advertise.is_empty() {
                let what = "this host belongs to this fabric already and keeps the addresses it advertises";
                Err(Failure::conflict(what).hint("join without --advertise"))
            } else {
                Ok(())
            };
        }
        let found = join.advertise.is_empty() && self.parts.settings.advertise.is_empty();
        let advertise = if join.advertise.is_empty() { self.advertise_first(source) } else { join.advertise };
        self.say(&Said { name: None, advertise, found })
    }

    /// A member let this host in, or not.
    pub(crate) fn joined(&mut self, result: Result<Joined, Failure>, reply: Reply) {
        let changed = result.and_then(|joined| self.take_up(joined));
        self.tell(changed, reply);
    }

    fn take_up(&mut self, joined: Joined) -> Result<Answer, Failure> {
        let introduction = Introduction {
            root_public: joined.root_public,
            certificate: joined.certificate,
            introducer: joined.introducer,
            members: joined.members,
            welcome: joined.welcome,
        };
        let effects = self.fabric.join(introduction, self.at()).map_err(Failure::conflict)?;
        self.perform(effects);
        self.look_at_engine();
        Ok(self.joined_answer().into())
    }

    fn joined_answer(&self) -> shoal_api::Joined {
        let local = self.fabric.local();
        shoal_api::Joined {
            fabric: self
                .fabric
                .identity()
                .map_or(shoal_types::FabricId::new([0; 16]), |identity| identity.fabric),
            host: self.fabric.me(),
            name: local.name.clone(),
            addresses: local.addresses.clone(),
            quic_port: local.quic_port,
            wireguard_port: local.tunnels.making.port,
            hosts: u32::try_from(self.fabric.hosts().len()).unwrap_or(u32::MAX),
            notices: Vec::new(),
        }
    }

    /// Networks of the engine may be waiting to be taken up.
    fn look_at_engine(&self) {
        let _ = self.parts.engine.send(EngineRequest::List);
    }

    /// The addresses this host was told to advertise, by its operator or its configuration.
    pub(crate) fn advertise(&self, survey: &Survey) -> Vec<IpAddr> {
        let stored: Vec<_> = self.kept_under(LOCAL_KEY).unwrap_or_default().into_iter().collect();
        stored_advertise(&stored, survey).unwrap_or_else(|| self.parts.settings.advertise.clone())
    }

    /// The address from which the member is reached comes first; then one of the other family.
    fn advertise_first(&self, source: Option<IpAddr>) -> Vec<IpAddr> {
        let configured = &self.parts.settings.advertise;
        if !configured.is_empty() {
            return configured.clone();
        }
        let known = self.fabric.local().addresses.iter().copied();
        let others =
            known.filter(|address| source.is_none_or(|source| source.is_ipv4() != address.is_ipv4()));
        source.into_iter().chain(others).collect()
    }

    fn say(&mut self, said: &Said) -> Result<(), Failure> {
        let name =
            said.name.clone().or_else(|| self.parts.settings.name.clone()).unwrap_or_else(machine::host_name);
        let advertise = said.advertise.clone();
        let value = serde_json::to_vec(said).map_err(Failure::internal)?;
        self.ledger.keep([Write { key: LOCAL_KEY.to_vec(), value: Some(value) }]);
        let local = self.fabric.local();
        let addresses = if advertise.is_empty() { local.addresses.clone() } else { advertise };
        let (mtu, at) = (local.underlay_mtu, self.at());
        // A host that belongs to no fabric has nothing to publish: no effects come of this.
        drop(self.fabric.set_local(name, addresses, mtu, at));
        Ok(())
    }
}

fn network_request(request: NetworkCreate) -> NetworkRequest {
    let subnet = |it: shoal_api::SubnetRequest| SubnetRequest {
        prefix: it.prefix,
        gateway: it.gateway,
        dynamic: it.ip_range,
        reserved: it.aux,
    };
    let NetworkCreate { name, subnets, ipv6, internal, labels, options } = request;
    let options: BTreeMap<String, String> = options;
    NetworkRequest {
        name,
        subnets: subnets.into_iter().map(subnet).collect(),
        v6: ipv6,
        internal,
        labels,
        options,
    }
}
