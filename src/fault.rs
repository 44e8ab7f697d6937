//! What is wrong with the evidence: recorded on the item that it touches, never only logged.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Damage or a contradiction, found at one byte by one part of evidex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Offset in the image (in the content, for a container's member) of the structure that is wrong.
    pub at: u64,
    /// The registered name of what found it: `ntfs`, `gpt`, `zip` …
    pub by: String,
    /// What was expected and what was found.
    pub what: String,
}

impl Fault {
    /// A fault at byte `at`, found by `by`.
    pub fn new(at: u64, by: &str, what: impl Into<String>) -> Self {
        Self { at, by: by.to_owned(), what: what.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.by, self.at, self.what)
    }
}
