//! What a server is started from, and how it is stopped.

use std::path::PathBuf;

use super::Binaries;

/// Where a server keeps its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataDirectory {
    /// In the system's directory for temporary files; deleted with the server, and without the
    /// cost of durability: this data does not survive a crash of the machine.
    Temporary,
    /// Here, durably: the next start with the same directory resumes with the same data, password
    /// and, if it is still free, port.
    Kept(PathBuf),
}

/// What a server is started from.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The installation.
    pub binaries: Binaries,
    /// Where the data lives.
    pub data: DataDirectory,
    /// Configuration parameters by name; they win over this module's own.
    /// Source: <https://www.postgresql.org/docs/current/runtime-config.html>
    pub settings: Vec<(String, String)>,
}

impl ServerOptions {
    /// A server whose data goes with it, without settings of its own.
    #[must_use]
    pub const fn temporary(binaries: Binaries) -> Self {
        Self { binaries, data: DataDirectory::Temporary, settings: Vec::new() }
    }

    /// A server whose data stays in `directory`, without settings of its own.
    #[must_use]
    pub const fn kept(binaries: Binaries, directory: PathBuf) -> Self {
        Self { binaries, data: DataDirectory::Kept(directory), settings: Vec::new() }
    }
}

/// How a server is told to stop.
///
/// Source: <https://www.postgresql.org/docs/current/server-shutdown.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Ends sessions and writes a checkpoint.
    Fast,
    /// Ends without a checkpoint; the next start recovers from the WAL.
    Immediate,
}
