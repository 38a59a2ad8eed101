//! The engine's error: a reason in words, and what can be done about it.

use std::fmt;

/// What an error means for the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// May pass by itself (a lost connection, a server that restarts): start again from the checkpoint.
    Transient,
    /// Nothing failed: tables are not as they were when the stream began. Start again from the checkpoint at
    /// once, to see them as they are.
    Changed,
    /// Will come again until somebody acts (a row that the target refuses, a lost slot).
    Permanent,
    /// The configuration or the environment is wrong (a password, a missing right, a bad pattern).
    Configuration,
    /// Another worker owns the stream.
    Fenced,
}

/// Why the stream cannot go on.
pub struct Error {
    kind: ErrorKind,
    reason: Box<dyn std::error::Error + Send + Sync>,
}

impl Error {
    /// An error of a kind, for a reason: text, or any error.
    pub fn new(
        kind: ErrorKind,
        reason: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, reason: reason.into() }
    }

    /// What the error means for the stream.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether starting again from the checkpoint may help.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Transient | ErrorKind::Changed)
    }

    /// The reason as the type it was made from.
    #[must_use]
    pub fn reason<E: std::error::Error + 'static>(&self) -> Option<&E> {
        self.reason.downcast_ref()
    }

    /// Puts what was being done before the reason.
    #[must_use]
    pub fn context(self, doing: impl fmt::Display) -> Self {
        Self { kind: self.kind, reason: format!("{doing}: {}", self.reason).into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.reason)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.reason.source()
    }
}
