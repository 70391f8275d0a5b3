//! The way in: from the socket, through the peers' sessions, into the device. One thread for each socket.
//!
//! What one call receives is decrypted, joined into super-packets, and written; nothing is kept for the next call.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use nix::errno::Errno;

use crate::coalesce::{Coalescer, From, Joined, SEGMENTS_MAX};
use crate::counters::{Count, Counters, Drop};
use crate::engine::{Engine, Role};
use crate::outbound::Sender;
use crate::peer::{Opened, Peer};
use crate::receive::{self, Message, Receiver};
use crate::tap::Queue;
use crate::unwrap::unwrap;

const INITIATION: u8 = 1;
const COOKIE: u8 = 3;
const DATA: u8 = 4;
/// Shortest message with data: header and tag.
const DATA_MIN: usize = 32;

/// One thread's way in.
struct Reader<'a> {
    engine: &'a Engine,
    counters: &'a Counters,
    /// For answers, and for what waited for a session.
    sender: Sender<'a>,
    /// Decrypted packets of a batch, side by side.
    plain: Vec<u8>,
    used: usize,
    coalescer: Coalescer,
    /// Whom the last datagram was for: the next one is most likely for the same.
    last: Option<(u32, Arc<Peer>)>,
}

/// Runs until the process ends.
pub(crate) fn run(engine: &Engine, worker: usize, queue: &Queue) {
    let counters = engine.counters(Role::In(worker));
    let sender = Sender::new(engine, worker, Role::In(worker));
    let plain = vec![0; receive::MESSAGES * receive::BYTES];
    let mut reader =
        Reader { engine, counters, sender, plain, used: 0, coalescer: Coalescer::default(), last: None };
    let mut receiver = Receiver::default();
    // A lone message is written before anybody looks for the next one.
    let mut waits = true;
    loop {
        let Some(fd) = reader.sender.socket().map(crate::socket::Socket::fd) else {
            engine.wait_for_change(&mut reader.sender.snapshot);
            continue;
        };
        match receiver.receive(fd, waits) {
            Ok(count) => {
                reader.refresh();
                (0..count).for_each(|at| reader.take(receiver.message(at)));
                reader.finish(queue);
                waits = false;
            }
            Err(Errno::EAGAIN) => waits = true,
            Err(Errno::EINTR) => {}
            Err(error) => {
                tracing::debug!(%error, "cannot receive");
                std::thread::sleep(std::time::Duration::from_millis(1));
                reader.refresh();
            }
        }
    }
}

impl Reader<'_> {
    fn refresh(&mut self) {
        self.engine.refresh(&mut self.sender.snapshot);
        self.last = None;
    }

    fn take(&mut self, message: Option<Message<'_>>) {
        let Some(message) = message else { return };
        // A socket that was shut answers with nothing.
        if message.bytes.is_empty() {
            return;
        }
        self.counters.add(Count::Received, 1);
        if message.is_cut_off {
            return self.counters.drop(Drop::Truncated);
        }
        for datagram in message.bytes.chunks(message.size) {
            let taken = match datagram {
                [DATA, 0, 0, 0, ..] if datagram.len() >= DATA_MIN => self.take_data(message.from, datagram),
                [INITIATION..=COOKIE, 0, 0, 0, ..] if datagram.len() >= DATA_MIN => {
                    self.take_handshake(message.from, datagram)
                }
                _ => Err(Drop::NotWireGuard),
            };
            if let Err(reason) = taken {
                self.counters.drop(reason);
            }
        }
    }

    fn take_data(&mut self, from: SocketAddr, datagram: &[u8]) -> Result<(), Drop> {
        let index = u32::from_le_bytes([datagram[4], datagram[5], datagram[6], datagram[7]]);
        let peer = self.peer_of(index)?;
        let room = self.plain.get_mut(self.used..).ok_or(Drop::Truncated)?;
        if room.len() < datagram.len() {
            return Err(Drop::Truncated);
        }
        let mut inside = peer.lock();
        let opened = inside.open(from, datagram, room, self.counters);
        // The first data of a session that the other end began is what lets this end send.
        self.sender.release(&mut inside);
        drop(inside);
        let Opened::Packet(length) = opened? else { return Ok(()) };
        self.counters.add(Count::PacketsIn, 1);
        let address = peer.address().ok_or(Drop::SourceForged)?;
        let carried = unwrap(&self.plain[self.used..self.used + length], address, self.engine.own)?;
        let packet = self.used + carried.packet.start..self.used + carried.packet.end;
        self.used += length;
        let from = From { address, vni: carried.vni, ethertype: carried.ethertype };
        self.coalescer.push(&self.plain, packet, from);
        Ok(())
    }

    fn peer_of(&mut self, index: u32) -> Result<Arc<Peer>, Drop> {
        if let Some((last, peer)) = &self.last
            && *last == index
        {
            return Ok(Arc::clone(peer));
        }
        let peer = self.sender.snapshot.table.by_index(index).ok_or(Drop::NoSession)?;
        self.last = Some((index, Arc::clone(peer)));
        Ok(Arc::clone(peer))
    }

    fn take_handshake(&mut self, from: SocketAddr, message: &[u8]) -> Result<(), Drop> {
        let table = Arc::clone(&self.sender.snapshot.table);
        let identity = table.identity.as_ref().ok_or(Drop::HandshakeRefused)?;
        let peer = match identity.admit(from, message, self.sender.outbox())? {
            Some(key) => table.by_key(&key).ok_or(Drop::HandshakeRefused)?,
            None => {
                // A response names this end's index after its own, a cookie has but one.
                let at = if message[0] == COOKIE { 4 } else { 8 };
                let index =
                    u32::from_le_bytes([message[at], message[at + 1], message[at + 2], message[at + 3]]);
                table.by_index(index).ok_or(Drop::NoSession)?
            }
        };
        let mut inside = peer.lock();
        let shaken = inside.shake(from, message, self.sender.outbox(), self.counters);
        self.sender.release(&mut inside);
        drop(inside);
        // Answers do not wait for the rest of the batch, of which there may be much.
        self.sender.flush();
        shaken
    }

    /// Writes the batch.
    fn finish(&mut self, queue: &Queue) {
        self.sender.flush();
        for joined in self.coalescer.frames() {
            self.counters.add(Count::FramesIn, 1);
            self.counters.add(Count::FrameBytesIn, joined.length());
            self.counters.add(Count::SuperIn, usize::from(joined.count() > 1));
            if let Err(error) = write(joined, &self.plain, queue) {
                tracing::debug!(%error, "the device refuses a frame");
                self.counters.drop(Drop::DeviceFailed);
            }
        }
        self.coalescer.clear();
        self.used = 0;
    }
}

fn write(joined: &Joined, plain: &[u8], queue: &Queue) -> nix::Result<()> {
    joined.parts(plain, |head, ranges: &[Range<usize>]| {
        let mut parts = [IoSlice::new(&[]); 1 + SEGMENTS_MAX];
        parts[0] = IoSlice::new(head);
        for (part, range) in parts[1..].iter_mut().zip(ranges) {
            *part = IoSlice::new(&plain[range.clone()]);
        }
        queue.write(&parts[..=ranges.len().min(SEGMENTS_MAX)])
    })
}
