//! Private PostgreSQL servers, for tests, demonstrations and streams without a server of their own.
//!
//! In: an installation ([`Binaries`]) and where the data shall live ([`DataDirectory`]). Out: a
//! running [`Server`] on a free port of 127.0.0.1, with logical replication switched on, reachable
//! with a random password only.
//!
//! A server never outlives the process that started it. Between the two runs a pipe, held by a
//! shell that waits for its end; when the owner ends in whatever way, `kill -9` included, the shell
//! stops the server:
//!
//! ```text
//! owner ──── leash (pipe) ───> sh: read; kill -INT $server
//!   └── starts, stops ──────── postgres
//! ```
//!
//! Everything here blocks, for a second or two while a server starts, save what speaks SQL.
//! Nothing here reads the environment.

mod account;
mod address;
mod binaries;
mod directory;
mod options;
mod process;
mod server;
#[cfg(feature = "testing")]
pub mod testing;

use std::io;
use std::path::{Path, PathBuf};

pub use binaries::{Binaries, Client, directories};
pub use directory::reachable_directory;
pub use options::{DataDirectory, ServerOptions, Shutdown};
pub use server::Server;

/// Why a throwaway server cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// No installation of PostgreSQL, or none of the wanted version, for a throw-away server.
    ///
    /// Remedy: install it, name its `bin` directory with `--postgres-dir`, or give the cluster's address with `--cluster`.
    #[error("no PostgreSQL server{} was found: install it, or name its `bin` directory", version(.major))]
    NoServer {
        /// The version asked for; `None` when any would do.
        major: Option<u16>,
    },
    /// A client program is not installed, or too old.
    ///
    /// Remedy: install the client programs, or name their directory with `--postgres-dir`.
    #[error(
        "no `{program}` of PostgreSQL {at_least_major} or newer was found: install it, or name its `bin` directory"
    )]
    NoClient {
        /// The program, such as `pg_dump`.
        program: String,
        /// The oldest version that will do.
        at_least_major: u16,
    },
    /// A program said something else than its version: it is no PostgreSQL program.
    ///
    /// Remedy: take its directory out of `PATH`, or name another with `--postgres-dir`.
    #[error("`{program} --version` did not tell a version: `{answer}`")]
    Version {
        /// The program asked.
        program: PathBuf,
        /// What it said instead.
        answer: String,
    },
    /// A file or directory could not be made, read or handed to the server's user.
    ///
    /// Remedy: check rights and space, or name another directory with `--data-dir`.
    #[error("`{path}` cannot be used for a PostgreSQL server: {source}")]
    Io {
        /// The file, directory or program.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process runs a server in the directory.
    ///
    /// Remedy: end that one first, or name another directory with `--data-dir`.
    #[error(
        "`{path}` is in use by another process: end that one first, or choose another directory"
    )]
    InUse {
        /// The data directory.
        path: PathBuf,
    },
    /// The data directory was made by another version.
    ///
    /// Remedy: use a server of that version, or delete the directory to start anew.
    #[error(
        "`{path}` holds data of PostgreSQL {found}, and the server is PostgreSQL {server}: use a \
         server of version {found}, or delete the directory to start anew"
    )]
    OtherMajor {
        /// The data directory.
        path: PathBuf,
        /// The version that made the data.
        found: String,
        /// The version of the binaries.
        server: u16,
    },
    /// `initdb` failed.
    ///
    /// Remedy: what its last words say.
    #[error("`initdb` failed for `{path}`: {output}")]
    Initdb {
        /// The data directory.
        path: PathBuf,
        /// What `initdb` printed.
        output: String,
    },
    /// The throw-away server ended, or was not ready in time.
    ///
    /// Remedy: what its log says; the end of it is in the message.
    #[error("PostgreSQL in `{path}` {reason}; the end of its log:\n{log}")]
    Start {
        /// The data directory.
        path: PathBuf,
        /// What happened.
        reason: String,
        /// The last lines of the log.
        log: String,
    },
    /// A statement failed on a throw-away server.
    ///
    /// Remedy: what the server's words say.
    #[error("database `{database}` on port {port}: {reason}")]
    Sql {
        /// The database connected to.
        database: String,
        /// The server's port.
        port: u16,
        /// What the server or the driver said.
        reason: String,
    },
}

impl ServerError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

fn version(major: &Option<u16>) -> String {
    major.map(|major| format!(" of version {major}")).unwrap_or_default()
}
