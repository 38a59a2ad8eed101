//! The stream's progress, kept at the target in schema `sgstream`.
//!
//! The position is saved in the transaction that writes the data, so that the two cannot disagree. The
//! epoch fences: whoever starts last owns the stream, and an older worker's next transaction finds that
//! out before it writes. A process takes a stream over once: when it connects again, it goes on only while the
//! stream is still its own, so that it never takes it back from a worker that came later.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use stream_core::lsn::Lsn;
use stream_core::postgres::{ConnectOptions, SqlClient};
use stream_core::relation::TableName;
use stream_core::sql::{Ident, Literal};
use stream_core::{Error, ErrorKind};

use super::error::{fenced, from_sql};

/// How long a claim waits for the end of another worker's transaction, before it says so and begins anew.
const CLAIM_PATIENCE: &str = "2s";
/// SQLSTATE of statements that find the stream taken over.
pub(super) const FENCED: &str = "SGF01";

const CREATE: &str = "
CREATE SCHEMA IF NOT EXISTS sgstream;
CREATE TABLE IF NOT EXISTS sgstream.progress (
    stream text PRIMARY KEY,
    epoch bigint NOT NULL,
    owner uuid,
    system_id text,
    slot text,
    timeline bigint,
    position pg_lsn,
    schema_imported boolean NOT NULL DEFAULT false,
    completion text NOT NULL DEFAULT 'open' CHECK (completion IN ('open', 'delivered', 'completed')),
    saved_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS sgstream.table_sync (
    stream text NOT NULL REFERENCES sgstream.progress ON DELETE CASCADE,
    table_schema text NOT NULL,
    table_name text NOT NULL,
    synced_at pg_lsn,
    source_oid bigint,
    published_by bigint,
    source_columns jsonb,
    published_as jsonb,
    source_root jsonb,
    PRIMARY KEY (stream, table_schema, table_name)
);
CREATE TABLE IF NOT EXISTS sgstream.pending (
    stream text NOT NULL REFERENCES sgstream.progress ON DELETE CASCADE,
    id integer NOT NULL,
    statement text NOT NULL,
    PRIMARY KEY (stream, id)
);
COMMENT ON TABLE sgstream.pending IS 'Indexes, constraints and the like that are made once the rows are there';
COMMENT ON SCHEMA sgstream IS 'Progress of streams into this database: removing a row of \"progress\" makes that stream begin anew';
";

/// What tables that an older version made lack.
const UPGRADE: &str = "
ALTER TABLE sgstream.progress ADD COLUMN IF NOT EXISTS owner uuid, ADD COLUMN IF NOT EXISTS timeline bigint;
ALTER TABLE sgstream.table_sync ADD COLUMN IF NOT EXISTS source_columns jsonb, ADD COLUMN IF NOT EXISTS published_as jsonb,
    ADD COLUMN IF NOT EXISTS source_root jsonb;
";

/// What a process knows of its right to a stream. It is the same for all connections of the process: the first takes the
/// stream over from any other worker, later ones go on only if none has taken it over since.
#[derive(Debug, Default)]
pub struct Claim {
    /// Who the process is to the target; `None` until it connected.
    owner: Option<String>,
    is_taken: bool,
    /// Whether values have to come as text: the log has some of a time when their column had another type.
    pub(super) needs_text: Arc<AtomicBool>,
}

impl Claim {
    /// Whether an earlier connection has taken the stream over.
    pub(super) const fn is_taken(&self) -> bool {
        self.is_taken
    }
}

/// A session's right to a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ownership {
    pub(super) stream: String,
    epoch: i64,
    owner: String,
}

impl Ownership {
    pub(super) fn condition(&self) -> String {
        // Whoever removes a stream's row lets its epochs begin again.
        let Self { stream, epoch, owner } = self;
        format!("stream = {} AND epoch = {epoch} AND owner = {}", Literal(stream), Literal(owner))
    }

    /// Finds a row while the stream is ours, and keeps others from taking it until the transaction ends.
    pub(super) fn lock_sql(&self) -> String {
        format!("SELECT FROM sgstream.progress WHERE {} FOR UPDATE", self.condition())
    }

    /// As [`Self::lock_sql`], for several sessions of the owner at once.
    pub(super) fn share_sql(&self) -> String {
        format!("SELECT FROM sgstream.progress WHERE {} FOR SHARE", self.condition())
    }

    /// Fails when the stream is not ours any more; keeps others from taking it until the transaction ends.
    pub(super) fn assert_sql(&self) -> String {
        Self::assert(&self.lock_sql())
    }

    /// As [`Self::assert_sql`], for several sessions of the owner at once.
    pub(super) fn assert_shared_sql(&self) -> String {
        Self::assert(&self.share_sql())
    }

    fn assert(lock: &str) -> String {
        let lock = lock.replacen("SELECT FROM", "PERFORM FROM", 1);
        let body = format!(
            "BEGIN {lock}; IF NOT FOUND THEN RAISE EXCEPTION USING ERRCODE = '{FENCED}', \
             MESSAGE = 'another worker has taken over the stream'; END IF; END"
        );
        format!("DO {}", Literal(&body))
    }

    /// Saves the position; finds a row while the stream is ours.
    pub(super) fn save_sql(&self, position: Lsn) -> String {
        format!(
            "UPDATE sgstream.progress SET position = '{position}', saved_at = now() WHERE {}",
            self.condition()
        )
    }
}

/// The statements that make a stream begin anew at its next start: its tables are known as its own, and as not copied,
/// so that they are emptied and copied again. Without its row in `progress` they would be somebody else's.
#[must_use]
pub fn begin_anew_sql(stream: &str) -> String {
    let stream = Literal(stream);
    format!(
        "UPDATE sgstream.progress SET system_id = NULL, slot = NULL, position = NULL, completion = 'open' \
         WHERE stream = {stream}; UPDATE sgstream.table_sync SET synced_at = NULL WHERE stream = {stream}"
    )
}

