//! Why a command was not carried out.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A command that was not carried out, as a person should read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What sort of failure; decides the HTTP status.
    pub kind: FailureKind,
    /// One sentence without a full stop: what failed, on which object, why.
    pub message: String,
    /// What to do about it, if anything can be done: a sentence or a command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What sort of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// What was asked makes no sense, whatever the state (HTTP 400).
    User,
    /// What was asked cannot be done in this state: already joined, name taken, still in use (409).
    Conflict,
    /// What was named does not exist (404).
    NotFound,
    /// Somebody who is needed does not answer now: another host, Docker, this host's own start (503).
    Unavailable,
    /// The agent's own fault (500).
    Internal,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// [`FailureKind::User`]
    pub fn user(message: impl Into<String>) -> Self {
        Self::new(FailureKind::User, message)
    }

    /// [`FailureKind::Conflict`]
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Conflict, message)
    }

    /// [`FailureKind::NotFound`]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(FailureKind::NotFound, message)
    }

    /// [`FailureKind::Unavailable`]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Unavailable, message)
    }

    /// [`FailureKind::Internal`]
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(FailureKind::Internal, message.to_string())
    }

    /// The same failure with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl FailureKind {
    /// The HTTP status that carries it.
    pub fn status(self) -> u16 {
        match self {
            Self::User => 400,
            Self::Conflict => 409,
            Self::NotFound => 404,
            Self::Unavailable => 503,
            Self::Internal => 500,
        }
    }
}
