//! The publication: which changes the server sends.
//!
//! It has to exist, and to list a table, before the slot's position passes the table's first change:
//! the server looks it up as of that moment of the log.

mod entries;
mod statements;

use std::collections::BTreeSet;

use serde::Deserialize;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

pub(super) use self::statements::{add_sql, create_sql, generated_sql};
use super::capture::{Captured, CapturedTable};
use super::catalog::{CatalogColumn, Generated};
use super::query::{QueryError, execute, json_rows};
use crate::relation::TableName;
use crate::sql::Ident;

/// What may be done when a publication is missing, or does not cover a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCreate {
    /// Create it for the captured tables, and add those that it lacks.
    Filtered,
    /// Create it for all tables; add to an existing one what it lacks.
    AllTables,
    /// Nothing: the user makes it.
    Disabled,
    /// Create it without tables; the user adds them.
    NoTables,
}

impl AutoCreate {
    /// Whether tables may be added to a publication that is there.
    pub(super) const fn may_add(self) -> bool {
        match self {
            Self::Filtered | Self::AllTables => true,
            Self::Disabled | Self::NoTables => false,
        }
    }
}

/// A publication, as it stands.
///
/// Source: <https://www.postgresql.org/docs/current/catalog-pg-publication.html>
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Publication {
    /// `pg_publication.oid`.
    pub id: u32,
    /// `xmin` of its row: another one after each ALTER of what it says itself.
    pub version: u32,
    /// Its name.
    pub name: String,
    /// Whether we have its owner's rights.
    pub owned: bool,
    /// Whether it is for all tables.
    pub all_tables: bool,
    /// Whether changes of partitions come under the name of the published root.
    pub via_partition_root: bool,
    /// Whether it publishes stored generated columns where no list of columns says otherwise (18 and later).
    pub generated_columns: bool,
    /// Which operations it publishes.
    pub operations: Operations,
    /// The tables that it lists.
    pub tables: Vec<ListedTable>,
    /// The schemas all of whose tables it publishes (15 and later).
    pub schemas: Vec<ListedSchema>,
}

/// The operations that a publication publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Operations {
    /// INSERT.
    pub insert: bool,
    /// UPDATE.
    pub update: bool,
    /// DELETE.
    pub delete: bool,
    /// TRUNCATE.
    pub truncate: bool,
}

/// A schema that a publication lists.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ListedSchema {
    /// `pg_publication_namespace.oid`: another one when the schema was taken out and listed again.
    pub id: u32,
    /// Its name.
    pub name: String,
}

/// A table that a publication lists by name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ListedTable {
    /// `pg_publication_rel.oid`: another one when the table was taken out and listed again.
    pub id: u32,
    /// Its name.
    pub name: TableName,
    /// The condition that its rows must meet, as SQL (15 and later).
    pub row_filter: Option<String>,
    /// The columns that are published; `None`: all (15 and later).
    pub columns: Option<Vec<String>>,
}

/// How a publication publishes one table; a snapshot has to do the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule<'a> {
    /// The condition that rows must meet, as SQL.
    pub row_filter: Option<&'a str>,
    /// The published columns; `None`: all.
    pub columns: Option<&'a [String]>,
    /// Whether stored generated columns are published where `columns` does not say.
    pub generated_columns: bool,
}

impl Rule<'_> {
    /// Whether the log has the values of a column.
    pub(super) fn publishes(&self, column: &CatalogColumn) -> bool {
        match (column.generated, self.columns) {
            (Some(Generated::Virtual), _) => false,
            (_, Some(listed)) => listed.contains(&column.name),
            (Some(Generated::Stored), None) => self.generated_columns,
            (None, None) => true,
        }
    }
}

