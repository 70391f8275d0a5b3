//! The engine of a test host: it calls the driver as dockerd does, and clears up after a refusal as dockerd does.

use std::net::IpAddr;

use shoal_networks::{EngineReport, EngineRequest, EngineView, PoolData, PoolId, Reply, Verb};
use shoal_types::IpNet;

use crate::host::{Asked, Create, Docker, Host, endpoint, ip, name, net};

impl Host {
    /// `docker network create`: the recorded order of calls, and the engine's own clean-up if one is refused.
    pub(crate) fn create(&mut self, create: &Create) -> Result<String, String> {
        let mut asked = Vec::new();
        let done = self.ask_pools(create, &mut asked).and_then(|()| self.create_network(create, &asked));
        if done.is_err() {
            asked.into_iter().for_each(|(pool, _, gateway)| self.release_pool(&pool, gateway));
        }
        done
    }

    /// RequestPool, then the gateway if the user named one, then the reserved addresses.
    pub(crate) fn ask_pools(&mut self, create: &Create, asked: &mut Vec<Asked>) -> Result<(), String> {
        let given = create.subnets.iter().map(|text| Some(net(text)));
        let mut wanted: Vec<(Option<IpNet>, bool)> = given.map(|pool| (pool, is_v6(pool))).collect();
        for (family, needed) in [(false, true), (true, create.v6)] {
            if needed && !wanted.iter().any(|(_, v6)| *v6 == family) {
                wanted.push((None, family));
            }
        }
        wanted.sort_by_key(|(_, v6)| *v6);
        for (pool, v6) in wanted {
            let options = create.ipam_options.clone();
            let space = "ShoalLocal".to_owned();
            let reply = self.verb(Verb::RequestPool { space, pool, sub_pool: None, options, v6 })?;
            let Reply::Pool { id, prefix, gateway } = reply else { panic!("{reply:?}") };
            let gateway = gateway.unwrap().addr();
            asked.push((id.clone(), prefix, gateway));
            if let Some(wish) = create.gateway.map(ip).filter(|wish| prefix.contains(wish)) {
                self.address(&id, Some(wish), true)?;
                asked.last_mut().unwrap().2 = wish;
            }
            for (_, reserved) in &create.aux {
                self.address(&id, Some(ip(reserved)).filter(|wish| prefix.contains(wish)), false)?;
            }
        }
        Ok(())
    }

    pub(crate) fn create_network(&mut self, create: &Create, asked: &[Asked]) -> Result<String, String> {
        self.dockers_made += 1;
        let docker = format!("{:064x}", u32::from(self.me.bytes()[0]) << 16 | self.dockers_made);
        let pools = asked.iter().map(|(_, prefix, gateway)| PoolData {
            space: "ShoalLocal".into(),
            pool: *prefix,
            gateway: Some(*gateway),
            aux: create
                .aux
                .iter()
                .map(|(name, it)| ((*name).into(), ip(it)))
                .filter(|(_, it)| prefix.contains(it))
                .collect(),
        });
        let (options, internal) = (create.options.clone(), create.internal);
        self.verb(Verb::CreateNetwork {
            network: docker.clone(),
            options,
            internal,
            pools: pools.collect(),
        })?;
        let view = EngineView {
            docker: docker.clone(),
            name: name(&create.name),
            ours: true,
            labels: create.labels.clone(),
            options: create.options.clone(),
            subnets: asked.iter().map(|(_, prefix, _)| *prefix).collect(),
        };
        let pools = asked.iter().map(|(id, prefix, gateway)| (id.clone(), *prefix, Some(*gateway))).collect();
        self.docker.insert(docker.clone(), Docker { view, pools });
        Ok(docker)
    }

    fn release_pool(&mut self, pool: &PoolId, gateway: IpAddr) {
        self.verb(Verb::ReleaseAddress { pool: pool.clone(), address: gateway }).unwrap();
        self.verb(Verb::ReleasePool { pool: pool.clone() }).unwrap();
    }

    /// `docker network rm`.
    pub(crate) fn rm(&mut self, docker: &str) {
        let known = self.docker.remove(docker).expect("the engine has it");
        for (pool, _, gateway) in known.pools {
            self.release_pool(&pool, gateway.unwrap());
        }
        self.verb(Verb::DeleteNetwork { network: docker.into() }).unwrap();
    }

    pub(crate) fn address(
        &mut self,
        pool: &PoolId,
        address: Option<IpAddr>,
        gateway: bool,
    ) -> Result<IpNet, String> {
        match self.verb(Verb::RequestAddress { pool: pool.clone(), address, gateway })? {
            Reply::Address(net) => Ok(net),
            other => panic!("{other:?}"),
        }
    }

