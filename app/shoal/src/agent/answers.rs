//! What the operator is shown, made from the fabric's views and the kernel's counters.

use std::collections::BTreeMap;

use shoal_api::{
    Answer, ClearDevice, Docker, EncryptedEnd, Encrypter, Encryption, Endpoint, EndpointCounts, Endpoints,
    FabricInfo, Here, Host, HostState, HostTunnel, Network, NetworkCount, Notices, OpenToken, Reach, Relayed,
    Status, Subnet, ThisHost, Traffic, TransportInfo, TunnelInfo, Way,
};
use shoal_fabric::HostSummary;
use shoal_networks::{EndpointRecord, Naming, is_in_clear};
use shoal_plan::Backend;
use shoal_planner::link_names;
use shoal_ports::{Counters, LinkCounters};
use shoal_schema::{EndpointFact, NetworkSpec};
use shoal_transport::{PeerStatus, RelayTraffic};
use shoal_tunnels::{OtherEnd, Own, tunnel_address};
use shoal_types::{HostId, HostName, NetworkId};

use super::owner::{Agent, Goal};

impl Agent {
    pub(crate) fn status(&mut self, counters: &Counters) -> Status {
        let fabric = &self.fabric;
        let (local, networks, hosts) = (fabric.local(), fabric.networks(), fabric.hosts());
        let alive = hosts.iter().filter(|host| host.state != shoal_fabric::HostState::Down).count();
        let info = fabric.identity().map(|identity| FabricInfo {
            id: identity.fabric,
            hosts: count(hosts.len()),
            alive: count(alive),
        });
        let settled = networks.docker_networks().filter(|docker| docker.naming == Naming::Settled).count();
        let connected = self.parts.transport.peers().iter().filter(|peer| peer.connected).count();
        let uptime = self.parts.clock.now().since(self.started);
        let settings = &self.parts.settings;
        Status {
            host: ThisHost {
                id: fabric.me(),
                name: local.name.clone(),
                version: local.version.clone(),
                uptime_s: uptime.as_secs(),
            },
            fabric: info,
            transport: TransportInfo {
                relayed: relayed(self.parts.transport.relay_traffic()),
                listen: Some(self.parts.transport.local_addr()),
                advertise: local.addresses.clone(),
                peers: count(connected),
            },
            tunnel: self.tunnel_info(),
            docker: Docker {
                socket: settings.docker_socket.clone(),
                reachable: self.engine.is_some(),
                why: self
                    .engine
                    .is_none()
                    .then(|| format!("Docker does not answer on {}", settings.docker_socket.display())),
                version: self.engine.clone().filter(|version| !version.is_empty()),
                plugin_socket: settings.plugin_socket.clone(),
            },
            networks: NetworkCount { total: count(networks.catalog().iter().count()), here: count(settled) },
            endpoints: EndpointCounts {
                local: count(networks.endpoints().count()),
                remote: count(networks.remote_endpoints().count()),
            },
            settings: settings.shown(),
            losses: self.losses(counters),
            notices: self.notices.iter().chain(&settings.notices).cloned().collect(),
        }
    }

    /// Everything that was lost since the start, by name.
    fn losses(&self, counters: &Counters) -> BTreeMap<String, u64> {
        let tally = &self.tally;
        let mut losses = BTreeMap::from([
            ("kernel changes refused".to_owned(), tally.kernel_refusals),
            ("kernel differences mended".to_owned(), tally.kernel_mended),
            ("writes the disk refused".to_owned(), tally.failed_writes),
            ("messages given up while the disk said nothing".to_owned(), tally.messages_given_up),
            ("peers refused by this host".to_owned(), tally.peers_refused),
            ("refusals of this host by peers".to_owned(), tally.refused_by_peers),
            ("messages of unknown kinds".to_owned(), self.fabric.unknown_messages()),
        ]);
        for (name, number) in self.parts.transport.counters().named() {
            losses.insert(format!("transport: {name}"), number);
        }
        if let Some(stats) = self.fabric.facts_stats() {
            for (reason, number) in &stats.discarded {
                losses.insert(format!("facts discarded: {reason:?}"), *number);
            }
        }
        for (reason, number) in &counters.tunnel_drops {
            losses.insert(format!("tunnel: {reason}"), *number);
        }
        for (reason, number) in &counters.encryption_drops {
            losses.insert(format!("encryption: {reason}"), *number);
        }
        losses
    }

    pub(crate) fn hosts(&self) -> Vec<Host> {
        let peers: BTreeMap<HostId, PeerStatus> =
            self.parts.transport.peers().into_iter().map(|peer| (peer.host, peer)).collect();
        let mut hosts: Vec<Host> =
            self.fabric.hosts().into_iter().map(|host| self.host(&host, peers.get(&host.id))).collect();
        hosts.sort_by_key(|host| (host.state != HostState::This, host.name.clone(), host.id));
        hosts
    }

