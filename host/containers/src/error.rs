//! Why the engine could not be asked.

/// A call that failed: what was tried, on which object, and the engine's or the system's reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {action} {object}: {reason}")]
pub struct EngineError {
    /// What was tried: "list", "create", "inspect".
    pub action: &'static str,
    /// On what: `networks`, `network "shop"`, `container 1f2e…`.
    pub object: String,
    /// The reason, in the engine's own words where it gave any.
    pub reason: String,
    /// What kind of failure it is.
    pub kind: ErrorKind,
}

/// What a caller can do about an [`EngineError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The engine does not answer: wait for [`crate::Event::EngineUp`] and try again.
    Down,
    /// The engine knows no such object: list again.
    Missing,
    /// The engine has an object of that name already: list, then use that one or say so.
    Exists,
    /// The engine refused, and will refuse again until something changes.
    Refused,
}
