//! The two servers that everything is measured between, and sessions with them.
//!
//! Their data is durable while they run (fsync on), and goes with them.

use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use stream_core::postgres::{ConnectOptions, SqlClient};
use stream_core::throwaway::{Binaries, Client, Server, ServerOptions};
use tokio::runtime::Runtime;
use tokio_postgres::SimpleQueryMessage;

/// The database of either server.
pub(super) const DATABASE: &str = "bench";

/// What differs from PostgreSQL's defaults. No checkpoint and no vacuum falls into one run and not
/// into the next: the first come between runs, the others not at all.
pub(super) const SETTINGS: [(&str, &str); 6] = [
    ("shared_buffers", "2GB"),
    ("max_wal_size", "8GB"),
    ("checkpoint_timeout", "1h"),
    ("autovacuum", "off"),
    ("fsync", "on"),
    ("full_page_writes", "on"),
];

/// Ends the sessions that hold a slot, and counts them.
const HELD_SLOTS: &str =
    "SELECT count(pg_terminate_backend(active_pid)) FROM pg_replication_slots WHERE active";
const DROP_SLOTS: &str = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots";
/// How often something is looked at that happens at once.
const LOOK: Duration = Duration::from_millis(10);

/// A server and how to get there.
pub(super) struct Host {
    server: Server,
    runtime: Rc<Runtime>,
    /// Directories of client programs, as in `PATH`.
    programs: std::ffi::OsString,
}

impl Host {
    /// Starts a server.
    pub(super) fn start(
        binaries: &Binaries,
        clients: Option<PathBuf>,
        runtime: &Rc<Runtime>,
    ) -> Result<Self> {
        let mut options = ServerOptions::temporary(binaries.clone());
        let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        options.settings = settings.to_vec();
        let server = Server::start(options)?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let directories = clients.into_iter().chain(std::env::split_paths(&path));
        let programs = std::env::join_paths(directories)?;
        let host = Self { server, runtime: Rc::clone(runtime), programs };
        host.renew()?;
        Ok(host)
    }

    /// The address of the database, with the password.
    pub(super) fn url(&self) -> String {
        format!("{}?sslmode=disable", self.server.url(DATABASE))
    }

    /// The address as libpq takes it in a `CREATE SUBSCRIPTION`.
    pub(super) fn conninfo(&self) -> String {
        let (port, user) = (self.server.port(), self.server.user());
        let password = self.server.password();
        format!(
            "host=127.0.0.1 port={port} user={user} password={password} dbname={DATABASE} sslmode=disable"
        )
    }

    /// The process id of the postmaster.
    pub(super) fn pid(&self) -> u32 {
        self.server.pid().unwrap_or_default()
    }

    /// Where client programs are looked for first.
    pub(super) fn programs(&self) -> &std::ffi::OsStr {
        &self.programs
    }

    /// Opens a session with the database.
    pub(super) fn session(&self) -> Result<Session> {
        Session::open(&self.runtime, &self.url())
    }

    /// Runs statements one by one, each on its own.
    pub(super) fn execute<'a>(&self, statements: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let session = self.session()?;
        statements.into_iter().try_for_each(|statement| session.execute(statement))
    }

    /// The first value of a query's answer.
    pub(super) fn text(&self, sql: &str) -> Result<String> {
        self.session()?.text(sql)
    }

    /// Writes out what would otherwise be written while somebody measures.
    pub(super) fn checkpoint(&self) -> Result<()> {
        self.execute(["CHECKPOINT"])
    }

    /// Whether commits wait until their log is on the disk.
    pub(super) fn wait_for_disk(&self, wait: bool) -> Result<()> {
        self.execute([&format!("ALTER SYSTEM SET fsync = {wait}"), "SELECT pg_reload_conf()"])
    }

    /// Puts an empty database in the place of the old one, with the slots on that.
    pub(super) fn renew(&self) -> Result<()> {
        let session = Session::open(&self.runtime, &self.server.url("postgres"))?;
        // A session that was just told to end can still hold its slot.
        while session.text(HELD_SLOTS)? != "0" {
            std::thread::sleep(LOOK);
        }
        session.execute(DROP_SLOTS)?;
        session.execute(&format!("DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)"))?;
        session.execute(&format!("CREATE DATABASE {DATABASE}"))
    }

    /// A client program that connects here.
    pub(super) fn client(&self, program: &str) -> Result<Command> {
        let found = Client::find(program, self.server.major(), Some(&self.programs))?;
        let mut command = Command::new(found.path);
        command.env("PGHOST", "127.0.0.1").env("PGPORT", self.server.port().to_string());
        command.env("PGUSER", self.server.user()).env("PGPASSWORD", self.server.password());
        command.env("PGDATABASE", DATABASE).env("PGSSLMODE", "disable");
        Ok(command)
    }

    /// `psql` that runs one statement.
    pub(super) fn psql(&self, sql: &str) -> Result<Command> {
        let mut command = self.client("psql")?;
        command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        Ok(command)
    }
}

/// A session with a database.
pub(super) struct Session {
    runtime: Rc<Runtime>,
    client: SqlClient,
}

impl Session {
    fn open(runtime: &Rc<Runtime>, url: &str) -> Result<Self> {
        let options: ConnectOptions = url.parse()?;
        let client = runtime.block_on(SqlClient::connect(&options))?;
        Ok(Self { runtime: Rc::clone(runtime), client })
    }

    /// Runs a statement.
    pub(super) fn execute(&self, sql: &str) -> Result<()> {
        let done = self.runtime.block_on(self.client.batch_execute(sql));
        done.with_context(|| format!("`{sql}`"))
    }

    /// The first value of a query's answer; empty when there is none.
    pub(super) fn text(&self, sql: &str) -> Result<String> {
        let answer = self.runtime.block_on(self.client.simple_query(sql));
        let answer = answer.with_context(|| format!("`{sql}`"))?;
        let value = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        Ok(value.unwrap_or_default().to_owned())
    }
}
