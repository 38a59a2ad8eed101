//! Sequences, which the log does not show: set to the source's values when the stream is complete.
//!
//! All values are read before the first is set, and each transaction that sets some holds the stream: a worker
//! that takes it over waits for its end, and what this one sets after that is refused.

mod missing;
mod pairs;

use std::collections::BTreeSet;

use futures_util::future::try_join_all;
use stream_core::Error;
use stream_core::postgres::query::QueryError;
use stream_core::postgres::{SqlClient, problem};
use stream_core::relation::TableName;
use stream_core::sql::{Literal, list};

use super::Shared;
use super::error::from_sql;
use super::tables::Tables;
use missing::{Missing, Rest};
use pairs::{Sequence, pair, read};

/// How many values are asked for at once.
const UNDER_WAY: usize = 100;
/// How many sequences are set in one transaction: the server has no place for the locks of any number.
const AT_ONCE: usize = 500;

/// What `nextval` goes on from.
#[derive(Clone, Copy, Debug)]
struct Value {
    last_value: i64,
    is_called: bool,
}

/// Gives the target's sequences the source's values: those of captured tables, and those of no table. Says which of the source's it has not found.
pub(super) async fn synchronise(shared: &Shared, tables: &Tables) -> Result<(), Error> {
    let source = SqlClient::connect(&shared.options.source)
        .await
        .map_err(|error| problem::from_connect(error).context("source"))?;
    let (wanted, others): (Vec<_>, Vec<_>) = read(&source)
        .await
        .map_err(unread)?
        .into_iter()
        .partition(|sequence| sequence.owner.as_ref().is_none_or(|owner| tables.has(&owner.0)));
    let values = values(&source, &wanted).await?;
    source.close().await;
    let there =
        read(&shared.client).await.map_err(|error| from_sql("look for the sequences", &error))?;
    let pairs = pair(&wanted, &there);
    let (mut due, mut missing) = (Vec::new(), Vec::new());
    for ((sequence, found), value) in wanted.iter().zip(&pairs).zip(values) {
        match found {
            Some(name) => due.extend(value.map(|value| (*name, value))),
            None => missing.push(Missing { sequence, value }),
        }
    }
    set(shared, &due).await?;
    tracing::info!(count = due.len(), "sequences have the source's values");
    if missing.is_empty() {
        return Ok(());
    }
    let known: BTreeSet<_> = wanted.iter().chain(&others).map(|one| &one.name).collect();
    let taken: BTreeSet<_> = pairs.iter().flatten().copied().collect();
    let is_spare = |one: &&Sequence| {
        !known.contains(&one.name) && !taken.contains(&one.name) && !one.of_extension
    };
    let rest = Rest {
        spare: there.iter().filter(is_spare).collect(),
        schemas: schemas(shared).await?,
        is_whole: shared.options.import.as_ref().is_some_and(|import| import.everything),
    };
    for line in missing::said(&missing, &rest, |(table, column)| tables.has_column(table, column)) {
        tracing::warn!("{line}");
    }
    Ok(())
}

/// The names of the target's schemas.
async fn schemas(shared: &Shared) -> Result<BTreeSet<String>, Error> {
    let rows = shared.client.query("SELECT nspname::text FROM pg_namespace", &[]).await;
    let rows = rows.map_err(|error| from_sql("look for the schemas", &error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

fn unread(source: tokio_postgres::Error) -> Error {
    problem::from_query(QueryError::Failed { what: "read the sequences", source })
}

/// The values of sequences of the source; `None` for one that may not be read, which is said.
async fn values(source: &SqlClient, sequences: &[Sequence]) -> Result<Vec<Option<Value>>, Error> {
    let mut values = Vec::with_capacity(sequences.len());
    for some in sequences.chunks(UNDER_WAY) {
        let asked = some.iter().map(|sequence| value(source, &sequence.name));
        values.extend(try_join_all(asked).await?);
    }
    Ok(values)
}

async fn value(source: &SqlClient, name: &TableName) -> Result<Option<Value>, Error> {
    // The view `pg_sequences` has no value of a sequence that was set, and not called since.
    let sql = format!("SELECT last_value, is_called FROM {}", name.quoted());
    match source.query_typed(&sql, &[]).await {
        Ok(rows) => {
            let value =
                |row: &tokio_postgres::Row| Value { last_value: row.get(0), is_called: row.get(1) };
            Ok(rows.first().map(value))
        }
        Err(error) if error.code().is_some_and(|code| code.code() == "42501") => {
            tracing::warn!(
                sequence = %name,
                "the source role may not read a sequence: run `GRANT SELECT ON SEQUENCE … TO …` there, or \
                 set its value at the target by hand"
            );
            Ok(None)
        }
        Err(error) => Err(unread(error)),
    }
}

/// Sets sequences of the target while the stream is ours.
async fn set(shared: &Shared, due: &[(&TableName, Value)]) -> Result<(), Error> {
    for some in due.chunks(AT_ONCE) {
        let rows = some.iter().map(|(name, Value { last_value, is_called })| {
            format!("({}, '{last_value}'::int8, {is_called})", Literal(&name.quoted()))
        });
        // One message is one transaction, which nothing here can hold up once it has begun.
        let sql = format!(
            "{}; SELECT count(setval(to_regclass(name), last_value, is_called)) \
             FROM (VALUES {}) AS due (name, last_value, is_called)",
            shared.ownership.assert_sql(),
            list(rows)
        );
        let done = shared.client.batch_execute(&sql).await;
        done.map_err(|error| from_sql("set the sequences", &error))?;
    }
    Ok(())
}