    /// `docker run --network`, with `--ip` if `wish`: addresses of each family, endpoint, join.
    pub(crate) fn run(&mut self, docker: &str, n: u32, wish: Option<&str>) -> Result<Vec<IpAddr>, String> {
        let mut held = Vec::new();
        let done = self.attach(docker, n, wish, &mut held);
        if done.is_err() {
            for (pool, address) in held {
                self.verb(Verb::ReleaseAddress { pool, address }).unwrap();
            }
        }
        done
    }

    fn attach(
        &mut self,
        docker: &str,
        n: u32,
        wish: Option<&str>,
        held: &mut Vec<(PoolId, IpAddr)>,
    ) -> Result<Vec<IpAddr>, String> {
        let pools = self.docker[docker].pools.clone();
        let mut nets = [None, None];
        for (pool, prefix, _) in pools {
            let family = usize::from(is_v6(Some(prefix)));
            let wish = wish.map(ip).filter(|wish| wish.is_ipv6() == (family == 1));
            if nets[family].is_some() || wish.is_some_and(|wish| !prefix.contains(&wish)) {
                continue;
            }
            let given = self.address(&pool, wish, false)?;
            held.push((pool, given.addr()));
            nets[family] = Some(given);
        }
        let (network, endpoint) = (docker.to_owned(), endpoint(n));
        let create = Verb::CreateEndpoint {
            network: network.clone(),
            endpoint: endpoint.clone(),
            v4: nets[0],
            v6: nets[1],
            mac: None,
        };
        self.verb(create)?;
        self.verb(Verb::Join { network, endpoint: endpoint.clone(), sandbox: "/run/docker/netns/1".into() })?;
        self.attached.insert(endpoint, (docker.into(), held.clone()));
        Ok(held.iter().map(|(_, address)| *address).collect())
    }

    /// `docker stop`, or the container's process died.
    pub(crate) fn stop(&mut self, n: u32) {
        let endpoint = endpoint(n);
        let (network, held) = self.attached.remove(&endpoint).expect("the container runs");
        self.verb(Verb::Leave { network: network.clone(), endpoint: endpoint.clone() }).unwrap();
        self.verb(Verb::DeleteEndpoint { network, endpoint }).unwrap();
        for (pool, address) in held {
            self.verb(Verb::ReleaseAddress { pool, address }).unwrap();
        }
    }

    pub(crate) fn answer(&mut self, request: EngineRequest) -> EngineReport {
        match request {
            EngineRequest::Read(id) => {
                let view = self.docker.get(&id).map(|docker| docker.view.clone());
                EngineReport::Read(id, view)
            }
            EngineRequest::Create(network) => EngineReport::Created(network.id, self.make(network.spec)),
            EngineRequest::Remove(network, id) => {
                let busy = self.attached.values().any(|(docker, _)| *docker == id);
                let result = if busy { Err("it has active endpoints".to_owned()) } else { Ok(()) };
                if result.is_ok() && self.docker.contains_key(&id) {
                    self.rm(&id);
                }
                EngineReport::Removed(network, id, result)
            }
            EngineRequest::List => EngineReport::Listed(self.views()),
            EngineRequest::Names => {
                let names =
                    self.attached.keys().map(|endpoint| (endpoint.clone(), endpoint.short().to_owned()));
                EngineReport::Names(names.collect())
            }
            EngineRequest::Containers(id) => EngineReport::Containers(id, Vec::new()),
        }
    }

    /// Makes a network of the fabric as the agent has the engine make it.
    fn make(&mut self, spec: shoal_schema::NetworkSpec) -> Result<String, String> {
        let known = self.docker.values().find(|docker| docker.view.name == spec.name);
        if let Some(known) = known {
            let same = spec.subnets.iter().all(|subnet| known.view.subnets.contains(&subnet.prefix));
            return if same {
                Ok(known.view.docker.clone())
            } else {
                Err("Docker has a network of that name".into())
            };
        }
        let leak = |text: String| -> &'static str { text.leak() };
        let create = Create {
            name: spec.name.to_string(),
            subnets: spec.subnets.iter().map(|subnet| leak(subnet.prefix.to_string())).collect(),
            options: spec.options,
            labels: spec.labels,
            internal: spec.internal,
            ..Create::default()
        };
        self.create(&create)
    }
}

fn is_v6(pool: Option<IpNet>) -> bool {
    matches!(pool, Some(IpNet::V6(_)))
}
