//! The engine beside the bare underlay, wireguard-go and nebula: in one run, in rounds that take turns.
//!
//! `cargo build --release -p shoal-wireguard --example engine`, then `cargo bench -p shoal-wireguard [-- ROUNDS]`, as
//! root, with iperf3, sockperf, wireguard-go, wireguard-tools and nebula installed. Two namespaces on one veth pair of
//! MTU 1500; each number is the median of the rounds. Only the ratios of one run say something.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark that cannot run stops")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

#[path = "../tests/bed/mod.rs"]
mod bed;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use bed::{Bed, Host, MTU, until};

const PATHS: [&str; 4] = ["underlay", "shoal", "wireguard-go", "nebula"];
const SECONDS: &str = "2";

fn main() {
    let rounds = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(5);
    let bed = Bed::connected("bench");
    let others = Others::start(&bed);
    let addresses = ["192.0.2.2", "10.9.0.2", "10.8.0.2", "10.7.0.2"];
    for address in addresses {
        until("a ping comes back", || bed.a.pings(address));
    }
    let daemons = [vec![], vec![bed.a.pid(), bed.b.pid()], others.pids(0), others.pids(2)];
    let mut results: Vec<Vec<Round>> = vec![vec![]; PATHS.len()];
    for _ in 0..rounds {
        for (path, address) in addresses.iter().enumerate() {
            results[path].push(Round::measure(&bed, address, &daemons[path]));
        }
    }
    report(&results);
}

/// What is measured of one path in one round.
#[derive(Debug, Clone, Copy)]
struct Round {
    /// Gbit/s of one stream and of eight.
    one: f64,
    eight: f64,
    /// One way, microseconds.
    latency: Latency,
    /// Processor seconds of all processes of both ends for a gigabyte.
    cost: f64,
}

/// Of a small message: the median, the mean, and what 1 in 100 exceeds.
#[derive(Debug, Clone, Copy)]
struct Latency {
    half: f64,
    mean: f64,
    worst: f64,
}

impl Round {
    fn measure(bed: &Bed, address: &str, daemons: &[u32]) -> Self {
        let before = spent(daemons);
        let (one, one_bytes) = stream(bed, address, "1");
        let (eight, eight_bytes) = stream(bed, address, "8");
        let cost = (spent(daemons) - before) / ((one_bytes + eight_bytes) / 1e9);
        let latency = ping_pong(bed, address);
        Self { one, eight, latency, cost }
    }
}

/// Gbit/s and bytes of a TCP transfer.
fn stream(bed: &Bed, address: &str, streams: &str) -> (f64, f64) {
    let mut server = quiet(bed.b.command("iperf3").args(["-s", "-1", "-B", address]));
    thread::sleep(Duration::from_millis(300));
    let text = bed.a.run("iperf3", &["-c", address, "-t", SECONDS, "-P", streams, "-J"]);
    server.wait().unwrap();
    let received = text.split("\"sum_received\"").nth(1).unwrap();
    (number_after(received, "\"bits_per_second\":") / 1e9, number_after(received, "\"bytes\":"))
}

/// Latency of a small message to and fro, of which sockperf tells the half.
fn ping_pong(bed: &Bed, address: &str) -> Latency {
    let mut server = quiet(bed.b.command("sockperf").args(["sr", "--tcp", "-i", address, "-p", "5300"]));
    thread::sleep(Duration::from_millis(300));
    let text =
        bed.a.run("sockperf", &["pp", "--tcp", "-i", address, "-p", "5300", "-t", SECONDS, "-m", "64"]);
    server.kill().unwrap();
    server.wait().unwrap();
    Latency {
        half: number_after(&text, "percentile 50.000 ="),
        mean: number_after(&text, "avg-latency="),
        worst: number_after(&text, "percentile 99.000 ="),
    }
}

fn number_after(text: &str, label: &str) -> f64 {
    let rest = text.split(label).nth(1).unwrap_or_else(|| panic!("no {label} in {text}")).trim_start();
    let end =
        rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != 'e' && c != '+').unwrap_or(rest.len());
    rest[..end].parse().unwrap()
}