/// The statement that makes a stream copy one of its tables again at its next start.
pub(super) fn copy_again_sql(table: &TableName) -> String {
    format!(
        "UPDATE sgstream.table_sync SET synced_at = NULL, source_oid = NULL WHERE table_schema = {} AND table_name = {}",
        Literal(&table.schema),
        Literal(&table.name)
    )
}

/// Makes the tables and claims the stream.
pub(super) async fn claim(
    client: &SqlClient,
    target: &ConnectOptions,
    stream: &str,
    claim: &mut Claim,
) -> Result<Ownership, Error> {
    let failed = |error| from_sql("claim the stream", &error);
    // A worker that hangs, or whose machine is gone, can hold its stream for hours: whoever waits for it says so.
    client
        .batch_execute(&format!("SET lock_timeout = '{CLAIM_PATIENCE}'"))
        .await
        .map_err(failed)?;
    if !is_there(client).await? {
        client.batch_execute(CREATE).await.map_err(|error| cannot_create(&error, target))?;
    } else if !is_of_this_version(client).await? {
        client.batch_execute(UPGRADE).await.map_err(|error| cannot_upgrade(error, stream))?;
    }
    let owner = match &claim.owner {
        Some(owner) => owner.clone(),
        None => {
            let sql = "SELECT gen_random_uuid()::text";
            let owner = client.query_one(sql, &[]).await.map_err(failed)?.get(0);
            claim.owner.insert(owner).clone()
        }
    };
    // The epoch fences what is left of this process's own sessions, too.
    let row = client
        .query_opt(
            "INSERT INTO sgstream.progress (stream, epoch, owner) VALUES ($1, 1, $2::text::uuid) ON CONFLICT (stream) \
             DO UPDATE SET epoch = progress.epoch + 1, owner = excluded.owner \
             WHERE NOT $3 OR progress.owner = excluded.owner RETURNING epoch",
            &[&stream, &owner, &claim.is_taken],
        )
        .await
        .map_err(|error| held(error, stream))?
        .ok_or_else(fenced)?;
    claim.is_taken = true;
    client.batch_execute("SET lock_timeout = 0").await.map_err(failed)?;
    Ok(Ownership { stream: stream.to_owned(), epoch: row.get(0), owner })
}

/// The stream cannot be claimed, because another worker of it is in the middle of a transaction at the target.
///
/// Remedy: nothing, if that worker is well: its transaction ends, and this worker takes the stream over. If it hangs or its machine is gone, run
/// the statement of the message at the target.
fn held(error: tokio_postgres::Error, stream: &str) -> Error {
    if error.code().is_none_or(|code| code.code() != "55P03") {
        return from_sql("claim the stream", &error);
    }
    Error::new(
        ErrorKind::Transient,
        format!(
            "another worker of stream `{stream}` is in the middle of a transaction at the target: waiting for its end; if \
             that worker hangs or is gone, end its session there with `SELECT pg_terminate_backend(pid) FROM pg_locks \
             WHERE relation = 'sgstream.progress'::regclass AND pid <> pg_backend_pid()`"
        ),
    )
}

fn cannot_create(error: &tokio_postgres::Error, target: &ConnectOptions) -> Error {
    if error.code().is_some_and(|code| code.code() == "42501") {
        return Error::new(ErrorKind::Configuration, needs_schema(target));
    }
    from_sql("create the progress tables", error)
}

/// The target's role may not make schema `sgstream`, in which a stream keeps its progress.
///
/// Remedy: run the statement of the message as the database's owner, or create the schema for the role.
pub(super) fn needs_schema(target: &ConnectOptions) -> String {
    let (database, role) = (Ident(&target.database), Ident(&target.user));
    format!(
        "role `{}` may not create schema `sgstream` at the target, in which the stream's progress is kept: run \
         `GRANT CREATE ON DATABASE {database} TO {role}` there as the database's owner",
        target.user
    )
}

/// An older version made the tables of schema `sgstream` at the target, and the role may not give them their new columns.
///
/// Remedy: run the statements of the message at the target, as the owner of the tables.
fn cannot_upgrade(error: tokio_postgres::Error, stream: &str) -> Error {
    if error.code().is_none_or(|code| code.code() != "42501") {
        return held(error, stream);
    }
    Error::new(
        ErrorKind::Configuration,
        format!(
            "the tables in which progress is kept at the target are of an older version, and belong to somebody else: run `{}` \
             there as their owner",
            UPGRADE.trim().replace('\n', " ")
        ),
    )
}

async fn is_of_this_version(client: &SqlClient) -> Result<bool, Error> {
    let columns = "SELECT 5 = (SELECT count(*) FROM pg_attribute
        WHERE attrelid = to_regclass('sgstream.progress') AND attname IN ('owner', 'timeline')
           OR attrelid = to_regclass('sgstream.table_sync') AND attname IN ('source_columns', 'published_as', 'source_root'))";
    let row = client
        .query_one(columns, &[])
        .await
        .map_err(|error| from_sql("look for the progress tables", &error))?;
    Ok(row.get(0))
}

/// Whether the target has the tables that keep progress.
pub(super) async fn is_there(client: &SqlClient) -> Result<bool, Error> {
    let newest = "SELECT to_regclass('sgstream.pending') IS NOT NULL";
    let row = client
        .query_one(newest, &[])
        .await
        .map_err(|error| from_sql("look for the progress tables", &error))?;
    Ok(row.get(0))
}
