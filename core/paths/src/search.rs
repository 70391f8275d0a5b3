//! The search for the largest packet that passes.

use crate::{RESOLUTION, SMALL, TRIES};

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Send a probe of so many bytes.
    Probe(u16),
    /// The largest size that passes.
    Known(u16),
    /// Nothing passes.
    Unreachable,
}

/// A search in progress: `passes` is known to pass, `too_large` not to.
#[derive(Debug)]
pub(crate) struct Search {
    full: u16,
    /// The size that is tried.
    size: u16,
    tries: u32,
    passes: Option<u16>,
    too_large: Option<u16>,
}

impl Search {
    /// `full` is the largest size that should pass, bytes; at least [`SMALL`].
    pub(crate) fn new(full: u16) -> Self {
        let full = full.max(SMALL);
        Self { full, size: full, tries: 0, passes: None, too_large: None }
    }

    pub(crate) fn full(&self) -> u16 {
        self.full
    }

    /// Forgets what was found, so that a path that carries more again is noticed.
    pub(crate) fn restart(&mut self) {
        *self = Self::new(self.full);
    }

    /// Begins a round with the size that was last known to pass, else the full one.
    pub(crate) fn begin(&mut self) -> Next {
        self.tries = 1;
        self.size = self.passes.unwrap_or(self.full);
        Next::Probe(self.size)
    }

    pub(crate) fn passed(&mut self) -> Next {
        self.passes = Some(self.size);
        self.narrow()
    }

    pub(crate) fn lost(&mut self) -> Next {
        if self.tries < TRIES {
            self.tries += 1;
            return Next::Probe(self.size);
        }
        if self.size <= SMALL {
            (self.passes, self.too_large) = (None, None);
            return Next::Unreachable;
        }
        // What passed in an earlier round no longer does: search below it, from the bottom.
        if self.passes.is_some_and(|passes| self.size <= passes) {
            self.passes = None;
        }
        self.too_large = Some(self.size);
        match self.passes {
            Some(_) => self.narrow(),
            None => self.probe(SMALL),
        }
    }

    fn narrow(&mut self) -> Next {
        match (self.passes, self.too_large) {
            (Some(passes), Some(too_large)) if too_large - passes > RESOLUTION => {
                self.probe(passes + (too_large - passes) / 2)
            }
            (Some(passes), _) => Next::Known(passes),
            (None, _) => Next::Unreachable,
        }
    }

    fn probe(&mut self, size: u16) -> Next {
        self.size = size;
        self.tries = 1;
        Next::Probe(size)
    }
}
