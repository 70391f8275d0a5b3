//! Objecting to a suspicion more than once.
//!
//! A suspect that hears of it raises its incarnation, which every message it sends then carries. In a small cluster on
//! a lossy network those few messages may all be lost while it believes that the matter is settled. So it gossips a
//! few times more.

use foca::{Codec, Header, Incarnation, PostcardCodec};
use shoal_types::Moment;

use crate::identity::Identity;
use crate::tuning::{OBJECTION_PAUSE, OBJECTIONS};

/// Repeats after each rise of the own life or incarnation.
#[derive(Debug, Default)]
pub(crate) struct Objection {
    /// Life and incarnation in the latest message.
    said: Option<(u64, Incarnation)>,
    left: u8,
    next: Moment,
}

impl Objection {
    /// Looks at a message of our own for what it says of us.
    pub(crate) fn note(&mut self, message: &[u8], now: Moment) {
        let packet = message.get(1..).unwrap_or_default();
        let header: Result<Header<Identity>, _> = PostcardCodec.decode_header(&mut &*packet);
        let Ok(header) = header else { return };
        let says = (header.src.life(), header.src_incarnation);
        if self.said.is_some_and(|said| says > said) {
            self.left = OBJECTIONS;
            self.next = now + OBJECTION_PAUSE;
        }
        self.said = self.said.max(Some(says));
    }

    pub(crate) fn due(&self) -> Option<Moment> {
        (self.left > 0).then_some(self.next)
    }

    /// Whether to speak now; counts it as done.
    pub(crate) fn is_due(&mut self, now: Moment) -> bool {
        let is_due = self.due().is_some_and(|due| due <= now);
        if is_due {
            self.left -= 1;
            self.next = now + OBJECTION_PAUSE;
        }
        is_due
    }
}
