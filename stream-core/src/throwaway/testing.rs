//! Servers and databases for tests.
//!
//! Each test binary starts the servers it uses once, and shares them; they end, and their data is
//! deleted, with the process. Each test takes a [`TestDatabase`] of its own. A test that stops or
//! kills a server starts one by itself with [`private_server`].
//!
//! Without a server a test panics with the remedy: it never skips.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{Binaries, Client, Server, ServerError, ServerOptions};
use crate::sql::{Ident, Literal};

/// Names the `bin` directories of the servers to test with, separated by `:`.
///
/// Set by `cargo xtask test`; without it, tests use whatever servers are installed.
pub const SERVERS_VARIABLE: &str = "STREAM_POSTGRES_DIRS";
/// Names the directories to search for client programs first, separated by `:`.
pub const CLIENTS_VARIABLE: &str = "STREAM_POSTGRES_CLIENTS";

/// What a test does about a missing server.
const REMEDY: &str = "run `cargo xtask test`, or set STREAM_POSTGRES_DIRS";

static SERVERS: Mutex<BTreeMap<u16, &'static Server>> = Mutex::new(BTreeMap::new());
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The major versions to test with, ascending; never empty.
///
/// # Panics
///
/// Without any server.
#[must_use]
#[track_caller]
pub fn majors() -> Vec<u16> {
    let mut majors: Vec<_> = installed().iter().map(|server| server.major).collect();
    majors.dedup();
    if majors.is_empty() {
        fail(&ServerError::NoServer { major: None });
    }
    majors
}

/// The oldest of [`majors`], for tests that one server is enough for.
///
/// # Panics
///
/// Without any server.
#[must_use]
#[track_caller]
pub fn oldest_major() -> u16 {
    majors().first().copied().unwrap_or_default()
}

/// The shared server of version `major`; the first call in a process starts it.
///
/// # Panics
///
/// Without such a server, or when it does not start.
#[must_use]
#[track_caller]
pub fn server(major: u16) -> &'static Server {
    let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = servers.get(&major) {
        return server;
    }
    let server: &'static Server = Box::leak(Box::new(private_server(major, &[])));
    servers.insert(major, server);
    server
}

/// A new temporary server of version `major` with `settings`, for a test that breaks it.
///
/// # Panics
///
/// Without such a server, or when it does not start.
#[must_use]
#[track_caller]
pub fn private_server(major: u16, settings: &[(&str, &str)]) -> Server {
    let mut options = ServerOptions::temporary(binaries(major));
    options.settings =
        settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    Server::start(options).unwrap_or_else(|error| fail(&error))
}

/// The installation of version `major`.
///
/// # Panics
///
/// Without it.
#[must_use]
#[track_caller]
pub fn binaries(major: u16) -> Binaries {
    Binaries::choose(installed(), Some(major)).unwrap_or_else(|error| fail(&error))
}

/// A client program such as `pg_dump` that works with servers up to `at_least_major`.
///
/// # Panics
///
/// Without it.
#[must_use]
#[track_caller]
pub fn client(program: &str, at_least_major: u16) -> Client {
    let mut path = env::var_os(CLIENTS_VARIABLE).unwrap_or_default();
    if let Some(rest) = env::var_os("PATH") {
        path = [path, rest].join(&OsString::from(":"));
    }
    Client::find(program, at_least_major, Some(&path)).unwrap_or_else(|error| fail(&error))
}

fn installed() -> Vec<Binaries> {
    match env::var_os(SERVERS_VARIABLE) {
        Some(directories) => Binaries::in_path(&directories),
        None => Binaries::find_all(env::var_os("PATH").as_deref()),
    }
}

#[track_caller]
#[expect(clippy::panic, reason = "these functions run in tests only, and a test fails by a panic")]
fn fail(error: &ServerError) -> ! {
    panic!("{error} ({REMEDY})")
}

/// A database of one test, dropped with its slots at the end, also when the test fails.
pub struct TestDatabase<'a> {
    server: &'a Server,
    name: String,
}

impl<'a> TestDatabase<'a> {
    /// Creates an empty database under a name nobody else has.
    ///
    /// # Errors
    ///
    /// [`ServerError::Sql`] when the server refuses.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave an empty database behind on the server.
    pub async fn create(server: &'a Server) -> Result<Self, ServerError> {
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", process::id());
        server.create_database(&name).await?;
        Ok(Self { server, name })
    }

    /// The database's name, which also serves as a name for its slot and publication.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The database's address, with user and password.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// The server the database is on.
    #[must_use]
    pub const fn server(&self) -> &'a Server {
        self.server
    }

    /// Runs `statements` in this database.
    ///
    /// # Errors
    ///
    /// [`ServerError::Sql`] when a statement fails.
    ///
    /// # Cancel safety
    ///
    /// As [`Server::execute`].
    pub async fn execute(&self, statements: &str) -> Result<(), ServerError> {
        self.server.execute(&self.name, statements).await
    }

    async fn remove(&self) -> Result<(), ServerError> {
        let database = Literal(&self.name);
        // A slot must be free before it can be dropped, and dropped before its database can be.
        let slots = format!(
            "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots
              WHERE database = {database} AND active_pid IS NOT NULL;
             SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
              WHERE database = {database};"
        );
        self.server.execute("postgres", &slots).await?;
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", Ident(&self.name));
        self.server.execute("postgres", &drop).await
    }
}

impl Drop for TestDatabase<'_> {
    fn drop(&mut self) {
        // A thread, because the test's own runtime is busy with this very call.
        thread::scope(|scope| {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                // A database that stays goes with its server at the end of the process.
                let _ = runtime.map(|runtime| runtime.block_on(self.remove()));
            });
        });
    }
}

impl fmt::Debug for TestDatabase<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestDatabase")
            .field("name", &self.name)
            .field("server", &self.server)
            .finish()
    }
}
