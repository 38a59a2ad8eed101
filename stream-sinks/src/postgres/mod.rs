//! PostgreSQL as a target.
//!
//! ```text
//!  prepare             schema import, checks                 (import, check)
//!  begin_copy, copy    raw COPY, forwarded                   (copy)
//!  snapshot_completed  indexes, then constraints             (finish)
//!  write               batches, with the position            (apply, steps, send, careful, pipe, …)
//!  finish              sequences, statistics                 (sequences)
//! ```
//!
//! Why it is fast: rows of a snapshot are never decoded, changes are pipelined, and many source
//! transactions share a target transaction. Why it loses nothing: the position is committed with the data.

mod apply;
mod careful;
mod catalog;
mod change;
mod check;
mod copy;
mod divergence;
mod encode;
mod error;
mod excluded;
mod finish;
mod fit;
mod frozen;
mod import;
mod lacking;
mod makeup;
mod money;
mod parts;
mod persistence;
mod pipe;
mod plan;
mod progress;
pub mod schema;
mod send;
mod sequences;
mod statements;
mod steps;
mod store;
mod survey;
mod tables;
mod waiting;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stream_core::batch::Batch;
use stream_core::checkpoint::Checkpoint;
use stream_core::copy::{CopyFormat, TableCopy};
use stream_core::lsn::Lsn;
use stream_core::postgres::{ConnectOptions, Session, SqlClient, Wire, problem};
use stream_core::relation::TableName;
use stream_core::sink::Sink;
use stream_core::source::{Inspected, Snapshot};
use stream_core::table::Table;
use stream_core::{Error, ErrorKind};

use apply::Applier;
use pipe::Pipe;
use progress::Ownership;
pub use progress::{Claim, begin_anew_sql};
pub use store::TargetStore;
pub use survey::TargetSurvey;
use tables::Tables;

/// What a [`PostgresSink`] needs to know.
#[derive(Clone, Debug)]
pub struct PostgresSinkOptions {
    /// The target database.
    pub target: ConnectOptions,
    /// The source database: its schema and its sequences are read from here.
    pub source: ConnectOptions,
    /// The stream's name, under which its progress is kept.
    pub stream: String,
    /// How the schema gets to the target; `None`: the tables are there.
    pub import: Option<ImportOptions>,
    /// How many indexes are built at once.
    pub index_jobs: usize,
}

/// How the schema is imported.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// Where `pg_dump` is looked for.
    pub program_directories: Vec<PathBuf>,
    /// Whether all of the schema comes along, not only what the captured tables need.
    pub everything: bool,
}

/// A PostgreSQL database as the target of a stream.
pub struct PostgresSink {
    shared: Arc<Shared>,
    tables: Option<Arc<Tables>>,
    /// Tables that the stream had taken up before this start: what they hold is ours.
    known: BTreeSet<TableName>,
    applier: Option<Applier>,
    copier: Option<Wire>,
    /// Constraints wait until the stream has passed this position.
    consistent_at: Option<Lsn>,
    /// What the target had passed already at this start, snapshots included.
    passed: Lsn,
    /// Whether constraints waited once more, because rows did not fit.
    put_off: bool,
}

/// What is committed is confirmed to the source, which forgets it: a crash of the target must not. More than `local`, if the target wants it,
/// stays. Set in any case: a session takes up what is changed in the server's files only where it has nothing of its own.
const DURABLE: &str = "SELECT set_config('synchronous_commit', coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'local'), false)";

/// What the sinks of one stream have in common.
struct Shared {
    options: PostgresSinkOptions,
    client: Arc<SqlClient>,
    ownership: Ownership,
    /// That of the [`Claim`].
    needs_text: Arc<AtomicBool>,
}

