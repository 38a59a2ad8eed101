//! Brings the source's schema to the target.
//!
//! In: what `pg_dump` writes about the source, the captured tables, and what the target has already.
//! Out: an [`Import`], statements in an order that works. Never copies a row, never reads the source
//! other than through `pg_dump`, and never runs a shell.
//!
//! ```text
//! dump ──> archive ──> graph ──> select ──> plan ──> Import ──> run (pre-data, in one transaction)
//! bytes    entries     who needs  what       SQL        └─────> rounds ──> run (post-data, one by one)
//!                      whom       to import
//! ```
//!
//! The archive is read directly and not through `pg_restore`: in it every name and every statement has
//! its own length, so nothing has to be guessed from text, whatever characters a name holds.

mod archive;
mod dump;
mod graph;
mod plan;
mod rounds;
mod run;
mod select;
mod statement;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use stream_core::relation::TableName;
use stream_core::sql::list;

pub use dump::PgDump;
pub use rounds::rounds;
pub use run::{run_pre_data, run_statement};

/// What is to be imported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The captured tables: leaves and partition roots, under their names on the source.
    pub tables: BTreeSet<TableName>,
    /// Whether everything comes along that does not hang on a table left out (views, functions, types, …);
    /// otherwise the tables, what is attached to them, and what all that needs. For tables that are found
    /// later it is the latter: what somebody dropped at the target since then does not come back.
    pub everything: bool,
}

/// The statements that make the target fit for the rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Import {
    /// What must stand before the first row is copied, in order.
    pub pre_data: Vec<Statement>,
    /// What is better built after the copy, in an order in which the statements can be run one by one;
    /// [`rounds`] tells which of them can run side by side.
    pub post_data: Vec<Statement>,
    /// What the target does not get, though somebody might expect it there.
    pub left_out: Vec<LeftOut>,
    /// What is done differently from the source: sentences for people.
    pub warnings: Vec<String>,
}

/// One statement of an import (now and then a few that belong together), to be run in one transaction.
///
/// Can be stored as it is and run later, in another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Its number, unique within the import; higher than that of every statement it comes after.
    pub id: u32,
    /// The numbers of those that must be done before. One that is no longer listed is done.
    pub after: Vec<u32>,
    /// What it makes, in `pg_dump`'s words: `TABLE`, `FK CONSTRAINT`, `INDEX ATTACH`, …
    pub kind: String,
    /// The table it belongs to, if there is one.
    pub table: Option<TableName>,
    /// The name of what it makes, in `pg_dump`'s words.
    pub name: String,
    /// The text, to be run by [`run_statement`], which sets the session up as the text expects it.
    pub sql: String,
    /// When it is run.
    pub phase: Phase,
    /// Whether it may fail (the target may lack the role, or the right): a warning, not an error.
    pub soft: bool,
    /// The tables it locks.
    pub locks: Vec<Lock>,
}

/// When a statement is run. A phase begins when the one before is through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Before the copy.
    PreData,
    /// Indexes, keys and exclusion constraints with their marks, and extended statistics.
    Index,
    /// Foreign keys, triggers, rules, policies, and whatever else comes after the rows.
    Constraint,
    /// Privileges: after the policies, so that nobody reads what a policy will hide.
    Privilege,
    /// Materialised views are filled.
    Refresh,
    /// Event triggers: last, so that they do not see the import.
    EventTrigger,
}

/// A table that a statement locks until its transaction ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// The table; for a statement that reaches a whole tree of partitions, the tree's root.
    pub table: TableName,
    /// Whether it keeps out other builders of indexes too.
    pub exclusive: bool,
}

/// Something of the source that is not imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// What it is, in `pg_dump`'s words.
    pub kind: String,
    /// The imported table it hangs on, if there is one.
    pub table: Option<TableName>,
    /// Its name, in `pg_dump`'s words.
    pub name: String,
    /// Why.
    pub reason: String,
    /// The statement that adds it, once what it needs is there.
    pub statement: Option<String>,
}