    fn host(&self, host: &HostSummary, peer: Option<&PeerStatus>) -> Host {
        let state = match host.state {
            shoal_fabric::HostState::Myself => HostState::This,
            shoal_fabric::HostState::Alive => HostState::Alive,
            shoal_fabric::HostState::Down if peer.is_some_and(|peer| peer.connected) => HostState::Alive,
            shoal_fabric::HostState::Down => HostState::Down,
        };
        let now = self.parts.clock.now();
        let quic = match peer {
            Some(peer) if peer.connected => Reach::Ok,
            Some(PeerStatus { last_error: Some(why), .. }) => Reach::Unreachable { why: why.clone() },
            _ => Reach::Unknown,
        };
        let end = self.fabric.tunnels().of(host.id).into_iter().find(|end| end.serving);
        let wireguard = end.as_ref().and_then(|end| self.host_tunnel(host.id, end));
        let own = self.fabric.tunnels().serving().filter(|_| state == HostState::This);
        let tunnel_port = end.map(|end| end.port).or(own.map(Own::port));
        let reach = |path| super::probe::reach(path, host, tunnel_port.unwrap_or_default());
        let tunnel = self.paths.get(&host.id).map_or(Reach::Unknown, reach);
        Host {
            id: host.id,
            name: host.fact.name.clone(),
            addresses: host.fact.addresses.clone(),
            quic_port: host.fact.quic_port,
            tunnel_port,
            state,
            version: host.fact.version.clone(),
            path_mtu: host.path_mtu,
            quic,
            tunnel,
            behind_nat: self.fabric.tunnels().is_behind_nat(host.id),
            wireguard,
            rtt_us: peer.and_then(|peer| peer.rtt).and_then(|rtt| u64::try_from(rtt.as_micros()).ok()),
            last_seen_ms: host.heard.and_then(|heard| u64::try_from(now.since(heard).as_millis()).ok()),
        }
    }

    /// How packets for a host's end leave this one.
    fn way(&self, host: HostId) -> Way {
        if !self.fabric.tunnels().is_relayed(host, self.parts.clock.now()) {
            return Way::Direct;
        }
        match self.parts.transport.relayed_by(host) {
            None => Way::Broken,
            Some(via) if via == host => Way::Agents,
            Some(via) => Way::Relay { host: self.fabric.networks().host_name(via) },
        }
    }

    fn host_tunnel(&self, host: HostId, end: &OtherEnd) -> Option<HostTunnel> {
        let status = self.fabric.tunnels().status(host, self.parts.clock.now())?;
        Some(HostTunnel {
            key: end.key.to_string(),
            endpoint: status.endpoint,
            endpoint_observed: status.endpoint.is_some_and(|at| self.fabric.tunnels().is_observed(host, at)),
            way: self.way(host),
            last_handshake_s: status.handshake.map(|age| age.as_secs()),
            received_bytes: status.received_bytes,
            sent_bytes: status.sent_bytes,
        })
    }

    fn tunnel_info(&self) -> TunnelInfo {
        let (tunnels, applied) = (self.fabric.tunnels(), &self.kernel.expected().tunnels);
        let wall = self.parts.clock.wall();
        let encrypted =
            tunnels.serving().zip(self.fabric.sending_device()).map(|(end, device)| EncryptedEnd {
                port: end.port(),
                address: tunnel_address(self.fabric.me(), end.generation),
                by: match end.making.backend {
                    Backend::Kernel => Encrypter::Kernel,
                    Backend::UserSpace => Encrypter::UserSpace,
                },
                key: end.keys.key.to_string(),
                key_age_s: wall.since(end.made).as_secs(),
                up: applied.contains_key(&device),
                device,
            });
        let clear_device = |(device, port)| ClearDevice { port, up: applied.contains_key(&device), device };
        let in_clear = self.fabric.networks().catalog().iter().filter(|(_, spec)| is_in_clear(spec));
        TunnelInfo {
            encrypted,
            key_changing: tunnels.own().count() > 1,
            clear: self.fabric.clear_device().map(clear_device),
            clear_networks: in_clear.map(|(_, spec)| spec.name.clone()).collect(),
        }
    }

    pub(crate) fn open_tokens(&self) -> Vec<OpenToken> {
        let wall = self.parts.clock.wall();
        let open = self.fabric.open_tokens(wall).into_iter().map(|token| OpenToken {
            name: token.name,
            made_by: self.fabric.networks().host_name(token.made_by),
            expires_at: token.expires,
            expires_in_s: token.expires.since(wall).as_secs(),
        });
        open.collect()
    }

