//! Prints how what hosts need grows with their number: `cargo bench -p shoal-world`, or with sizes as arguments.
//!
//! Each figure comes from a process of its own, so that its memory is only its own. docs/internals/scale.md has the
//! last run and says what is real in it and what is not.
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

use std::process::Command;
use std::time::Duration;

use shoal_fabric::{At, Fabric};
use shoal_planner::plan;
use shoal_types::{Moment, WallTime};
use shoal_world::fleet::{Fleet, Lan, Seeds, connections_bytes_per_second, paths_bytes_per_second};

const SIZES: [usize; 6] = [10, 30, 100, 300, 1_000, 3_000];

/// Endpoints of each host.
const ENDPOINTS: usize = 50;

/// Endpoints that are made one after the other, each on another host.
const CHANGES: usize = 20;

/// Endpoints of one host that an agent takes in while its time is taken: the kernel counts it in steps of milliseconds.
const CHANGES_TIMED: usize = 100;

/// How long an idle fleet is watched.
const WATCHED: Duration = Duration::from_secs(120);

/// When a single agent is looked at.
const AT: At =
    At { now: Moment::from_nanos(1_000_000_000_000), wall: WallTime::from_millis(1_767_226_600_000) };

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["fleet", hosts] => fleet(hosts.parse()?, true),
        ["whole", hosts] => fleet(hosts.parse()?, false),
        ["agent", hosts] => agent(hosts.parse()?),
        ["idle", hosts, bytes] => idle_row(hosts.parse()?, bytes.parse()?),
        [] => tables(&SIZES),
        sizes => tables(&sizes.iter().map(|size| size.parse()).collect::<Result<Vec<usize>, _>>()?),
    }
}

