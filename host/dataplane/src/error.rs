//! How failures become a [`KernelError`].

use std::fmt::Display;

use shoal_ports::KernelError;

/// An error with the object it happened on.
pub(crate) fn refused(action: &str, object: impl Display, reason: impl Display) -> KernelError {
    KernelError { action: action.to_owned(), object: object.to_string(), reason: reason.to_string() }
}
