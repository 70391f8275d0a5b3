//! What people read when something cannot be done. Each sentence names the object and says what to do.

use std::net::IpAddr;

use shoal_ipam::{AllocateError, Notice};
use shoal_types::{IpNet, NetworkName};

use crate::{Networks, Refusal};

/// Docker's own IPAM driver was used.
pub(crate) fn other_ipam_driver() -> Refusal {
    Refusal(
        "a shoal network takes its addresses from shoal too, or two hosts would hand out one address twice: use \
         \"shoal network create NAME\" or \"docker network create -d shoal --ipam-driver shoal NAME\""
            .into(),
    )
}

/// The pool is not one that the driver gave out.
pub(crate) fn unknown_pool(pool: &str) -> Refusal {
    Refusal(format!("address pool {pool} is not known to shoal (any more): create the network again"))
}

/// The engine names a network that was never created here.
pub(crate) fn unknown_network(docker: &str) -> Refusal {
    let short: String = docker.chars().take(12).collect();
    Refusal(format!(
        "network {short} is not known to shoal: remove it with \"docker network rm {short}\" and run \"shoal network \
         create NAME\""
    ))
}

/// The network's name has not been read from the engine yet.
pub(crate) fn name_pending() -> Refusal {
    Refusal(
        "the network was made a moment ago and its name has not been read from Docker yet: try again".into(),
    )
}

/// The fabric has this name for another network.
pub(crate) fn name_in_use(name: &NetworkName, docker: &str) -> String {
    let short: String = docker.chars().take(12).collect();
    format!(
        "the fabric already has a network \"{name}\", and this one was made beside it: remove it with \"docker network rm \
         {short}\"; \"shoal network create {name}\" puts the fabric's network on this host"
    )
}

/// A network of another name took the pools of one that was being put on this host.
pub(crate) fn mistaken(view: &crate::EngineView) -> String {
    let short: String = view.docker.chars().take(12).collect();
    format!(
        "network \"{}\" was made while the fabric's network with the same subnet was put on this host: remove it with \
         \"docker network rm {short}\" and make it again",
        view.name
    )
}

/// Another network, made on another host at the same time, has the name.
pub(crate) fn outnamed(name: &NetworkName, docker: &str, creator: &str) -> String {
    let short: String = docker.chars().take(12).collect();
    format!(
        "two networks were made under the name \"{name}\" on hosts that did not hear each other, and the one made on host \
         {creator} keeps it: detach the containers of this one and remove it with \"docker network rm {short}\"; the other \
         one then takes its place on this host"
    )
}

/// A network that lost its name is used nowhere any more.
pub(crate) fn nameless_deleted(name: &NetworkName) -> String {
    format!(
        "of two networks called \"{name}\" the one that lost the name is used nowhere any more and was deleted"
    )
}

/// The engine's network of that name is another one of the fabric.
pub(crate) fn name_held(docker: &str) -> String {
    let short: String = docker.chars().take(12).collect();
    format!(
        "Docker on this host has another network under this name: detach its containers and remove it with \"docker network \
         rm {short}\"; the fabric's network then takes its place"
    )
}

/// The fabric has the network, and only the driver was told its name.
pub(crate) fn bind_with_both_options(name: &NetworkName) -> Refusal {
    Refusal(format!(
        "the fabric already has a network \"{name}\": \"shoal network create {name}\" puts it on this host, and so does \
         \"docker network create\" with --ipam-opt shoal.network={name} beside -o shoal.network={name}"
    ))
}

/// A deleted network that the engine keeps.
pub(crate) fn cannot_remove(docker: &str, reason: &str) -> String {
    let short: String = docker.chars().take(12).collect();
    format!(
        "a network was deleted from the fabric, but Docker on this host keeps it ({reason}): its containers here reach nobody; \
         detach them with \"docker network disconnect {short} CONTAINER\", and it is removed within a minute"
    )
}

/// The engine asked for a network and never showed it.
pub(crate) fn never_seen(docker: &str) -> String {
    let short: String = docker.chars().take(12).collect();
    format!(
        "network {short} was asked for by Docker, but Docker does not show it under a name that the fabric can use (letters, \
         digits, \"_\", \".\" and \"-\"): if it exists, remove it with \"docker network rm {short}\" and choose another name"
    )
}

/// Other hosts could not read the network's definition.
pub(crate) fn cannot_tell(name: &str, error: &shoal_schema::DecodeError) -> Refusal {
    Refusal(format!(
        "network {name} cannot be told to the other hosts: {error}; give it fewer or shorter options and labels"
    ))
}

/// Another host made a network of that name, with a clock that is ahead.
pub(crate) fn waits(name: &NetworkName, host: &str) -> Refusal {
    Refusal(format!(
        "host {host} made a network \"{name}\", but its clock is ahead of this one's, or this one's is slow: set both by a time \
         server, and the network appears here by itself"
    ))
}

/// An address of a container that still exists.
pub(crate) fn address_in_use(address: IpAddr, container: &str) -> Refusal {
    Refusal(format!(
        "address {address} is in use by container \"{container}\" on this host: choose another one"
    ))
}

/// dockerd refuses the pool and asks again and again.
pub(crate) fn pool_refused_by_docker(name: &NetworkName, prefix: IpNet) -> Refusal {
    Refusal(format!(
        "Docker does not take subnet {prefix} of network \"{name}\", because a route of this host overlaps it: \"shoal network \
         create {name}\" puts the network on this host all the same"
    ))
}

/// Two creations with the same pool would be indistinguishable.
pub(crate) fn equal_pool_pending(prefix: IpNet) -> Refusal {
    Refusal(format!(
        "another network with subnet {prefix} is being created right now: try again in a moment, or name the network with \
         --ipam-opt shoal.network=NAME -o shoal.network=NAME"
    ))
}

/// An endpoint was let go without dockerd's asking.
pub(crate) fn endpoint_gone(endpoint: &shoal_types::EndpointId) -> String {
    format!("Docker no longer knows endpoint {}: it was let go", endpoint.short())
}

impl Networks {
    /// Why an address cannot be had.
    pub(crate) fn no_address(
        &self,
        name: &NetworkName,
        error: &AllocateError,
        wish: Option<IpAddr>,
    ) -> Refusal {
        let wished = wish.map_or_else(|| "an address".into(), |address| address.to_string());
        Refusal(match error {
            AllocateError::OwnedBy { owner: host, .. } => format!(
                "address {wished} of network \"{name}\" is in host {}'s range; it has been asked to give it to this host: try \
                 again in a moment",
                self.host_name(*host)
            ),
            other => format!("network \"{name}\" has no address for this container: {other}"),
        })
    }

    /// What two facts disagree on.
    pub(crate) fn address_notice(&self, notice: &Notice) -> String {
        match notice {
            Notice::Clash { first, last, kept, ignored, .. } => format!(
                "addresses {first} to {last} are owned by host {} and claimed by host {}: one of them was restored from an old \
                 backup",
                self.host_name(*kept),
                self.host_name(*ignored)
            ),
            Notice::Lost { first, last, author, to, .. } => format!(
                "addresses {first} to {last} of this host were given to host {} by host {}: this host was restored from an old \
                 backup, or host {} is at fault",
                self.host_name(*to),
                self.host_name(*author),
                self.host_name(*author)
            ),
            Notice::PrefixChanged { kept, ignored, .. } => {
                format!(
                    "an edit changed subnet {kept} to {ignored}; it was ignored: a network's subnets are fixed"
                )
            }
        }
    }
}
