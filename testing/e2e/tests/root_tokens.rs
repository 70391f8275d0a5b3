//! Join tokens: open until they end, are revoked on any host, or somebody who knew them is forgotten.

use std::time::Duration;

use anyhow::{Result, ensure};
use shoal_e2e::{Fabric, Features, scenarios};
use shoal_netbed::{Bed, Host, eventually};

scenarios! {
    a_token_is_revoked_on_any_host_and_ends_with_a_host_that_is_forgotten,
}

/// Waits until a host lists exactly these tokens.
fn lists(host: &Host, names: &[&str]) -> Result<()> {
    eventually(&format!("{} to list {names:?}", host.name()), Duration::from_secs(5), || {
        let told = host.shoal_json("token list")?;
        let listed: Vec<_> = told.as_array().into_iter().flatten().map(|it| it["name"].as_str()).collect();
        ensure!(listed == names.iter().copied().map(Some).collect::<Vec<_>>(), "{told}");
        Ok(())
    })
}

fn a_token_is_revoked_on_any_host_and_ends_with_a_host_that_is_forgotten(features: Features) -> Result<()> {
    let fabric = Fabric::unjoined(Bed::builder(3), features)?;
    let (one, two, joiner) = (fabric.host(1), fabric.host(2), fabric.host(3));
    one.shoal("init")?;
    let (first, second) = (fabric.token("--ttl 1h")?, fabric.token("--ttl 2h")?);
    two.shoal(&format!("join {} {first}", one.address()))?;
    let names = one.shoal_json("token list")?;
    let [first_name, second_name] =
        [0, 1].map(|at| names[at]["name"].as_str().unwrap_or_default().to_owned());
    lists(two, &[&first_name, &second_name])?;
    ensure!(two.shoal(&format!("token revoke {first_name}"))?.trim() == first_name);
    lists(one, &[&second_name])?;
    let join = |token: &str| -> Result<String> {
        joiner.try_shoal(&format!("join {} {token}", one.address()))?.refused()
    };
    let told = join(&first)?;
    ensure!(told.contains("does not know this join token: it was revoked"), "{told}");
    one.shoal("forget h2")?;
    lists(one, &[])?;
    let told = join(&second)?;
    ensure!(told.contains("does not know this join token: it was revoked"), "{told}");
    let told = one.try_shoal(&format!("token revoke {second_name}"))?.refused()?;
    ensure!(told.contains("has no open token"), "{told}");
    joiner.shoal(&format!("join {} {}", one.address(), fabric.token("")?)).map(drop)
}