/// Why a schema cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The schema is imported with `pg_dump`, and none was found.
    ///
    /// Remedy: install the client programs, or set `skipDdlImport: true` and create the tables yourself.
    #[error(
        "no `pg_dump` that runs was found in {}: install the PostgreSQL client programs of version {server_major} or \
         later, name their directory with `--postgres-dir`, or set `skipDdlImport: true` and create the captured \
         tables at the target yourself",
        list(.directories.iter().map(|directory| format!("`{}`", directory.display())))
    )]
    NoPgDump {
        /// Where it was looked for.
        directories: Vec<PathBuf>,
        /// The source's major version.
        server_major: u32,
    },
    /// `pg_dump` refuses servers that are newer than itself.
    ///
    /// Remedy: install the client programs of the source's version or later.
    #[error(
        "`pg_dump` is older than the source (version {server_major}): found {found}; install the PostgreSQL \
         client programs of version {server_major} or later, name their directory with `--postgres-dir`, or set \
         `skipDdlImport: true` and create the captured tables at the target yourself"
    )]
    OldPgDump {
        /// Paths and versions.
        found: String,
        /// The source's major version.
        server_major: u32,
    },
    /// The program could not be run.
    ///
    /// Remedy: check that it is an executable program for this machine.
    #[error("`{path}` cannot be run: {source}; check that it is an executable program")]
    Start {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// `pg_dump` ended with an error. Nothing was made at the target.
    ///
    /// Remedy: what its last words say; most often the role may not read or lock a table. The next start begins with the import again.
    #[error("`{path}` failed ({status}); its last words: {stderr}")]
    PgDump {
        /// Its path.
        path: PathBuf,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The last lines it wrote.
        stderr: String,
    },
    /// The archive that `pg_dump` wrote is cut short, or of a form that is not known. Nothing was made at the target.
    ///
    /// Remedy: check the space on the machine, use a `pg_dump` of version 12 to 18, or set `skipDdlImport: true`.
    #[error(
        "the archive that `pg_dump` wrote cannot be read at byte {at}: {problem}; use a `pg_dump` of \
         version 12 to 18, or skip the schema import"
    )]
    Archive {
        /// Where the reader stood.
        at: usize,
        /// What is wrong there.
        problem: &'static str,
    },
    /// A captured table is neither in the dump nor at the target.
    ///
    /// Remedy: start again; if it belongs to an extension, create the extension at the target, or exclude the table.
    #[error(
        "captured table `{table}` is not in the source's dump: it was dropped or renamed in the \
         meantime, or it belongs to an extension; start again, or exclude it"
    )]
    NoTable {
        /// The table.
        table: TableName,
    },
    /// The target's server does not offer extensions that imported objects need.
    ///
    /// Message: extension `<extension>` is not offered by the target's server, and `<objects>` need(s) it: install it there, or exclude the
    /// table
    ///
    /// Remedy: install them there (the operating system's package, not only `CREATE EXTENSION`), or exclude the table.
    #[error("{}", no_extension(.missing))]
    NoExtension {
        /// The extensions, each with what needs it: kinds and names.
        missing: BTreeMap<String, Vec<String>>,
    },
    /// The target's catalogue could not be read.
    ///
    /// Remedy: check the connection and the user's rights.
    #[error(
        "the target's catalogue cannot be read: {message}; check the connection and the user's rights"
    )]
    Catalogue {
        /// What the target said.
        message: String,
        /// The driver's error.
        source: tokio_postgres::Error,
    },
    /// The target refused a statement of the import, or one that makes an index or constraint after the copy.
    ///
    /// Remedy: remove the cause at the target and start again: what is made already is not made twice. Or make the object there by hand.
    #[error(
        "{kind} `{name}` cannot be made at the target: {message}; remove the cause and start again, or \
         make it there by hand"
    )]
    Refused {
        /// What it was to make.
        kind: String,
        /// Its name.
        name: String,
        /// What the target said.
        message: String,
        /// The driver's error.
        source: tokio_postgres::Error,
    },
}

impl SchemaError {
    /// Whether the same call may succeed later, without anybody changing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            // pg_dump has one exit code for everything, a lost connection included.
            Self::PgDump { .. } | Self::NoTable { .. } => true,
            Self::Catalogue { source, .. } | Self::Refused { source, .. } => {
                source.code().map_or_else(
                    // Without a code it was not the server that spoke.
                    || source.is_closed() || std::error::Error::source(source).is_some(),
                    // Connections, rollbacks, resources, locks, an operator's intervention.
                    |state| {
                        ["08", "40", "53", "55", "57"]
                            .iter()
                            .any(|class| state.code().starts_with(class))
                    },
                )
            }
            Self::NoPgDump { .. }
            | Self::OldPgDump { .. }
            | Self::Start { .. }
            | Self::Archive { .. }
            | Self::NoExtension { .. } => false,
        }
    }
}

/// Dumps the source's schema and plans its import into `target`.
///
/// `environment` is the whole environment of the child process, but for the search path and the
/// language: `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD`, `PGDATABASE` and the like, and `HOME` where
/// certificates or a password file are to be found there. The source's user must be able to read every
/// table of the database, captured or not: `pg_dump` locks them.
///
/// Leaves `target` with an empty search path.
///
/// # Errors
///
/// [`SchemaError::Start`], [`SchemaError::PgDump`] and [`SchemaError::Archive`] when there is no dump,
/// [`SchemaError::Catalogue`] when the target cannot be asked, [`SchemaError::NoTable`] and
/// [`SchemaError::NoExtension`] when something needed is missing.
///
/// # Cancel safety
///
/// Nothing is changed on either side; a running `pg_dump` is killed.
pub async fn plan_import(
    pg_dump: &PgDump,
    environment: &[(String, OsString)],
    target: &tokio_postgres::Client,
    wanted: &Wanted,
) -> Result<Import, SchemaError> {
    let entries = archive::read(&pg_dump.run(environment).await?)?;
    let target = target::Target::read(target).await?;
    plan::plan(&entries, wanted, &target)
}

/// One line for each extension that is missing.
fn no_extension(missing: &BTreeMap<String, Vec<String>>) -> String {
    let lines = missing.iter().map(|(extension, users)| {
        format!(
            "extension `{extension}` is not offered by the target's server, and {} need(s) it: install it there, or \
             exclude the table",
            list(users)
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What the server said, in one line; the driver's own words are only `db error`.
fn server_words(error: &tokio_postgres::Error) -> String {
    let Some(error) = error.as_db_error() else { return error.to_string() };
    let mut words = format!("{} (SQLSTATE {})", error.message(), error.code().code());
    // The detail of a violated constraint holds the row's values.
    let of_row = ["22", "23"].iter().any(|class| error.code().code().starts_with(class));
    let detail = error.detail().filter(|_| !of_row);
    for more in [detail, error.hint()].into_iter().flatten() {
        words.push_str("; ");
        words.push_str(more);
    }
    words
}
