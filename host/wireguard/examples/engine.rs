//! The engine as a process, for tests and benchmarks: `engine DEVICE CONTROL ADDRESS MTU [WORKERS]`.

use std::env;

use anyhow::{Context, bail};
use shoal_wireguard::{Options, run};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [device, control, address, mtu, workers @ ..] = &arguments[..] else {
        bail!("usage: engine DEVICE CONTROL ADDRESS MTU [WORKERS]");
    };
    let options = Options {
        device: device.clone(),
        control: control.into(),
        address: address.parse().context("ADDRESS")?,
        mtu: mtu.parse().context("MTU")?,
        workers: workers.first().map(|workers| workers.parse()).transpose().context("WORKERS")?,
    };
    Ok(run(&options)?)
}
