//! The way out: from the device, through the peers' sessions, into the socket. One thread for each queue.
//!
//! A lone frame is sent as soon as it is encrypted. While more frames wait in the device they are taken too, and what
//! goes to one place is sent in one call; nothing is waited for.

use std::sync::Arc;

use nix::errno::Errno;

use crate::counters::{Count, Counters, Drop};
use crate::engine::{Engine, Role, Snapshot};
use crate::outbox::Outbox;
use crate::peer::{Inside, Peer, SEALED};
use crate::segment::Cut;
use crate::socket::Socket;
use crate::tap::Queue;

/// Longest frame with its header, bytes.
const FRAME: usize = 1 << 17;
/// Room for one super-packet of full packets with all that is added; a longer one is sent in parts.
const OUTBOX: usize = 160 << 10;
/// When so much waits to be sent, it is sent before the next frame is read.
const ENOUGH: usize = 48 << 10;
/// Packets encrypted between two chances for the receiving thread to use the session.
const STRETCH: usize = 8;

/// What one thread needs to send.
#[derive(Debug)]
pub(crate) struct Sender<'a> {
    engine: &'a Engine,
    /// Peers and sockets as this thread sees them.
    pub(crate) snapshot: Snapshot,
    worker: usize,
    counters: &'a Counters,
    outbox: Outbox,
    scratch: Vec<u8>,
}

/// Runs until the device is gone.
pub(crate) fn run(engine: &Engine, worker: usize, queue: &Queue) -> Errno {
    let mut sender = Sender::new(engine, worker, Role::Out(worker));
    let mut frame = vec![0; FRAME];
    loop {
        match sender.carry(queue, &mut frame) {
            Ok(()) | Err(Errno::EINTR) => {}
            Err(error) => return error,
        }
    }
}

impl<'a> Sender<'a> {
    /// One that counts as `role`.
    pub(crate) fn new(engine: &'a Engine, worker: usize, role: Role) -> Self {
        Self {
            engine,
            snapshot: engine.snapshot(),
            worker,
            counters: engine.counters(role),
            outbox: Outbox::new(OUTBOX),
            scratch: vec![0; FRAME],
        }
    }

    /// Waits for a frame and sends it, then all that has come meanwhile.
    fn carry(&mut self, queue: &Queue, frame: &mut [u8]) -> nix::Result<()> {
        let length = queue.read(frame)?;
        self.take(&frame[..length]);
        self.flush();
        while let Some(length) = queue.read_ready(frame)? {
            self.take(&frame[..length]);
            if self.outbox.used() >= ENOUGH {
                self.flush();
            }
        }
        self.flush();
        Ok(())
    }

    /// Takes a frame with its header.
    pub(crate) fn take(&mut self, frame: &[u8]) {
        self.engine.refresh(&mut self.snapshot);
        self.counters.add(Count::FramesOut, 1);
        self.counters.add(Count::FrameBytesOut, frame.len());
        if let Err(reason) = self.try_take(frame) {
            self.counters.drop(reason);
        }
    }

    fn try_take(&mut self, frame: &[u8]) -> Result<(), Drop> {
        let cut = Cut::new(frame, self.engine.own)?;
        if cut.longest() > self.snapshot.table.mtu {
            return Err(Drop::TooBig);
        }
        let peer = Arc::clone(self.snapshot.table.by_address(cut.to).ok_or(Drop::NoPeer)?);
        if self.snapshot.sockets.is_none() {
            return Err(Drop::NoSocket);
        }
        let mut inside = peer.lock();
        if inside.endpoint.is_none() {
            return Err(Drop::NoEndpoint);
        }
        if !inside.has_session() {
            inside.wait(frame, &mut self.outbox, self.counters);
            return Ok(());
        }
        self.release(&mut inside);
        drop(inside);
        self.seal(&peer, &cut);
        Ok(())
    }

    /// Sends what has waited for a session of this peer, if it has one now.
    ///
    /// It is on its way before anybody else can use the session, so that nothing newer overtakes it.
    pub(crate) fn release(&mut self, inside: &mut Inside) {
        let waiting = inside.take_waiting();
        if waiting.is_empty() {
            return;
        }
        waiting.iter().for_each(|frame| self.seal_waiting(inside, frame));
        self.flush();
    }

    fn seal_waiting(&mut self, inside: &mut Inside, frame: &[u8]) {
        // It was read before, with the same answer.
        let Ok(cut) = Cut::new(frame, self.engine.own) else { return };
        (0..cut.count()).for_each(|index| self.seal_one(inside, &cut, index));
    }

    fn seal(&mut self, peer: &Peer, cut: &Cut<'_>) {
        let count = cut.count();
        self.counters.add(Count::SuperOut, usize::from(count > 1));
        let mut index = 0;
        while index < count {
            let mut inside = peer.lock();
            let until = count.min(index + STRETCH);
            (index..until).for_each(|index| self.seal_one(&mut inside, cut, index));
            index = until;
        }
    }

    #[inline]
    fn seal_one(&mut self, inside: &mut Inside, cut: &Cut<'_>, index: usize) {
        let mtu = self.snapshot.table.mtu;
        let need = cut.longest().next_multiple_of(16) + SEALED;
        if self.outbox.room(need).is_none() {
            self.flush();
        }
        let (Some(to), Some(room)) = (inside.endpoint, self.outbox.room(need)) else { return };
        match inside.seal(cut, index, mtu, &mut self.scratch, room) {
            Some(length) => {
                self.counters.add(Count::PacketsOut, 1);
                self.outbox.keep(to, length);
            }
            None => self.counters.drop(Drop::HandshakeFailed),
        }
    }

    /// Where answers of handshakes are put.
    pub(crate) fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Sends what is ready.
    pub(crate) fn flush(&mut self) {
        if self.outbox.is_empty() {
            return;
        }
        match &self.snapshot.sockets {
            Some(sockets) => sockets.of(self.worker).send(&mut self.outbox, self.counters),
            None => self.outbox.drain(|row, _| self.counters.drop_many(Drop::NoSocket, row.count)),
        }
    }

    /// The socket of this thread's worker.
    pub(crate) fn socket(&self) -> Option<&Socket> {
        self.snapshot.sockets.as_ref().map(|sockets| sockets.of(self.worker))
    }
}
