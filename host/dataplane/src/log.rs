//! What libbpf prints: the verifier's words and the kernel's, which its errors do not carry.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use libbpf_rs::PrintLevel;

/// Messages kept: a refused program's log is long, and its end says why.
const MESSAGES_MAX: usize = 30;

static MESSAGES: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// Takes libbpf's messages off standard error, for the whole process, and forgets earlier ones.
pub(crate) fn keep() {
    MESSAGES.lock().unwrap_or_else(PoisonError::into_inner).clear();
    libbpf_rs::set_print(Some((PrintLevel::Warn, note)));
}

/// The last messages, for an error's text.
pub(crate) fn end() -> String {
    let messages = MESSAGES.lock().unwrap_or_else(PoisonError::into_inner);
    messages.iter().map(String::as_str).collect()
}

fn note(_level: PrintLevel, text: String) {
    tracing::debug!(text = text.trim_end(), "libbpf");
    let mut messages = MESSAGES.lock().unwrap_or_else(PoisonError::into_inner);
    if messages.len() == MESSAGES_MAX {
        messages.pop_front();
    }
    messages.push_back(text);
}