fn tables(sizes: &[usize]) -> Outcome {
    println!("Hosts with {ENDPOINTS} endpoints each, on a LAN.\n");
    println!(
        "| hosts | news: median | 99 % | last | bytes/host | all met after | catch-up | received | CPU, MB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut idle = Vec::new();
    for size in sizes {
        let (row, bytes) = measured("fleet", *size)?;
        println!("{row}");
        idle.push((*size, bytes));
    }
    println!("\nWhat an idle host sends, bytes per second.\n");
    println!("| hosts | membership and facts | connections | paths | all |");
    println!("|---|---|---|---|---|");
    for (size, bytes) in idle {
        idle_row(size, bytes.parse()?)?;
    }
    println!("\nOne whole agent that knows all of them.\n");
    println!("| hosts | holds | peak | starts in | joins in | welcome | a change | the plan |");
    println!("|---|---|---|---|---|---|---|---|");
    for size in sizes {
        println!("{}", measured("agent", *size)?.0);
    }
    Ok(())
}

/// What an idle host sends, of which `bytes` per second were measured.
fn idle_row(size: usize, bytes: f64) -> Outcome {
    let (held, paths) = (connections_bytes_per_second(size), paths_bytes_per_second(size));
    println!("| {size} | {bytes:.0} | {held:.0} | {paths:.0} | {:.0} |", bytes + held + paths);
    Ok(())
}

/// What another process prints: a row and a figure.
fn measured(what: &str, size: usize) -> Outcome<(String, String)> {
    let output = Command::new(std::env::current_exe()?).args([what, &size.to_string()]).output()?;
    if !output.status.success() {
        return Err(format!("{what} {size}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let mut lines = text.lines().map(str::to_owned);
    Ok((lines.next().unwrap_or_default(), lines.next().unwrap_or_default()))
}

/// Many hosts on a LAN. `lean`: see [`Fleet::start`].
fn fleet(hosts: usize, lean: bool) -> Outcome {
    let mut fleet = Fleet::start(Seeds::sow(hosts, ENDPOINTS)?, lean, Lan::default(), 1);
    let met = fleet.converge(Duration::from_secs(300)).ok_or("not all hosts have met within five minutes")?;
    fleet.run(Duration::from_secs(60));
    let idle = idle_bytes_per_second(&mut fleet);
    let (mut delays, mut bytes) = (Vec::new(), 0);
    for change in 0..CHANGES {
        let spread = fleet.spread((change * 7 + 1) % hosts, 9_000 + change)?;
        delays.extend(spread.delays);
        bytes += spread.wire_bytes;
        fleet.run(Duration::from_secs(5));
    }
    delays.sort_unstable();
    let part = |per_mille: usize| ms(delays[(delays.len() - 1) * per_mille / 1_000]);
    fleet.run(Duration::from_secs(30));
    let caught_up = fleet.catch_up(3);
    let time = caught_up.time.ok_or("an empty host has not caught up within a minute")?;
    let per_host = bytes / (CHANGES * hosts) as u64;
    println!(
        "| {hosts} | {} | {} | {} | {per_host} | {:.1} s | {} | {:.1} MB | {:.0} s, {:.0} |",
        part(500),
        part(990),
        part(1_000),
        met.as_secs_f64(),
        ms(time),
        caught_up.received_bytes as f64 / 1e6,
        cpu()?.as_secs_f64(),
        memory("VmHWM")? / 1e6,
    );
    println!("{idle:.0}");
    Ok(())
}

fn idle_bytes_per_second(fleet: &mut Fleet) -> f64 {
    let sent = |fleet: &Fleet| -> u64 { fleet.traffic().iter().map(|traffic| traffic.wire_bytes).sum() };
    let before = sent(fleet);
    fleet.run(WATCHED);
    (sent(fleet) - before) as f64 / WATCHED.as_secs_f64() / fleet.traffic().len() as f64
}

/// One agent that holds everything of so many hosts.
fn agent(hosts: usize) -> Outcome {
    let mut seeds = Seeds::sow(hosts, ENDPOINTS)?;
    let (author, changes) = seeds.changes(hosts - 1, CHANGES_TIMED, AT);
    let empty = memory("VmRSS")?;
    let started = cpu()?;
    let (mut agent, effects) = seeds.open(0, 1, AT);
    drop(effects);
    let starts = cpu()? - started;
    let (wanted, planned) = timed(10, || plan(&agent.view(AT.now)).0)?;
    let holds = memory("VmRSS")? - empty;
    drop(wanted);
    let known = agent.networks().remote_endpoints().count();
    let before = cpu()?;
    for change in &changes {
        drop(agent.message(author, change, AT));
    }
    let changed = (cpu()? - before) / u32::try_from(changes.len())?;
    if agent.networks().remote_endpoints().count() != known + CHANGES_TIMED {
        return Err("the changes were not all taken in".into());
    }
    let (joins, welcome) = join(&seeds, &agent)?;
    let peak = memory("VmHWM")? - empty;
    println!(
        "| {hosts} | {:.0} MB | {:.0} MB | {} | {} | {:.1} MB | {} | {} |",
        holds / 1e6,
        peak / 1e6,
        ms(starts),
        ms(joins),
        welcome as f64 / 1e6,
        ms(changed),
        ms(planned),
    );
    Ok(())
}

/// A host joins; the time it computes and the bytes it gets.
fn join(seeds: &Seeds, member: &Fabric) -> Outcome<(Duration, usize)> {
    let (mut joiner, introduction) = seeds.joiner(member, AT);
    let bytes = introduction.welcome.len();
    let before = cpu()?;
    drop(joiner.join(introduction, AT)?);
    let time = cpu()? - before;
    if joiner.networks().remote_endpoints().count() < member.networks().remote_endpoints().count() {
        return Err("a host that joined does not know all endpoints".into());
    }
    Ok((time, bytes))
}

fn timed<T>(times: u32, mut work: impl FnMut() -> T) -> Outcome<(T, Duration)> {
    let before = cpu()?;
    let mut last = work();
    for _ in 1..times {
        last = work();
    }
    Ok((last, (cpu()? - before) / times))
}

/// Time this thread has computed: another process that wants the processor does not count.
fn cpu() -> Outcome<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(Duration::from_nanos(text.split(' ').next().unwrap_or_default().parse()?))
}

/// Bytes of a line of /proc/self/status.
fn memory(line: &str) -> Outcome<f64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let found = text.lines().find_map(|it| it.strip_prefix(line)?.strip_prefix(':'));
    let kib = found.and_then(|it| it.trim().strip_suffix(" kB")).ok_or("no such line")?;
    Ok(kib.trim().parse::<f64>()? * 1_024.0)
}

fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}
