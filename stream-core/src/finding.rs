//! What a look at one end of a stream finds, for a person to read.

use std::fmt;

use crate::error::{Error, ErrorKind};

/// What a finding means for the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// The server could not be asked; another attempt may tell.
    Unknown,
    /// The stream cannot work before somebody acts.
    Blocking,
    /// The stream works, and somebody may be surprised.
    Warning,
}

/// One thing that a person should know, with its remedy. `Display` gives one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it means for the stream.
    pub weight: Weight,
    /// The thing, its value and the remedy.
    pub message: String,
}

impl Finding {
    /// Something that has to be changed before the stream can work.
    pub fn blocking(message: impl fmt::Display) -> Self {
        Self { weight: Weight::Blocking, message: message.to_string() }
    }

    /// Something that the stream can live with.
    pub fn warning(message: impl fmt::Display) -> Self {
        Self { weight: Weight::Warning, message: message.to_string() }
    }
}

impl From<Error> for Finding {
    fn from(error: Error) -> Self {
        let weight = match error.kind() {
            ErrorKind::Transient | ErrorKind::Changed => Weight::Unknown,
            ErrorKind::Permanent | ErrorKind::Configuration | ErrorKind::Fenced => Weight::Blocking,
        };
        Self { weight, message: error.to_string() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.message.lines().map(str::trim).filter(|line| !line.is_empty());
        f.write_str(&lines.collect::<Vec<_>>().join("; "))
    }
}