impl Publication {
    /// How it publishes a table; `None`: not at all.
    #[must_use]
    pub fn rule(&self, table: &CapturedTable) -> Option<Rule<'_>> {
        let whole = Rule { generated_columns: self.generated_columns, ..Rule::default() };
        let name = self.comes_as(table)?;
        let own = self.listed(name).filter(|_| !self.has_schema_of(name));
        Some(own.map_or(whole, |own| Rule {
            row_filter: own.row_filter.as_deref(),
            columns: own.columns.as_deref(),
            ..whole
        }))
    }

    /// The table under whose name, and under whose conditions, a table's changes come; `None`: they do not.
    pub(super) fn comes_as<'a>(&self, table: &'a CapturedTable) -> Option<&'a TableName> {
        let publishes = |name: &&TableName| {
            self.all_tables || self.listed(name).is_some() || self.has_schema_of(name)
        };
        // Being part of a published table is being published.
        let uppermost = table.ancestors.iter().rev().chain([&table.name]).find(publishes)?;
        Some(if self.via_partition_root { uppermost } else { &table.name })
    }

    fn listed(&self, name: &TableName) -> Option<&ListedTable> {
        self.tables.iter().find(|listed| listed.name == *name)
    }

    fn has_schema_of(&self, name: &TableName) -> bool {
        self.schemas.iter().any(|schema| schema.name == name.schema)
    }

    /// Whether the server refuses UPDATE and DELETE of tables whose generated columns it does not publish.
    pub(super) fn lacks_generated(&self, captured: &Captured) -> bool {
        let writes = self.operations.update || self.operations.delete;
        !self.generated_columns && writes && captured.needs_generated()
    }

    /// The tables of `captured` that it does not cover, under the names to add.
    pub(super) fn lacks(&self, captured: &Captured) -> Vec<TableName> {
        let uncovered = captured.all().filter(|table| self.rule(table).is_none());
        let names: BTreeSet<_> = uncovered.map(|table| &table.published_as).collect();
        names.into_iter().cloned().collect()
    }
}

/// What [`ensure`] found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ensured {
    /// The publication as it stands now.
    pub publication: Publication,
    /// Whether it was created just now.
    pub created: bool,
    /// The version that it had, if its own row was altered just now.
    pub altered_from: Option<u32>,
    /// Tables that were added to it just now.
    pub added: Vec<TableName>,
    /// Captured tables that it does not publish, when the mode does not allow adding them: their
    /// changes will not come.
    pub missing: Vec<TableName>,
}

/// Why there is no publication to stream from.
#[derive(Debug, thiserror::Error)]
pub enum PublicationError {
    /// The role may not make the publication, or not for these tables. The stream waits.
    ///
    /// Remedy: run the statement of the message as the owner of the tables; the stream goes on by itself.
    #[error(
        "publication `{name}` has to be made by the owner of its tables ({reason}): run `{sql}` as \
         that user, on the primary; the stream goes on by itself then"
    )]
    NeedsOwner {
        /// The publication.
        name: String,
        /// The statement to run.
        sql: String,
        /// The server's refusal.
        reason: String,
    },
    /// It is not there, and `publicationAutocreateMode: disabled` leaves it to you. The stream waits.
    ///
    /// Remedy: run the statement of the message; the stream goes on by itself.
    #[error(
        "publication `{name}` does not exist, and `publicationAutocreateMode` is `disabled`: run \
         `{sql}`; the stream goes on by itself then"
    )]
    Missing {
        /// The publication.
        name: String,
        /// The statement to run.
        sql: String,
    },
    /// Somebody else changes the publication all the time.
    ///
    /// Remedy: give each stream a publication of its own (`publicationName`).
    #[error(
        "publication `{name}` is changed by somebody else while it is set up: see that only one \
         stream uses this name"
    )]
    Contended {
        /// The publication.
        name: String,
    },
    /// The server refused to make or to change the publication.
    ///
    /// Remedy: what the server's words say. A table that is gone is looked for again.
    #[error("publication `{name}`: {source}")]
    Refused {
        /// The publication.
        name: String,
        /// What happened.
        source: QueryError,
    },
    /// The server did not answer, or refused, when the publication was looked at.
    ///
    /// Remedy: what the server's words say.
    #[error("publication `{name}`: {source}")]
    Query {
        /// The publication.
        name: String,
        /// What happened.
        source: QueryError,
    },
}

impl PublicationError {
    /// Whether waiting may help: for the server, or for the user who runs the statement.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NeedsOwner { .. } | Self::Missing { .. } | Self::Contended { .. } => true,
            Self::Refused { source, .. } | Self::Query { source, .. } => source.is_retryable(),
        }
    }
}

/// Makes sure that a publication exists and, as far as `mode` allows, that it covers all captured
/// tables. What the user's own publication restricts stays restricted. `via_partition_root` counts
/// only for a publication that is created here.
///
/// # Errors
///
/// [`PublicationError::NeedsOwner`] with the statement to run when we lack the right,
/// [`PublicationError::Missing`] when creating is not wanted, [`PublicationError::Refused`] when the server does not do it, and
/// [`PublicationError::Query`] when it does not answer.
///
/// # Cancel safety
///
/// Dropping the future may leave the work done or not; calling it again is right in both cases.
pub async fn ensure(
    client: &Client,
    name: &str,
    captured: &Captured,
    via_partition_root: bool,
    mode: AutoCreate,
) -> Result<Ensured, PublicationError> {
    let query = |source| PublicationError::Query { name: name.to_owned(), source };
    let (mut created, mut altered_from, mut added) = (false, None, Vec::new());
    for _ in 0..ROUNDS {
        let Some(publication) = read(client, name).await.map_err(query)? else {
            if mode == AutoCreate::Disabled {
                let sql = create_sql(name, captured, via_partition_root, AutoCreate::Filtered);
                return Err(PublicationError::Missing { name: name.to_owned(), sql });
            }
            let sql = create_sql(name, captured, via_partition_root, mode);
            created = change(client, name, sql).await?;
            continue;
        };
        let missing = publication.lacks(captured);
        let lacks_generated = publication.lacks_generated(captured);
        if missing.is_empty() && !lacks_generated || !mode.may_add() {
            return Ok(Ensured { publication, created, altered_from, added, missing });
        }
        if lacks_generated {
            if change(client, name, generated_sql(name)).await? {
                altered_from = altered_from.or(Some(publication.version));
            }
        } else if change(client, name, add_sql(name, &missing)).await? {
            added = missing;
        }
    }
    Err(PublicationError::Contended { name: name.to_owned() })
}

