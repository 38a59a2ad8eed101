//! The servers of all versions, each started when it is first needed, and the two databases of a run.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use stream_core::postgres::{ConnectOptions, SqlClient};
use stream_core::throwaway::{Binaries, Server, ServerOptions};
use tokio::task::block_in_place;

use super::pair::Pair;
use super::shape::Source;

/// The databases of a run, which may be on the same server.
pub(super) const SOURCE: &str = "shapes_source";
pub(super) const TARGET: &str = "shapes_target";
/// The role of a stream that sees less than a superuser, and its password.
const ROLE: (&str, &str) = ("shapes_reader", "shapes");

/// Servers by version.
pub(super) struct Lab {
    binaries: Vec<Binaries>,
    servers: BTreeMap<u16, Server>,
}

impl Lab {
    pub(super) const fn new(binaries: Vec<Binaries>) -> Self {
        Self { binaries, servers: BTreeMap::new() }
    }

    /// Makes both databases anew; gives their addresses.
    pub(super) async fn prepare(
        &mut self,
        pair: Pair,
        source: Source,
    ) -> Result<(ConnectOptions, ConnectOptions)> {
        let made = match source {
            Source::Encoded(made) => made,
            Source::Plain | Source::Role | Source::Property(_) | Source::Large => "",
        };
        let here = renew(self.server(pair.source)?, SOURCE, made).await?;
        let there = renew(self.server(pair.target)?, TARGET, "").await?;
        Ok((here, there))
    }

    /// The address of the source as the worker is told it.
    pub(super) fn source_url(&mut self, pair: Pair, source: Source) -> Result<String> {
        let server = self.server(pair.source)?;
        let (user, password) = match source {
            Source::Role => ROLE,
            Source::Plain | Source::Encoded(_) | Source::Property(_) | Source::Large => {
                (server.user(), server.password())
            }
        };
        let port = server.port();
        Ok(format!("postgresql://{user}:{password}@127.0.0.1:{port}/{SOURCE}?sslmode=disable"))
    }

    /// The address of the target as the worker is told it.
    pub(super) fn target_url(&mut self, pair: Pair) -> Result<String> {
        Ok(self.server(pair.target)?.url(TARGET))
    }

    fn server(&mut self, major: u16) -> Result<&Server> {
        if !self.servers.contains_key(&major) {
            let binaries = Binaries::choose(self.binaries.clone(), Some(major))?;
            let mut options = ServerOptions::temporary(binaries);
            // The smallest: more is kept on the server's disk, or sent before its commit where that is asked for.
            for (name, value) in [("max_wal_size", "4GB"), ("logical_decoding_work_mem", "64kB")] {
                options.settings.push((name.to_owned(), value.to_owned()));
            }
            let server = block_in_place(|| Server::start(options))?;
            self.servers.insert(major, server);
        }
        self.servers.get(&major).context("the server was started")
    }
}

async fn renew(server: &Server, database: &str, made: &str) -> Result<ConnectOptions> {
    let admin: ConnectOptions = server.url("postgres").parse()?;
    let client = SqlClient::connect(&admin).await?;
    let slots = format!("FROM pg_replication_slots WHERE database = '{database}'");
    let statements = [
        format!("SELECT pg_terminate_backend(active_pid, 5000) {slots} AND active"),
        format!("SELECT pg_drop_replication_slot(slot_name) {slots}"),
        format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"),
        format!("CREATE DATABASE {database} {made}"),
    ];
    for statement in statements {
        client.batch_execute(&statement).await.with_context(|| statement.clone())?;
    }
    client.close().await;
    Ok(admin.with_database(database))
}
