//! The checkpoint of a stream, read from and saved in the tables of [`progress`](super::progress).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use stream_core::checkpoint::{Checkpoint, Completion, OffsetStore, SourceIdentity, TableSync};
use stream_core::lsn::Lsn;
use stream_core::postgres::SqlClient;
use stream_core::relation::{RelationId, TableName};
use stream_core::sql::Literal;
use stream_core::table::TableOrigin;
use stream_core::{Error, ErrorKind};

use super::error::from_sql;
use super::progress::Ownership;

/// What the target, which [is there](super::progress::is_there), has of a stream; `None` when it does not know the stream.
pub(super) async fn read(client: &SqlClient, stream: &str) -> Result<Option<Checkpoint>, Error> {
    let failed = |error| from_sql("read the stream's progress", &error);
    let row = client
        .query_opt(
            "SELECT system_id, slot, position::text, completion, timeline::oid FROM sgstream.progress \
             WHERE stream = $1",
            &[&stream],
        )
        .await
        .map_err(failed)?;
    let Some(row) = row else { return Ok(None) };
    let source = match (row.get::<_, Option<String>>(0), row.get::<_, Option<String>>(1)) {
        (Some(system_id), Some(slot)) => {
            Some(SourceIdentity { system_id, slot, timeline: row.get(4) })
        }
        _ => None,
    };
    let position = row.get::<_, Option<&str>>(2).map(parse_lsn).transpose()?;
    let completion = parse_completion(row.get(3))?;
    let rows = client
        .query(
            "SELECT table_schema, table_name, synced_at::text, source_oid::oid, published_by::oid, to_jsonb(table_sync) ->> 'source_columns', \
             to_jsonb(table_sync) ->> 'published_as', to_jsonb(table_sync) ->> 'source_root' \
             FROM sgstream.table_sync WHERE stream = $1",
            &[&stream],
        )
        .await
        .map_err(failed)?;
    let mut tables = BTreeMap::new();
    for row in rows {
        let name = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let sync = match row.get::<_, Option<&str>>(2) {
            Some(lsn) => {
                let origin = TableOrigin {
                    relation: RelationId(row.get::<_, Option<u32>>(3).unwrap_or_default()),
                    published_by: row.get::<_, Option<u32>>(4).unwrap_or_default(),
                    columns: parsed(row.get(5))?.unwrap_or_default(),
                    published_as: parsed(row.get(6))?,
                    root: parsed(row.get(7))?,
                };
                TableSync::Synced { lsn: parse_lsn(lsn)?, origin }
            }
            // Rows that were copied are removed here before the next copy.
            None => TableSync::Copying { lsn: Lsn::default(), relation: None },
        };
        tables.insert(name, sync);
    }
    Ok(Some(Checkpoint { source, position, tables, completion }))
}

/// The checkpoint at the target.
#[derive(Clone)]
pub struct TargetStore {
    client: Arc<SqlClient>,
    ownership: Ownership,
}

impl TargetStore {
    pub(super) const fn new(client: Arc<SqlClient>, ownership: Ownership) -> Self {
        Self { client, ownership }
    }

    /// Runs statements in a transaction in which the stream is ours.
    async fn owned(&self, sql: &str) -> Result<(), Error> {
        let sql = format!("BEGIN; {}; {sql}; COMMIT", self.ownership.assert_sql());
        let Err(error) = self.client.batch_execute(&sql).await else { return Ok(()) };
        // The session is used again.
        let _ = self.client.batch_execute("ROLLBACK").await;
        Err(from_sql("save the stream's progress", &error))
    }
}

impl OffsetStore for TargetStore {
    async fn load(&mut self) -> Result<Checkpoint, Error> {
        Ok(read(&self.client, &self.ownership.stream).await?.unwrap_or_default())
    }

    async fn save_start(&mut self, source: &SourceIdentity, position: Lsn) -> Result<(), Error> {
        self.owned(&format!(
            "UPDATE sgstream.progress SET system_id = {}, slot = {}, timeline = {}, position = '{position}' \
             WHERE {}",
            Literal(&source.system_id),
            Literal(&source.slot),
            source.timeline.map_or_else(|| "NULL".to_owned(), |timeline| timeline.to_string()),
            self.ownership.condition()
        ))
        .await
    }

