//! Traffic that is counted: runs in containers that hold nothing else, and on hosts beside them.
//!
//! A worker serves every kind of work on ports of its own and does the work it is told on standard input, one line of
//! JSON per line. So nothing is started or stopped while something is measured. Its end is the end of its input.
//!
//! Processor time is the whole machine's, all processors, less idle and stolen time: both ends, the wire between them
//! and whatever encrypts are on one kernel.

mod measure;
mod serve;

use std::io::{BufRead, Write};
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str = "usage:
  bench-traffic worker           serve, and do what standard input says:
      stream ADDRESS SECONDS STREAMS
      rr ADDRESS SECONDS CONNECTIONS
      connect ADDRESS SECONDS
      udp ADDRESS SECONDS BYTES
  bench-traffic hello ADDRESS    ask a worker until it answers, and tell when
  bench-traffic now              tell when it is";

/// Ports of a worker.
mod port {
    pub(crate) const STREAM: u16 = 9000;
    pub(crate) const ECHO: u16 = 9001;
    pub(crate) const CONNECT: u16 = 9002;
    pub(crate) const DATAGRAMS: u16 = 9003;
    pub(crate) const HELLO: u16 = 9004;
}

/// Bytes of a request and of its answer.
const MESSAGE: usize = 64;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["worker"] => worker(),
        ["now"] => wall().and_then(|now| say(&format!("{{\"started\":{now},\"answered\":{now}}}"))),
        ["hello", address] => address.parse().map_err(Into::into).and_then(hello),
        _ => Err(USAGE.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-traffic: {error}");
            ExitCode::FAILURE
        }
    }
}

fn worker() -> Outcome {
    serve::start()?;
    say("{\"ready\":true}")?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match work(&words) {
            Ok(answer) => say(&answer)?,
            Err(error) => say(&format!("{{\"error\":{:?}}}", error.to_string()))?,
        }
    }
    Ok(())
}

fn work(words: &[&str]) -> Outcome<String> {
    match words {
        ["stream", to, seconds, streams] => measure::stream(to.parse()?, span(seconds)?, streams.parse()?),
        ["rr", to, seconds, connections] => measure::ask(to.parse()?, span(seconds)?, connections.parse()?),
        ["connect", to, seconds] => measure::connect(to.parse()?, span(seconds)?),
        ["udp", to, seconds, bytes] => measure::datagrams(to.parse()?, span(seconds)?, bytes.parse()?),
        _ => Err(USAGE.into()),
    }
}

/// Sends a datagram each millisecond until one is answered. Times are those of the machine's clock, nanoseconds.
fn hello(to: IpAddr) -> Outcome {
    let started = wall()?;
    let socket = measure::datagram_socket(to)?;
    socket.connect((to, port::HELLO))?;
    socket.set_read_timeout(Some(Duration::from_millis(1)))?;
    let (began, mut tries, mut back) = (clock(), 0, [0; 1]);
    while began.elapsed() < Duration::from_secs(20) {
        tries += 1;
        // Both fail until there is a way.
        if socket.send(b"?").is_ok() && socket.recv(&mut back).is_ok() {
            let answered = wall()?;
            return say(&format!("{{\"started\":{started},\"answered\":{answered},\"tries\":{tries}}}"));
        }
    }
    Err(format!("{to} has not answered within 20 s").into())
}

fn say(line: &str) -> Outcome {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn span(seconds: &str) -> Outcome<Duration> {
    Ok(Duration::try_from_secs_f64(seconds.parse()?)?)
}

#[allow(clippy::disallowed_methods, reason = "it measures real time")]
fn clock() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "two processes compare their times")]
fn wall() -> Outcome<u128> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos())
}
