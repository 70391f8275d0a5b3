//! What a real dockerd asked of a driver through the lives of three networks and two containers, asked again.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use crate::Dockerd;

/// The calls of a dockerd 20.10.24: verb, body and answer of the driver of that day, one call a line.
const RECORDED: &str = include_str!("../../../../doors/docker/tests/data/recorded.txt");

/// The address space of the driver of that day.
const SPACE_THEN: &str = "MockLocal";

/// The verbs whose answers come back in later bodies.
const CHOOSING: [&str; 2] = ["IpamDriver.RequestPool", "IpamDriver.RequestAddress"];

pub(super) async fn what_a_dockerd_once_asked_is_answered_as_it_was(dockerd: &Dockerd) -> Result<()> {
    let mut now = Translation::new(dockerd);
    for line in RECORDED.lines().filter(|line| !line.starts_with('#')) {
        let mut parts = line.splitn(3, ' ');
        let (verb, body) = parts.next().zip(parts.next()).context("a recorded line without a body")?;
        let answer = parts.next().unwrap_or("{}");
        // What that driver refused was its own affair.
        if answer.starts_with("refused") {
            continue;
        }
        let body = if body == "-" { Value::Null } else { serde_json::from_str(body)? };
        let body = now.translate(body);
        let given = dockerd.must(verb, &body).await?;
        if CHOOSING.contains(&verb) {
            now.learn(&serde_json::from_str(answer)?, &given);
        }
        match verb {
            "NetworkDriver.CreateNetwork" => created(dockerd, &body, &now).await?,
            "NetworkDriver.DeleteNetwork" => {
                dockerd.hidden(body["NetworkID"].as_str().unwrap_or_default());
            }
            _ => {}
        }
    }
    Ok(())
}

/// A network was made: it shows in Docker's API, and the next call waits until it gives addresses, as its user does.
async fn created(dockerd: &Dockerd, body: &Value, now: &Translation<'_>) -> Result<()> {
    let data =
        ["IPv4Data", "IPv6Data"].into_iter().flat_map(|key| body[key].as_array().into_iter().flatten());
    let subnets: Vec<String> = data.filter_map(|data| data["Pool"].as_str().map(str::to_owned)).collect();
    dockerd.shown(body["NetworkID"].as_str().unwrap_or_default(), &subnets);
    let first = subnets.first().context("a recorded network without a subnet")?;
    dockerd.settled(now.pool_of(first)?).await
}

/// From the words of that day to those of this driver.
struct Translation<'a> {
    dockerd: &'a Dockerd,
    words: BTreeMap<String, String>,
    pools: BTreeMap<String, String>,
}

impl<'a> Translation<'a> {
    fn new(dockerd: &'a Dockerd) -> Self {
        let words = BTreeMap::from([(SPACE_THEN.to_owned(), dockerd.space().to_owned())]);
        Self { dockerd, words, pools: BTreeMap::new() }
    }

    /// Notes what was chosen then and is chosen now: pools, addresses with their prefix length and without.
    fn learn(&mut self, then: &Value, now: &Value) {
        for key in ["PoolID", "Pool", "Address"] {
            let (Some(then), Some(now)) = (then[key].as_str(), now[key].as_str()) else { continue };
            self.words.insert(then.to_owned(), now.to_owned());
            if let (Some((then, _)), Some((now, _))) = (then.split_once('/'), now.split_once('/'))
                && key == "Address"
            {
                self.words.insert(then.to_owned(), now.to_owned());
            }
        }
        if let (Some(prefix), Some(pool)) = (now["Pool"].as_str(), now["PoolID"].as_str()) {
            self.pools.insert(prefix.to_owned(), pool.to_owned());
        }
    }

    fn pool_of(&self, prefix: &str) -> Result<&str> {
        self.pools.get(prefix).map(String::as_str).with_context(|| format!("no pool {prefix} was asked for"))
    }

    fn translate(&mut self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.word(text)),
            Value::Array(all) => all.into_iter().map(|value| self.translate(value)).collect(),
            Value::Object(all) => {
                let all: Map<_, _> =
                    all.into_iter().map(|(key, value)| (key, self.translate(value))).collect();
                Value::Object(all)
            }
            other => other,
        }
    }

    /// Ids of networks and endpoints are drawn anew, so that a driver may be asked twice.
    fn word(&mut self, text: String) -> String {
        let is_id = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_id && !self.words.contains_key(&text) {
            self.words.insert(text.clone(), self.dockerd.draw());
        }
        self.words.get(&text).cloned().unwrap_or(text)
    }
}
