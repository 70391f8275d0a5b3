//! The rules of this tree as programs.
//!
//! A rule worth having is a test with its reason beside it. [`tidy`] holds the rules of style that a program can
//! judge, [`deps`] the directions in which crates may depend on each other. Both run as `cargo xtask tidy` and
//! `cargo xtask deps`, and as tests of this crate. Every check is a small function from a [`Tree`] to findings.

pub mod deps;
mod exceptions;
pub mod tidy;
mod tree;

use std::fmt;

pub use tree::{File, Tree};

/// A place that breaks a rule, and why the rule is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Path from the tree's root.
    pub path: String,
    /// Line, from 1; 0 if the whole file is meant.
    pub line: usize,
    /// What is wrong, and why it matters.
    pub message: String,
}

impl Finding {
    /// A finding on one line (from 1), or on a whole file (0).
    pub fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return write!(f, "{}: {}", self.path, self.message);
        }
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// A rule with the name that `cargo xtask` and the tests print.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// What holds when nothing is found, in words joined by "_".
    pub name: &'static str,
    /// Finds what breaks the rule.
    pub run: fn(&Tree) -> Vec<Finding>,
}
