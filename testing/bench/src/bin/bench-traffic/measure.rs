//! The asking half of a worker: does one kind of work for a time and tells what came of it, as a line of JSON.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::serve::CONNECTORS;
use crate::{MESSAGE, Outcome, clock, port};

/// Bytes written at once by a stream.
const PIECE: usize = 1 << 17;

/// `streams` connections send for `span`; every byte is counted at the other end.
pub(crate) fn stream(to: IpAddr, span: Duration, streams: usize) -> Outcome<String> {
    let connected = || Ok(open(to, port::STREAM)?);
    let (sent, cost) = together(streams, connected, |mut peer| {
        let piece = vec![0x5a; PIECE];
        let (began, mut sent) = (clock(), 0u64);
        while began.elapsed() < span {
            peer.write_all(&piece)?;
            sent += PIECE as u64;
        }
        peer.shutdown(std::net::Shutdown::Write)?;
        let mut taken = [0; 8];
        peer.read_exact(&mut taken)?;
        match u64::from_le_bytes(taken) {
            taken if taken == sent => Ok(sent),
            taken => Err(format!("{sent} bytes were sent and {taken} taken").into()),
        }
    })?;
    Ok(cost.tell(&format!("\"bytes\":{}", sent.iter().sum::<u64>())))
}

/// A request and its answer on each of `connections`, again and again for `span`.
pub(crate) fn ask(to: IpAddr, span: Duration, connections: usize) -> Outcome<String> {
    let connected = || Ok(open(to, port::ECHO)?);
    let (times, cost) = together(connections, connected, |mut peer| {
        peer.set_nodelay(true)?;
        let (request, mut answer) = ([0x5a; MESSAGE], [0; MESSAGE]);
        let (began, mut times) = (clock(), Vec::new());
        let mut asked = began;
        while asked.duration_since(began) < span {
            peer.write_all(&request)?;
            peer.read_exact(&mut answer)?;
            let now = clock();
            times.push(u32::try_from(now.duration_since(asked).as_nanos()).unwrap_or(u32::MAX));
            asked = now;
        }
        Ok(times)
    })?;
    let mut times = times.concat();
    times.sort_unstable();
    let part = |percent: usize| f64::from(times[(times.len() - 1) * percent / 100]) / 1e3;
    let (half, rare) = (part(50), part(99));
    Ok(cost.tell(&format!("\"count\":{},\"p50_us\":{half},\"p99_us\":{rare}", times.len())))
}

/// Connects, sends a byte and waits for the close, again and again for `span`.
pub(crate) fn connect(to: IpAddr, span: Duration) -> Outcome<String> {
    let (counts, cost) = together(
        CONNECTORS,
        || Ok(()),
        |()| {
            let (began, mut count) = (clock(), 0u64);
            while began.elapsed() < span {
                let mut peer = open(to, port::CONNECT)?;
                peer.write_all(&[1])?;
                if peer.read(&mut [0; 1])? != 0 {
                    return Err("the other end has sent something instead of closing".into());
                }
                count += 1;
            }
            Ok(count)
        },
    )?;
    Ok(cost.tell(&format!("\"count\":{}", counts.iter().sum::<u64>())))
}

/// Sends datagrams of `bytes` as fast as one thread can for `span`; those count that have arrived.
pub(crate) fn datagrams(to: IpAddr, span: Duration, bytes: usize) -> Outcome<String> {
    let socket = datagram_socket(to)?;
    socket.connect((to, port::DATAGRAMS))?;
    let before = settled(to)?;
    let piece = vec![0x5a; bytes];
    let cost = Cost::begin()?;
    let (began, mut sent) = (clock(), 0u64);
    while began.elapsed() < span {
        for _ in 0..32 {
            // What the kernel refuses was not sent.
            sent += u64::from(socket.send(&piece).is_ok());
        }
    }
    let cost = cost.end()?;
    let count = settled(to)? - before;
    Ok(cost.tell(&format!("\"sent\":{sent},\"count\":{count}")))
}

/// How many datagrams have come, once no more are coming.
fn settled(to: IpAddr) -> Outcome<u64> {
    let count = || -> Outcome<u64> {
        let mut count = [0; 8];
        open(to, port::DATAGRAMS)?.read_exact(&mut count)?;
        Ok(u64::from_le_bytes(count))
    };
    let mut last = count()?;
    loop {
        thread::sleep(Duration::from_millis(5));
        match count()? {
            same if same == last => return Ok(same),
            more => last = more,
        }
    }
}

pub(crate) fn datagram_socket(to: IpAddr) -> std::io::Result<UdpSocket> {
    UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })
}

fn open(to: IpAddr, port: u16) -> std::io::Result<TcpStream> {
    let peer = TcpStream::connect_timeout(&(to, port).into(), Duration::from_secs(5))?;
    peer.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(peer)
}

/// Runs `work` in `count` threads, once all are prepared; what they cost from there to the last one's end.
fn together<P, T: Send>(
    count: usize,
    prepare: impl Fn() -> Outcome<P> + Sync,
    work: impl Fn(P) -> Outcome<T> + Sync,
) -> Outcome<(Vec<T>, Spent)> {
    let barrier = Barrier::new(count + 1);
    let one = || {
        let prepared = prepare();
        barrier.wait();
        work(prepared?)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(one)).collect();
        barrier.wait();
        let cost = Cost::begin()?;
        let ended =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("panicked".into())));
        let results = ended.collect::<Outcome<Vec<T>>>()?;
        Ok((results, cost.end()?))
    })
}

/// Time and processor time at a beginning.
struct Cost {
    began: Instant,
    busy: f64,
}

/// Time and processor time from a beginning to an end, seconds.
struct Spent {
    seconds: f64,
    busy: f64,
}

impl Cost {
    fn begin() -> Outcome<Self> {
        Ok(Self { began: clock(), busy: busy()? })
    }

    fn end(self) -> Outcome<Spent> {
        Ok(Spent { seconds: self.began.elapsed().as_secs_f64(), busy: busy()? - self.busy })
    }
}

impl Spent {
    fn tell(&self, counts: &str) -> String {
        format!("{{\"seconds\":{},\"cpu_seconds\":{},{counts}}}", self.seconds, self.busy)
    }
}

/// Seconds that the machine's processors have worked: `user nice system idle iowait irq softirq` of proc_stat(5), in
/// hundredths, without the fourth and fifth.
fn busy() -> Outcome<f64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    let [user, nice, system, _, _, irq, softirq, ..] = ticks.as_slice() else {
        return Err(format!("/proc/stat begins with {line:?}").into());
    };
    Ok((user + nice + system + irq + softirq) / 100.0)
}
