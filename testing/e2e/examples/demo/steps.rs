//! The demonstration, step by step.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use shoal_netbed::{Bed, Host, Tally, eventually};

use crate::picture;
use crate::shop::Images;
use crate::stage::Stage;

const PATIENCE: Duration = Duration::from_secs(30);

/// Plays every step in order.
pub(crate) fn all(stage: &mut Stage, bed: &Bed, images: &Images) -> Result<()> {
    lay_out(stage, bed, images)?;
    join(stage, bed)?;
    make_network(stage, bed)?;
    let shop = open_shop(stage, bed)?;
    sell(stage, bed)?;
    look(stage, bed)?;
    kill_agents(stage, bed)?;
    move_redis(stage, bed, &shop)?;
    keep_apart(stage, bed, &shop)
}

/// Addresses of the shop's parts.
struct Shop {
    redis: String,
    postgres: String,
}

fn lay_out(stage: &mut Stage, bed: &Bed, images: &Images) -> Result<()> {
    stage.step("Three plain Docker hosts, each with its own network and mount namespace, dockerd and agent");
    bed.on_each(|host| {
        host.start_agent(&[], &[])?;
        host.start_dockerd()?;
        images.load(host)
    })?;
    let versions = bed.on_each(|host| host.docker("version --format {{.Server.Version}}"))?;
    let hosts: Vec<_> = bed
        .hosts()
        .iter()
        .zip(versions)
        .map(|(host, version)| {
            (
                format!("{} {}", host.name(), host.address()),
                vec![format!("dockerd {version}"), "shoal agent".to_owned()],
            )
        })
        .collect();
    stage.picture(&picture::hosts(&hosts, "a switch, nothing else"));
    stage.proves("dockerd and the agent answer on each; no controller, no Swarm, no store runs anywhere");
    Ok(())
}

fn join(stage: &mut Stage, bed: &Bed) -> Result<()> {
    stage.step("The hosts become one fabric");
    let (first, address) = (bed.host(1), bed.host(1).address());
    stage.shoal(first, "init")?;
    stage.typed(first, "shoal token");
    let printed = first.shoal("token")?;
    let token = printed.lines().last().context("`shoal token` printed nothing")?.trim().to_owned();
    stage.output(&shortened(&token));
    for host in &bed.hosts()[1..] {
        stage.typed(host, &format!("shoal join {address} {}", shortened(&token)));
        stage.output(&host.shoal(&format!("join {address} {token}"))?);
    }
    eventually("three hosts to see each other", PATIENCE, || {
        let states = bed.on_each(|host| host.shoal_json("hosts"))?;
        ensure!(states.iter().all(|hosts| count_alive(hosts) == 3), "{states:?}");
        Ok(())
    })?;
    stage.shoal(bed.host(3), "hosts")?;
    stage.proves(
        "each host sees the two others alive; every connection is mutual TLS under the fabric's own root",
    );
    Ok(())
}

fn make_network(stage: &mut Stage, bed: &Bed) -> Result<()> {
    stage.step("A network made on one host is there on all");
    stage.shoal(bed.host(1), "network create shop --label team=fish")?;
    eventually("the network on every dockerd", PATIENCE, || {
        let names = bed.on_each(|host| host.docker("network ls --format {{.Name}}"))?;
        ensure!(names.iter().all(|names| names.lines().any(|name| name == "shop")), "{names:?}");
        Ok(())
    })?;
    stage.docker(bed.host(3), "network ls --filter driver=shoal")?;
    stage.docker(bed.host(3), "network inspect -f {{.Labels}} shop")?;
    stage.proves("h3's dockerd lists a network that was made on h1, with its label");
    Ok(())
}

fn open_shop(stage: &mut Stage, bed: &Bed) -> Result<Shop> {
    stage.step(
        "A shop opens: each part on another host, found by its address, with no port mapped in between",
    );
    stage.docker(bed.host(1), "run -d --name redis --network shop demo/redis")?;
    stage.docker(bed.host(2), "run -d --name postgres --network shop demo/postgres")?;
    let (redis, _) = bed.host(1).addresses("redis", "shop")?;
    let (postgres, _) = bed.host(2).addresses("postgres", "shop")?;
    eventually("PostgreSQL to serve", PATIENCE, || {
        bed.host(2).run(&["docker", "exec", "postgres", "sh", "-c", "nc -w2 127.0.0.1 5432 -e true"])?.ok()
    })?;
    stage.docker(bed.host(3), &format!(
        "run -d --name front --network shop -p 8080:8080 -e REDIS={redis} -e POSTGRES={postgres} demo/front"
    ))?;
    let (front, _) = bed.host(3).addresses("front", "shop")?;
    eventually("the front to answer", PATIENCE, || visit(bed.host(1), "/"))?;
    let line = |name: &str, address: &str| vec![format!("{name:<9}{address}")];
    let containers = [line("redis", &redis), line("postgres", &postgres), line("front", &front)];
    let titles = bed.hosts().iter().map(|host| format!("{} {}", host.name(), host.address()));
    stage.picture(&picture::hosts(&titles.zip(containers).collect::<Vec<_>>(), "network \"shop\""));
    stage.proves(
        "the front on h3 answers: it reaches Redis on h1 and PostgreSQL on h2, each over its own protocol",
    );
    Ok(Shop { redis, postgres })
}