    /// Nothing is left to do: the sink saved the position in the transaction that wrote the data.
    async fn save_position(&mut self, _position: Lsn) -> Result<(), Error> {
        Ok(())
    }

    async fn save_tables(&mut self, tables: &[(TableName, TableSync)]) -> Result<(), Error> {
        let rows = stream_core::sql::list(tables.iter().map(|(name, sync)| {
            let synced = match sync {
                TableSync::Copying { relation, .. } => {
                    let relation = relation
                        .map_or_else(|| "NULL".to_owned(), |relation| relation.0.to_string());
                    format!("NULL, {relation}, NULL, NULL, NULL, NULL")
                }
                TableSync::Synced { lsn, origin } => {
                    let TableOrigin { relation, published_by, columns, published_as, root } =
                        origin;
                    let columns = json(Some(columns));
                    let (published_as, root) = (json(published_as.as_ref()), json(root.as_ref()));
                    format!(
                        "'{lsn}', {}, {published_by}, {columns}, {published_as}, {root}",
                        relation.0
                    )
                }
            };
            format!(
                "({}, {}, {}, {synced})",
                Literal(&self.ownership.stream),
                Literal(&name.schema),
                Literal(&name.name)
            )
        }));
        if rows.is_empty() {
            return Ok(());
        }
        self.owned(&format!(
            "INSERT INTO sgstream.table_sync (stream, table_schema, table_name, synced_at, source_oid, published_by, source_columns, \
             published_as, source_root) \
             SELECT stream, table_schema, table_name, synced_at::pg_lsn, source_oid::bigint, published_by::bigint, source_columns::jsonb, \
             published_as::jsonb, source_root::jsonb \
             FROM (VALUES {rows}) new (stream, table_schema, table_name, synced_at, source_oid, published_by, source_columns, published_as, \
             source_root) \
             ON CONFLICT (stream, table_schema, table_name) DO UPDATE SET synced_at = excluded.synced_at, \
             source_oid = excluded.source_oid, published_by = excluded.published_by, source_columns = excluded.source_columns, \
             published_as = excluded.published_as, source_root = excluded.source_root"
        ))
        .await
    }

    async fn save_completion(&mut self, completion: Completion) -> Result<(), Error> {
        self.owned(&format!(
            "UPDATE sgstream.progress SET completion = {} WHERE {}",
            Literal(completion_word(completion)),
            self.ownership.condition()
        ))
        .await
    }
}

const fn completion_word(completion: Completion) -> &'static str {
    match completion {
        Completion::Open => "open",
        Completion::Delivered => "delivered",
        Completion::Completed => "completed",
    }
}

/// A newer version wrote the stream's progress at the target, or somebody changed it.
///
/// Remedy: run the version that wrote it.
fn parse_completion(word: &str) -> Result<Completion, Error> {
    [Completion::Open, Completion::Delivered, Completion::Completed]
        .into_iter()
        .find(|completion| completion_word(*completion) == word)
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Permanent,
                format!(
                    "sgstream.progress at the target says that the stream is `{word}`, which this version does \
                     not know: use the version that wrote it"
                ),
            )
        })
}

/// Nothing where a version that did not note it took up the table.
fn parsed<T: DeserializeOwned>(json: Option<&str>) -> Result<Option<T>, Error> {
    let parsed = json.map(serde_json::from_str).transpose();
    parsed.map_err(|error| Error::new(ErrorKind::Permanent, error))
}

fn parse_lsn(text: &str) -> Result<Lsn, Error> {
    text.parse().map_err(|error| Error::new(ErrorKind::Permanent, error))
}

fn json<T: serde::Serialize>(value: Option<&T>) -> String {
    value.map_or_else(
        || "NULL".to_owned(),
        |value| Literal(&serde_json::json!(value).to_string()).to_string(),
    )
}