fn quiet(command: &mut Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Processor seconds that these processes have spent, and all ended children of this one.
fn spent(processes: &[u32]) -> f64 {
    let ticks = |path: &str, fields: [usize; 2]| {
        let stat = fs::read_to_string(path).unwrap();
        // The name, in parentheses, may hold spaces.
        let fields_after: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields.iter().map(|field| fields_after[field - 3].parse::<f64>().unwrap()).sum::<f64>()
    };
    let daemons: f64 = processes.iter().map(|pid| ticks(&format!("/proc/{pid}/stat"), [14, 15])).sum();
    (daemons + ticks("/proc/self/stat", [16, 17])) / 100.0
}

/// One number of a round.
type Column = fn(&Round) -> f64;

fn report(results: &[Vec<Round>]) {
    let median = |path: &[Round], of: Column| {
        let mut values: Vec<f64> = path.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let columns: [(&str, Column); 6] = [
        ("Gbit/s, 1 stream", |round| round.one),
        ("Gbit/s, 8 streams", |round| round.eight),
        ("one way, us", |round| round.latency.half),
        ("  mean", |round| round.latency.mean),
        ("  99 %", |round| round.latency.worst),
        ("CPU s/GB", |round| round.cost),
    ];
    println!(
        "{:18} {:>13} {:>13} {:>13} {:>13} {:>17}",
        "", PATHS[0], PATHS[1], PATHS[2], PATHS[3], "shoal / others"
    );
    for (name, of) in columns {
        let of_path: Vec<f64> = results.iter().map(|path| median(path, of)).collect();
        let ratios: Vec<String> =
            [0, 2, 3].iter().map(|other| format!("{:.2}", of_path[1] / of_path[*other])).collect();
        let numbers: Vec<String> = of_path.iter().map(|number| format!("{number:13.2}")).collect();
        println!("{name:18} {} {:>17}", numbers.join(" "), ratios.join(" "));
    }
}

/// The others' processes on both hosts.
struct Others {
    children: Vec<Child>,
    sockets: Vec<String>,
    folder: PathBuf,
}

impl Others {
    fn start(bed: &Bed) -> Self {
        let folder = std::env::temp_dir().join(&bed.a.namespace);
        fs::create_dir_all(&folder).unwrap();
        let mut others = Self { children: Vec::new(), sockets: Vec::new(), folder: folder.clone() };
        for (host, other) in [(&bed.a, &bed.b), (&bed.b, &bed.a)] {
            others.wireguard_go(host, other);
        }
        let inside = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        bed::run(
            "nebula-cert",
            &["ca", "-name", "bench", "-out-crt", &inside("ca.crt"), "-out-key", &inside("ca.key")],
        );
        for (host, other) in [(&bed.a, &bed.b), (&bed.b, &bed.a)] {
            let (name, ip) = (host.number.to_string(), format!("10.7.0.{}/24", host.number));
            let (crt, key) = (inside(&format!("{name}.crt")), inside(&format!("{name}.key")));
            let ca = ["-ca-crt", &inside("ca.crt"), "-ca-key", &inside("ca.key")];
            let own = ["sign", "-name", &name, "-ip", &ip, "-out-crt", &crt, "-out-key", &key];
            bed::run("nebula-cert", &[&own[..1], &ca[..], &own[1..]].concat());
            let config = inside(&format!("{name}.yml"));
            fs::write(&config, nebula(&inside("ca.crt"), &crt, &key, other)).unwrap();
            others.children.push(quiet(host.command("nebula").args(["-config", &config])));
        }
        others
    }

    fn wireguard_go(&mut self, host: &Host, other: &Host) {
        let name = format!("bench{}", host.number);
        let socket = format!("/var/run/wireguard/{name}.sock");
        self.children.push(quiet(host.command("wireguard-go").args(["-f", &name])));
        until("wireguard-go listens", || fs::exists(&socket).unwrap());
        let mut change = host.introduction(other, &format!("{}:7376", other.underlay()));
        change.port = Some(7376);
        change.peers[0].address = Some([10, 8, 0, other.number].into());
        assert_eq!(bed::ask(socket.as_ref(), &change.text()), "errno=0\n\n");
        self.sockets.push(socket);
        host.run("ip", &["addr", "add", &format!("10.8.0.{}/24", host.number), "dev", &name]);
        host.run("ip", &["link", "set", &name, "mtu", &MTU.to_string(), "up"]);
    }

    fn pids(&self, from: usize) -> Vec<u32> {
        self.children[from..from + 2].iter().map(Child::id).collect()
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        for socket in &self.sockets {
            let _ = fs::remove_file(socket);
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn nebula(ca: &str, crt: &str, key: &str, other: &Host) -> String {
    let (peer, underlay) = (other.number, other.underlay());
    format!(
        "pki: {{ca: {ca}, cert: {crt}, key: {key}}}\n\
         static_host_map: {{\"10.7.0.{peer}\": [\"{underlay}:4242\"]}}\n\
         lighthouse: {{am_lighthouse: false}}\n\
         listen: {{host: 0.0.0.0, port: 4242}}\n\
         tun: {{dev: nebula1, mtu: {MTU}}}\n\
         logging: {{level: error}}\n\
         firewall: {{outbound: [{{port: any, proto: any, host: any}}], inbound: [{{port: any, proto: any, host: any}}]}}\n"
    )
}
