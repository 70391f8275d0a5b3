//! From this machine: its configuration, its Docker, its disk.

use shoal_containers::DockerAnswer;

use super::{Seeds, numbered};
use crate::fabric::{founder, joined};
use crate::join;

pub(crate) fn configuration_files() -> Seeds {
    let texts = [
        "# nothing is set\n",
        r#"name = "host-1"
advertise = ["192.0.2.1", "2001:db8::1"]
quic_port = 7_373
vxlan_port = 0x1cce
key_lifetime = "1d12h"
tunnel_device = "shoal1"
mtu = "1400"
state_dir = "/srv/shoal"
pin_dir = "/sys/fs/bpf/other"
socket = "/run/other/agent.sock"
plugin_socket = "/run/docker/plugins/other.sock"
docker_socket = "/run/other/docker.sock"
log_level = "debug"
features_off = ["map-batch", "redirect-peer"]
"#,
        "features_off = \"map-batch, redirect-peer\"\nadvertise = \"192.0.2.1\"\n",
        "quick_port = 7373\n",
        "[agent]\nmtu = 1\n",
        "quic_port = 7374\n",
    ];
    numbered(texts.map(|text| text.as_bytes().to_vec()))
}

/// Each preceded by the number of its question.
pub(crate) fn docker_answers() -> Seeds {
    let network = r#"{"Name":"shop","Id":"d0cce2","Scope":"local","Driver":"shoal","EnableIPv6":true,"IPAM":{"Driver":"shoal",
        "Options":{"shoal.network":"shop"},"Config":[{"Subnet":"10.77.0.0/16","Gateway":"10.77.0.1"},{"Subnet":"fd77::/64"}]},
        "Internal":true,"Containers":{"c0ffee":{"Name":"db","EndpointID":"ab","MacAddress":"02:00:00:00:00:01",
        "IPv4Address":"10.77.0.2/16","IPv6Address":""}},"Options":{"shoal.mtu":"1300"},"Labels":{"a":"b"}}"#;
    let container = r#"{"Id":"c0ffee","Names":["/web/db","/db"],"State":"running","NetworkSettings":{"Networks":{"shop":{
        "IPAMConfig":{"IPv4Address":"10.77.0.2"},"NetworkID":"d0cce2","EndpointID":"ab","IPAddress":"10.77.0.2"}}}}"#;
    let event = r#"{"Type":"network","Action":"connect","Actor":{"ID":"d0cce2","Attributes":{"container":"c0ffee","name":"shop"}},
        "scope":"local","time":1763000000}"#;
    let inspected = container.replace(r#""Names":["/web/db","/db"],"State":"running""#, r#""Name":"/db""#);
    let answers = DockerAnswer::ALL.map(|question| match question {
        DockerAnswer::Networks => format!("[{network},{{}}]"),
        DockerAnswer::Network => network.to_owned(),
        DockerAnswer::Containers => format!("[{container},{{}}]"),
        DockerAnswer::Container => inspected.clone(),
        DockerAnswer::Event => event.to_owned(),
    });
    let with_number = (0_u8..).zip(answers).map(|(number, json)| [&[number], json.as_bytes()].concat());
    numbered(with_number)
}

/// The disk of a host alone in its fabric, and of one that another has joined.
pub(crate) fn stored_states() -> Seeds {
    let mut founder = founder();
    let alone = founder.disk.clone();
    joined(&mut founder, 3);
    let state = |disk: std::collections::BTreeMap<Vec<u8>, Vec<u8>>| {
        let parts: Vec<&[u8]> =
            disk.iter().flat_map(|(key, value)| [key.as_slice(), value.as_slice()]).collect();
        join(&parts)
    };
    vec![("alone".to_owned(), state(alone)), ("joined".to_owned(), state(founder.disk))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_s_answers_are_understood() {
        for ((_, bytes), question) in docker_answers().iter().zip(DockerAnswer::ALL) {
            assert!(question.read(&bytes[1..]).is_ok_and(|things| things > 0), "{question:?}");
        }
    }
}