impl PostgresSink {
    /// Connects to the target and takes the stream over: an older worker of it writes nothing more. With the `claim` of an
    /// earlier connection it goes on instead, unless a worker that came later has taken the stream over.
    ///
    /// # Errors
    /// When an end cannot be reached, or both are one database, or the target does not let its progress be kept; of kind
    /// [`Fenced`](stream_core::ErrorKind::Fenced) when another worker took the stream over.
    pub async fn connect(
        options: PostgresSinkOptions,
        claim: &mut Claim,
    ) -> Result<(Self, TargetStore), Error> {
        let client = async { SqlClient::connect(&options.target).await.map_err(at_target) };
        let client = if claim.is_taken() {
            client.await?
        } else {
            let (client, source) = tokio::try_join!(client, check::namesake(&options))?;
            if let Some(error) = check::own_source(&client, source, &options.target).await? {
                return Err(error);
            }
            client
        };
        let durable = client.batch_execute(DURABLE).await;
        durable.map_err(|error| error::from_sql("set `synchronous_commit`", &error))?;
        let client = Arc::new(client);
        let ownership = progress::claim(&client, &options.target, &options.stream, claim).await?;
        let store = TargetStore::new(Arc::clone(&client), ownership.clone());
        let needs_text = Arc::clone(&claim.needs_text);
        let shared = Arc::new(Shared { options, client, ownership, needs_text });
        Ok((Self::with(shared, None), store))
    }

    const fn with(shared: Arc<Shared>, tables: Option<Arc<Tables>>) -> Self {
        Self {
            shared,
            tables,
            known: BTreeSet::new(),
            applier: None,
            copier: None,
            consistent_at: None,
            passed: Lsn::new(0),
            put_off: false,
        }
    }

    fn tables(&self) -> Result<&Arc<Tables>, Error> {
        self.tables.as_ref().ok_or_else(error::unprepared)
    }

    async fn applier(&mut self) -> Result<&mut Applier, Error> {
        if self.applier.is_none() {
            let (wire, independent) = self.shared.session().await?;
            let pipe = Pipe::new(wire, pipe::Findings::default());
            let tables = Arc::clone(self.tables()?);
            let ownership = self.shared.ownership.clone();
            let independent = independent && !tables.watched;
            self.applier = Some(Applier::new(pipe, tables, ownership, independent));
        }
        self.applier.as_mut().ok_or_else(error::unprepared)
    }
}

impl Shared {
    /// A session that writes rows, and whether triggers and foreign keys are off in it.
    async fn session(&self) -> Result<(Wire, bool), Error> {
        let mut wire =
            Wire::connect_for_rows(&self.options.target, Session::Sql).await.map_err(at_target)?;
        // Rows are found by their keys: a plan made while a table was small must not scan it for ever.
        // A scan that cannot be avoided costs so much then, by name, that it would be compiled at each execution.
        wire.simple_query(&format!(
            "SET enable_seqscan = off; SET jit = off; SET plan_cache_mode = force_generic_plan; {DURABLE}"
        ))
        .await
        .map_err(error::from_wire)?;
        let replica = wire.simple_query("SET session_replication_role = replica").await;
        match replica {
            Ok(_) => Ok((wire, true)),
            Err(refused) if refused.server().is_some_and(|server| server.code == "42501") => {
                tracing::warn!("{}", no_replica_role(&self.options.target.user));
                Ok((wire, false))
            }
            Err(other) => Err(error::from_wire(other)),
        }
    }
}

/// What it means that the role may not turn triggers off.
fn no_replica_role(role: &str) -> String {
    format!(
        "role `{role}` may not set `session_replication_role` at the target: its triggers fire for copied rows, and foreign \
         keys are checked; allow it with `GRANT SET ON PARAMETER session_replication_role TO {}` (15 and later)",
        stream_core::sql::Ident(role)
    )
}

fn at_target(error: stream_core::postgres::ConnectError) -> Error {
    problem::from_connect(error).context("target")
}

impl PostgresSink {
    async fn fit(&mut self, source: &Inspected, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.known = checkpoint.tables.keys().cloned().collect();
        let client = Arc::clone(&self.shared.client);
        let (mut tables, missing) = Tables::find(Arc::clone(&client), source, checkpoint).await?;
        let options = &self.shared.options;
        if let (false, Some(import)) = (missing.is_empty(), &options.import) {
            check::refuse(&check::gone(&missing, source, checkpoint))?;
            // Whatever the target has must fit before anything is added to it.
            let known = &self.known;
            check::refuse(&check::problems(&client, &tables, source, options, known, true).await?)?;
            Box::pin(import::run(&self.shared, import, source, &missing, checkpoint)).await?;
            tables = Tables::find(Arc::clone(&client), source, checkpoint).await?.0;
            tables.made = missing.into_iter().collect();
        }
        let known = &self.known;
        check::refuse(&check::problems(&client, &tables, source, options, known, false).await?)?;
        self.tables = Some(Arc::new(tables));
        Ok(())
    }