    pub(crate) fn network_list(&self) -> Vec<Network> {
        let mut networks: Vec<Network> =
            self.fabric.networks().catalog().iter().map(|(id, spec)| self.network(id, spec)).collect();
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        networks
    }

    fn network(&self, id: NetworkId, spec: &NetworkSpec) -> Network {
        let networks = self.fabric.networks();
        let local = networks.endpoints().filter(|endpoint| endpoint.network == id).count();
        let remote = networks.remote_endpoints().filter(|(_, fact)| fact.network == id).count();
        let off = networks.uses_of(id).filter(|(host, used)| used.off && *host != self.fabric.me());
        let subnet = |subnet: &shoal_schema::Subnet| Subnet {
            prefix: subnet.prefix,
            gateway: subnet.gateway,
            ip_range: subnet.dynamic,
            reserved: subnet.reserved.clone(),
        };
        Network {
            name: spec.name.clone(),
            id,
            vni: spec.vni.get(),
            subnets: spec.subnets.iter().map(subnet).collect(),
            internal: spec.internal,
            labels: spec.labels.clone(),
            options: spec.options.clone(),
            creator: networks.host_name(spec.creator),
            encryption: if is_in_clear(spec) { Encryption::Off } else { Encryption::On },
            endpoints_local: count(local),
            endpoints_total: count(local + remote),
            absent_on: off.filter_map(|(host, _)| networks.host_name(host).parse().ok()).collect(),
            here: self.here(id),
        }
    }

    fn here(&self, id: NetworkId) -> Here {
        let networks = self.fabric.networks();
        let docker = networks.docker_networks().find(|docker| docker.network == id);
        match (docker, networks.engine_failure(id)) {
            (Some(docker), _) => match &docker.naming {
                Naming::Settled => Here::Present,
                Naming::Pending(_) => Here::Pending,
                Naming::Refused(why) => Here::Refused { why: why.clone() },
            },
            (None, _) if networks.is_off(id) => Here::Off,
            (None, Some(why)) => Here::Refused { why: why.to_owned() },
            (None, None) => Here::Pending,
        }
    }

    pub(crate) fn endpoints(&self, counters: &Counters) -> Endpoints {
        let networks = self.fabric.networks();
        let mine = networks.endpoints().filter_map(|record| self.local_endpoint(record, counters));
        let theirs = networks.remote_endpoints().filter_map(|(host, fact)| self.remote_endpoint(host, fact));
        let mut endpoints: Vec<Endpoint> = mine.chain(theirs).collect();
        endpoints.sort_by_key(|it| (it.network.clone(), it.host.clone(), it.v4, it.v6));
        Endpoints { endpoints, tunnel_drops: named(&counters.tunnel_drops) }
    }

    fn local_endpoint(&self, record: &EndpointRecord, counters: &Counters) -> Option<Endpoint> {
        let network = self.fabric.networks().catalog().get(record.network)?.name.clone();
        let (link, _) = link_names(&record.endpoint);
        let traffic = counters.links.get(&link).map(traffic);
        Some(Endpoint {
            network,
            host: self.fabric.local().name.clone(),
            container: record.container.clone(),
            endpoint: record.endpoint.clone(),
            v4: record.v4,
            v6: record.v6,
            mac: record.mac,
            link: Some(link),
            local: true,
            traffic,
        })
    }

    fn remote_endpoint(&self, host: HostId, fact: &EndpointFact) -> Option<Endpoint> {
        let networks = self.fabric.networks();
        let name: HostName = networks.host_name(host).parse().ok()?;
        Some(Endpoint {
            network: networks.catalog().get(fact.network)?.name.clone(),
            host: name,
            container: fact.container.clone(),
            endpoint: fact.endpoint.clone(),
            v4: fact.v4,
            v6: fact.v6,
            mac: fact.mac,
            link: None,
            local: false,
            traffic: None,
        })
    }

    /// The answer to an operator who waited for the engine.
    pub(crate) fn reached(&self, network: NetworkId, goal: Goal) -> Answer {
        match (goal, self.fabric.networks().catalog().get(network)) {
            (Goal::Present, Some(spec)) => self.network(network, spec).into(),
            _ => Notices::default().into(),
        }
    }
}

fn traffic(counters: &LinkCounters) -> Traffic {
    Traffic {
        sent_packets: counters.sent_packets,
        sent_bytes: counters.sent_bytes,
        received_packets: counters.received_packets,
        received_bytes: counters.received_bytes,
        drops: named(&counters.drops),
    }
}

fn named(drops: &BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    drops.iter().map(|(reason, number)| ((*reason).to_owned(), *number)).collect()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn relayed(traffic: RelayTraffic) -> Relayed {
    let RelayTraffic { sent, delivered, passed_on, copied } = traffic;
    Relayed { sent, delivered, passed_on, copied }
}
