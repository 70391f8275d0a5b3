//! `shoal network create NAME`: Docker's flags, sorted by subnet.

use std::collections::BTreeMap;
use std::net::IpAddr;

use shoal_api::{Command, Network, NetworkCreate, SubnetRequest};
use shoal_networks::{ENCRYPTION_OFF, ENCRYPTION_OPTION};
use shoal_types::IpNet;

use super::{CommandError, Exit, Session};
use crate::cli::args;

/// Makes it and prints its name, as Docker prints an id; where its subnets lie goes to stderr.
pub(super) async fn run(args: args::NetworkCreate, session: &mut Session<'_>) -> Result<Exit, CommandError> {
    let wanted = request(args).map_err(CommandError::usage)?;
    let network: Network = session.ask(&Command::NetworkCreate(wanted)).await?;
    for subnet in &network.subnets {
        session.note(&format!("Subnet {}, gateway {}.", subnet.prefix, subnet.gateway));
    }
    session.say(&format!("{}\n", network.name))?;
    Ok(Exit::Success)
}

/// Puts each gateway, range and reserved address to the subnet in which it lies.
fn request(args: args::NetworkCreate) -> Result<NetworkCreate, String> {
    let plain = |prefix| SubnetRequest { prefix, gateway: None, ip_range: None, aux: BTreeMap::new() };
    let mut subnets: Vec<SubnetRequest> = args.subnet.into_iter().map(plain).collect();
    for gateway in args.gateway {
        let subnet = holder(&mut subnets, gateway, &format!("the gateway {gateway}"))?;
        if let Some(first) = subnet.gateway.replace(gateway) {
            return Err(format!("the subnet {} is given two gateways, {first} and {gateway}", subnet.prefix));
        }
    }
    for range in args.ip_range {
        let subnet = range_holder(&mut subnets, range)?;
        if let Some(first) = subnet.ip_range.replace(range) {
            return Err(format!("the subnet {} is given two ranges, {first} and {range}", subnet.prefix));
        }
    }
    for (name, address) in args.aux_address {
        let subnet = holder(&mut subnets, address, &format!("the address {address} of \"{name}\""))?;
        if subnet.aux.insert(name.clone(), address).is_some() {
            return Err(format!("\"{name}\" is given two addresses in the subnet {}", subnet.prefix));
        }
    }
    let mut options: BTreeMap<String, String> = args.opt.into_iter().collect();
    if args.plaintext {
        let wanted = options.insert(ENCRYPTION_OPTION.to_owned(), ENCRYPTION_OFF.to_owned());
        if let Some(other) = wanted.filter(|value| value != ENCRYPTION_OFF) {
            return Err(format!("--plaintext contradicts the option {ENCRYPTION_OPTION}={other}"));
        }
    }
    Ok(NetworkCreate {
        name: args.name,
        subnets,
        ipv6: args.ipv6,
        internal: args.internal,
        labels: args.label.into_iter().collect(),
        options,
    })
}

fn holder<'a>(
    subnets: &'a mut [SubnetRequest],
    address: IpAddr,
    what: &str,
) -> Result<&'a mut SubnetRequest, String> {
    let found = subnets.iter_mut().find(|subnet| subnet.prefix.contains(&address));
    found.ok_or_else(|| format!("{what} lies in no subnet that is given with --subnet"))
}

fn range_holder(subnets: &mut [SubnetRequest], range: IpNet) -> Result<&mut SubnetRequest, String> {
    let found = subnets.iter_mut().find(|subnet| subnet.prefix.contains(&range));
    found.ok_or_else(|| format!("the range {range} lies in no subnet that is given with --subnet"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Args, NetworkCommand, Typed};

    fn typed(line: &str) -> Result<NetworkCreate, String> {
        let words = format!("shoal network create {line}");
        let args = Args::try_parse_from(words.split(' ')).map_err(|error| error.to_string())?;
        match args.command {
            Typed::Network(NetworkCommand::Create(args)) => request(*args),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn every_flag_of_docker_goes_to_the_subnet_in_which_it_lies() {
        let request = typed(
            "shop --subnet 10.1.0.0/16 --subnet fd00:1::/64 --gateway fd00:1::1 --gateway 10.1.0.9 \
             --ip-range 10.1.4.0/24 --aux-address printer=10.1.0.7 --ipv6 --internal --label a=b --label c -o x=y",
        )
        .unwrap();
        assert_eq!(request.subnets.len(), 2);
        assert_eq!(request.subnets[0].gateway, Some("10.1.0.9".parse().unwrap()));
        assert_eq!(request.subnets[0].ip_range, Some("10.1.4.0/24".parse().unwrap()));
        assert_eq!(request.subnets[0].aux["printer"], "10.1.0.7".parse::<IpAddr>().unwrap());
        assert_eq!(request.subnets[1].gateway, Some("fd00:1::1".parse().unwrap()));
        assert!(request.ipv6 && request.internal);
        assert_eq!(request.labels, [("a".into(), "b".into()), ("c".into(), String::new())].into());
        assert_eq!(request.options, [("x".into(), "y".into())].into());
    }

    #[test]
    fn plaintext_is_an_option_that_must_not_be_contradicted() {
        let expected: BTreeMap<String, String> = [("shoal.encryption".into(), "off".into())].into();
        assert_eq!(typed("shop --plaintext").unwrap().options, expected);
        assert_eq!(typed("shop --plaintext -o shoal.encryption=off").unwrap().options, expected);
        let refused = typed("shop --plaintext -o shoal.encryption=on");
        assert_eq!(refused, Err("--plaintext contradicts the option shoal.encryption=on".into()));
    }

    #[test]
    fn what_lies_in_no_subnet_is_refused_with_its_address() {
        let table = [
            ("shop --gateway 10.2.0.1", "the gateway 10.2.0.1 lies in no subnet that is given with --subnet"),
            (
                "shop --subnet 10.1.0.0/16 --ip-range 10.0.0.0/8",
                "the range 10.0.0.0/8 lies in no subnet that is given with --subnet",
            ),
            (
                "shop --subnet 10.1.0.0/16 --aux-address a=10.2.0.1",
                "the address 10.2.0.1 of \"a\" lies in no subnet that is given with --subnet",
            ),
            (
                "shop --subnet 10.1.0.0/16 --gateway 10.1.0.1 --gateway 10.1.0.2",
                "the subnet 10.1.0.0/16 is given two gateways, 10.1.0.1 and 10.1.0.2",
            ),
            (
                "shop --subnet 10.1.0.0/16 --aux-address a=10.1.0.1 --aux-address a=10.1.0.2",
                "\"a\" is given two addresses in the subnet 10.1.0.0/16",
            ),
        ];
        for (line, expected) in table {
            assert_eq!(typed(line), Err(expected.to_owned()), "{line}");
        }
    }
}