    /// Makes constraints, because the target is as the source was at the position that it has `passed`. But for a table that was emptied while it was
    /// copied: no snapshot keeps its rows, and the log tells of it later, below where the source is now. So rows may once not fit a foreign key.
    async fn constrain(&mut self, passed: Lsn) -> Result<(), Error> {
        let Err(error) = finish::run(&self.shared, true).await else { return Ok(()) };
        let Some(unfit) = finish::unfit(&error).filter(|_| !self.put_off) else {
            return Err(error);
        };
        let end = finish::end_of_source(&self.shared).await?;
        if end <= passed {
            return Err(error);
        }
        self.put_off = true;
        self.consistent_at = Some(end);
        tracing::warn!(
            "{unfit}; a table was emptied while it was copied, or the rows do not fit: trying again when the stream has passed {end}, or ends"
        );
        Ok(())
    }
}

impl Sink for PostgresSink {
    async fn prepare(&mut self, source: &Inspected, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.passed = checkpoint.position.unwrap_or_default();
        let Err(misfit) = self.fit(source, checkpoint).await else { return Ok(()) };
        // What a worker that came later has written does not fit what this one knew.
        let assert = format!("BEGIN; {}; COMMIT", self.shared.ownership.assert_sql());
        let own = self.shared.client.batch_execute(&assert).await;
        own.map_err(|error| error::from_sql("see whose the stream is", &error))?;
        Err(misfit)
    }

    async fn begin_copy(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        self.passed = self.passed.max(snapshot.lsn);
        let tables = &snapshot.tables;
        let known: Vec<_> = tables
            .iter()
            .map(|table| &table.name)
            .filter(|name| self.known.contains(*name))
            .collect();
        let kept = |name: &TableName| {
            self.known.contains(name) && !tables.iter().any(|table| table.name == *name)
        };
        copy::empty(&self.shared, self.tables()?, &known, kept).await
    }

    fn copy_format(&self, table: &Table) -> CopyFormat {
        self.tables.as_ref().map_or(CopyFormat::Text, |tables| tables.format(table))
    }

    fn stream_format(&self) -> CopyFormat {
        if self.shared.needs_text.load(Ordering::Relaxed) {
            return CopyFormat::Text;
        }
        self.tables.as_ref().map_or(CopyFormat::Text, |tables| tables.stream_format())
    }

    async fn fork(&self) -> Result<Option<Self>, Error> {
        Ok(Some(Self::with(Arc::clone(&self.shared), self.tables.clone())))
    }

    async fn copy(&mut self, copy: TableCopy<'_>) -> Result<u64, Error> {
        let tables = Arc::clone(self.tables()?);
        let mut wire = match self.copier.take() {
            Some(wire) => wire,
            None => self.shared.session().await?.0,
        };
        let pid = wire.process_id();
        let copied = Box::pin(copy::run(&mut wire, &self.shared, &tables, copy));
        let rows = waiting::said(&self.shared.client, pid, copied).await?;
        // A session that fails, or is not waited for any more, ends: in the middle of a copy it would keep what others save.
        self.copier = Some(wire);
        Ok(rows)
    }

    async fn snapshot_completed(&mut self, consistent_at: Option<Lsn>) -> Result<(), Error> {
        if let Some(wire) = self.copier.take() {
            wire.terminate().await;
        }
        self.consistent_at = consistent_at;
        if consistent_at.is_none() {
            self.constrain(self.passed).await?;
        } else {
            finish::run(&self.shared, false).await?;
        }
        self.tables()?.refresh_all().await
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let applier = self.applier().await?;
        let pid = applier.pipe.process_id();
        let applied = waiting::said(&shared.client, pid, Box::pin(applier.apply(batch))).await;
        if let Err(error) = applied {
            // The catalogues of both ends can agree again, so that they do not tell it at the next start.
            if error.kind() == ErrorKind::Changed {
                self.shared.needs_text.store(true, Ordering::Relaxed);
            }
            return Err(error);
        }
        let consistent = self.consistent_at.zip(batch.ack).filter(|(at, ack)| ack >= at);
        if let Some((_, ack)) = consistent {
            self.consistent_at = None;
            self.constrain(ack).await?;
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Error> {
        finish::run(&self.shared, true).await?;
        let tables = Arc::clone(self.tables()?);
        sequences::synchronise(&self.shared, &tables).await?;
        finish::analyze(&self.shared, &tables).await
    }
}