fn sell(stage: &mut Stage, bed: &Bed) -> Result<()> {
    stage.step("Customers come");
    for fish in ["herring", "sprat", "anchovy", "sardine", "mackerel"] {
        type_visit(stage, bed, &format!("/buy/{fish}"));
        stage.output(&visit(bed.host(1), &format!("/buy/{fish}"))?.to_string());
    }
    let answer = visit(bed.host(1), "/")?;
    ensure!(answer["visitors"] == 5 && answer["sold"] == 5 && answer["latest"] == "mackerel", "{answer}");
    stage.proves(
        "five sales stand in PostgreSQL on h2, five visitors in Redis on h1, told by the front on h3",
    );
    Ok(())
}

fn look(stage: &mut Stage, bed: &Bed) -> Result<()> {
    stage.step("What the agent knows");
    stage.shoal(bed.host(3), "endpoints")?;
    stage.shoal(bed.host(3), "addresses")?;
    stage.shoal(bed.host(3), "doctor")?;
    stage
        .proves("kernel, Docker and facts agree; `shoal status` also says that traffic is not encrypted yet");
    Ok(())
}

fn kill_agents(stage: &mut Stage, bed: &Bed) -> Result<()> {
    stage.step("Every agent is killed with SIGKILL while customers shop");
    let target = bed.host(2).addresses("postgres", "shop")?.0;
    // From the container's namespace, with this machine's own ping: a hundred packets a second across hosts.
    let pid = bed.host(3).docker("inspect -f {{.State.Pid}} front")?;
    let stream =
        bed.host(3).spawn(&["nsenter", "-t", &pid, "-n", "ping", "-i0.01", "-c600", "-W2", &target])?;
    for host in bed.hosts() {
        stage.typed(host, "kill -9 $(pidof shoal)");
        host.kill_agent()?;
    }
    type_visit(stage, bed, "/buy/herring    # twenty times");
    for _ in 0..20 {
        visit(bed.host(1), "/buy/herring")?;
    }
    stage.output(&visit(bed.host(1), "/")?.to_string());
    stage.proves("twenty more customers are served with no agent alive");
    bed.hosts().iter().for_each(|host| stage.typed(host, "shoal agent &"));
    bed.on_each(|host| host.start_agent(&[], &[]))?;
    let tally = Tally::of_ping(&stream.finish(Duration::from_secs(60))?)?;
    ensure!(tally.lost() == 0, "packets were lost: {tally:?}");
    stage.proves(&format!(
        "{} pings were sent from h3 to h2 through kill and start, {} were answered",
        tally.sent, tally.received
    ));
    Ok(())
}

fn move_redis(stage: &mut Stage, bed: &Bed, shop: &Shop) -> Result<()> {
    stage.step("Redis moves to another host and keeps its address");
    stage.docker(bed.host(1), "rm -f redis")?;
    let again = format!("run -d --name redis --network shop --ip {} demo/redis", shop.redis);
    stage.typed(bed.host(2), &format!("docker {again}"));
    eventually("h2 to be given the address", PATIENCE, || {
        let run = bed.host(2).try_docker(&again)?;
        if !run.success() {
            bed.host(2).docker("rm -f redis")?;
        }
        run.ok()
    })?;
    eventually("Redis to serve on h2", PATIENCE, || visit(bed.host(1), "/buy/sprat"))?;
    type_visit(stage, bed, "/buy/sprat");
    let answer = visit(bed.host(1), "/")?;
    stage.output(&answer.to_string());
    ensure!(answer["visitors"] == 1, "a fresh Redis has seen one visitor: {answer}");
    stage.proves(
        "the front reaches the same address on its new host; no stale entry sends packets to the old one",
    );
    Ok(())
}

fn keep_apart(stage: &mut Stage, bed: &Bed, shop: &Shop) -> Result<()> {
    stage.step("Another network cannot look in");
    stage.shoal(bed.host(2), "network create street")?;
    eventually("the street on h1", PATIENCE, || {
        let names = bed.host(1).docker("network ls --format {{.Name}}")?;
        ensure!(names.lines().any(|name| name == "street"), "{names}");
        Ok(())
    })?;
    stage
        .docker(bed.host(1), "run -d --name passer-by --network street --entrypoint sleep demo/redis 3600")?;
    let look = ["sh", "-c", "nc -w2 $0 5432 -e true", &shop.postgres];
    stage.typed(bed.host(1), &format!("docker exec passer-by nc -w2 {} 5432 -e true", shop.postgres));
    bed.host(1).exec("passer-by", &look)?.refused()?;
    stage.output("no answer within two seconds");
    let told = bed.host(1).try_shoal("network delete shop")?.refused()?;
    stage.typed(bed.host(1), "shoal network delete shop");
    stage.output(&told);
    stage.proves(
        "PostgreSQL is out of its reach, and the shop's network cannot be deleted under its containers",
    );
    Ok(())
}

/// Shows what [`visit`] does.
fn type_visit(stage: &Stage, bed: &Bed, path: &str) {
    stage.typed(bed.host(1), &format!("curl http://{}:8080{path}", bed.host(3).address()));
}

/// Asks the front, from a host, as a browser does.
fn visit(host: &Host, path: &str) -> Result<Value> {
    let url = format!("http://172.31.0.3:8080{path}");
    let text = host.run(&["curl", "-fsS", "-m5", &url])?.ok()?;
    serde_json::from_str(&text).with_context(|| format!("the front answered {text}"))
}

fn count_alive(hosts: &Value) -> usize {
    let states = hosts.as_array().into_iter().flatten().map(|host| &host["state"]);
    states.filter(|state| *state == "self" || *state == "alive").count()
}

/// A token as it may be shown: nobody reads it to the end.
fn shortened(token: &str) -> String {
    format!("{}...", token.chars().take(16).collect::<String>())
}