/// How often the publication is looked at: before, after creating it, after each way of adding to it, and twice
/// more because somebody else was faster.
const ROUNDS: usize = 6;

/// Runs a statement that makes the publication what it should be. `false`: somebody else has done it,
/// or a part of it, in the meantime.
async fn change(client: &Client, name: &str, sql: String) -> Result<bool, PublicationError> {
    let Err(source) = execute(client, "change the publication", &sql).await else {
        return Ok(true);
    };
    let name = name.to_owned();
    match source.code() {
        Some(code) if *code == SqlState::DUPLICATE_OBJECT => Ok(false),
        Some(code)
            if *code == SqlState::INSUFFICIENT_PRIVILEGE
                || *code == SqlState::READ_ONLY_SQL_TRANSACTION =>
        {
            Err(PublicationError::NeedsOwner { name, sql, reason: source.to_string() })
        }
        _ => Err(PublicationError::Refused { name, source }),
    }
}

/// Reads a publication; `None` when there is none of that name.
///
/// # Errors
///
/// [`QueryError`] when the server does not answer.
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
pub async fn read(client: &Client, name: &str) -> Result<Option<Publication>, QueryError> {
    let what = "read the publication";
    let version = "SELECT current_setting('server_version_num')";
    let versions: Vec<u32> = json_rows(client, what, version, &[]).await?;
    let since = |wanted| versions.first().is_some_and(|&version| version >= wanted);
    let generated = if since(180_000) { "p.pubgencols = 's'" } else { "false" };
    // Row filters, column lists and schemas came with 15.
    let (restrictions, schemas) = if since(150_000) {
        (
            "'row_filter', pg_get_expr(r.prqual, r.prrelid),
             'columns', (SELECT json_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a
                          WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs))",
            "(SELECT coalesce(json_agg(json_build_object('id', s.oid::bigint, 'name', n.nspname) ORDER BY n.nspname), '[]')
                FROM pg_publication_namespace s JOIN pg_namespace n ON n.oid = s.pnnspid
               WHERE s.pnpubid = p.oid)",
        )
    } else {
        ("'row_filter', NULL, 'columns', NULL", "'[]'::json")
    };
    let sql = format!(
        "SELECT json_build_object(
           'id', p.oid::bigint, 'version', p.xmin::text::bigint, 'name', p.pubname,
           'owned', pg_has_role(p.pubowner, 'USAGE'),
           'all_tables', p.puballtables, 'via_partition_root', p.pubviaroot,
           'generated_columns', {generated},
           'operations', json_build_object('insert', p.pubinsert, 'update', p.pubupdate,
                                           'delete', p.pubdelete, 'truncate', p.pubtruncate),
           'tables', (SELECT coalesce(json_agg(json_build_object(
                        'id', r.oid::bigint, 'name', json_build_object('schema', n.nspname, 'name', c.relname),
                        {restrictions}) ORDER BY n.nspname, c.relname), '[]')
                        FROM pg_publication_rel r JOIN pg_class c ON c.oid = r.prrelid
                        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE r.prpubid = p.oid),
           'schemas', {schemas})::text
         FROM pg_publication p WHERE p.pubname = $1"
    );
    Ok(json_rows(client, what, &sql, &[&name]).await?.into_iter().next())
}

/// Drops a publication, if it is there.
///
/// # Errors
///
/// [`QueryError`] when it is not ours, or when the server does not answer.
///
/// # Cancel safety
///
/// Dropping the future may leave it dropped or not; calling it again is right in both cases.
pub async fn drop(client: &Client, name: &str) -> Result<(), QueryError> {
    let sql = format!("DROP PUBLICATION IF EXISTS {}", Ident(name));
    execute(client, "drop the publication", &sql).await
}
