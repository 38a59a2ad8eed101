//! What is made at the target once the rows are there: indexes at once, constraints as soon as the target
//! is consistent.
//!
//! The statements are kept at the target. Each is taken off the list in the transaction that runs it, so
//! that a crash at any moment leaves nothing out and runs nothing twice.

use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::try_join_all;
use stream_core::failpoint::{Step, reached};
use stream_core::lsn::Lsn;
use stream_core::postgres::{SqlClient, problem, slot};
use stream_core::{Error, ErrorKind};
use tokio_postgres::error::SqlState;

use super::error::from_sql;
use super::schema::{Phase, SchemaError, Statement, rounds, run_statement};
use super::tables::Tables;
use super::{Shared, at_target};

/// Runs what is pending: indexes, and everything else too when the target is `consistent`. What was not made stays pending.
pub(super) async fn run(shared: &Shared, consistent: bool) -> Result<(), Error> {
    let pending = pending(shared).await?;
    let due: Vec<Statement> = pending
        .into_iter()
        .filter(|statement| consistent || statement.phase <= Phase::Index)
        .collect();
    for round in rounds(&due) {
        run_round(shared, &round).await?;
    }
    Ok(())
}

async fn pending(shared: &Shared) -> Result<Vec<Statement>, Error> {
    let rows = shared
        .client
        .query(
            "SELECT statement FROM sgstream.pending WHERE stream = $1 ORDER BY id",
            &[&shared.ownership.stream],
        )
        .await
        .map_err(|error| from_sql("read what is pending", &error))?;
    rows.iter()
        .map(|row| {
            serde_json::from_str(row.get(0))
                .map_err(|error| Error::new(ErrorKind::Permanent, error))
        })
        .collect()
}

/// Runs statements that do not depend on each other, several at a time.
async fn run_round(shared: &Shared, round: &[&Statement]) -> Result<(), Error> {
    let queue = Mutex::new((round.iter().copied(), None));
    let queue = &queue;
    let workers = (0..shared.options.index_jobs.clamp(1, round.len().max(1))).map(|_| {
        async move {
            let mut client = None;
            loop {
                let next = {
                    let (left, unfit) = &mut *locked(queue);
                    if unfit.is_none() { left.next() } else { None }
                };
                let Some(statement) = next else { return Ok(()) };
                let client = match &mut client {
                    Some(client) => client,
                    none => none.insert(
                        SqlClient::connect(&shared.options.target).await.map_err(at_target)?,
                    ),
                };
                match run_one(shared, client, statement).await {
                    // The stream may go on: what the others are at ends first, or its locks would be in the way for a while.
                    Err(error) if unfit(&error).is_some() => {
                        locked(queue).1.get_or_insert(error);
                    }
                    done => done?,
                }
            }
        }
    });
    try_join_all(workers).await?;
    locked(queue).1.take().map_or(Ok(()), Err)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What could not be made because the rows do not fit a foreign key, and why.
pub(super) fn unfit(error: &Error) -> Option<String> {
    match error.reason()? {
        SchemaError::Refused { kind, name, message, source }
            if source.code() == Some(&SqlState::FOREIGN_KEY_VIOLATION) =>
        {
            Some(format!("{kind} `{name}` cannot be made yet: {message}"))
        }
        _ => None,
    }
}

/// Below which all is that the source has committed by now.
pub(super) async fn end_of_source(shared: &Shared) -> Result<Lsn, Error> {
    let source = SqlClient::connect(&shared.options.source)
        .await
        .map_err(|error| problem::from_connect(error).context("source"))?;
    let end = slot::end_of_commits(&source).await;
    source.close().await;
    end.map_err(|error| problem::from_query(error).context("source"))
}

async fn run_one(
    shared: &Shared,
    client: &mut SqlClient,
    statement: &Statement,
) -> Result<(), Error> {
    let doing = "finish the schema";
    let transaction = client.transaction().await.map_err(|error| from_sql(doing, &error))?;
    transaction
        .batch_execute(&shared.ownership.assert_shared_sql())
        .await
        .map_err(|error| from_sql(doing, &error))?;
    tracing::info!(kind = statement.kind, name = statement.name, "building at the target");
    let warning = run_statement(&transaction, statement).await.map_err(from_schema)?;
    let id =
        i32::try_from(statement.id).map_err(|error| Error::new(ErrorKind::Permanent, error))?;
    transaction
        .execute(
            "DELETE FROM sgstream.pending WHERE stream = $1 AND id = $2",
            &[&shared.ownership.stream, &id],
        )
        .await
        .map_err(|error| from_sql(doing, &error))?;
    reached(Step::Built);
    transaction.commit().await.map_err(|error| from_sql(doing, &error))?;
    reached(Step::BuildCommitted);
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    Ok(())
}

/// Gives the planner its statistics.
pub(super) async fn analyze(shared: &Shared, tables: &Tables) -> Result<(), Error> {
    for table in tables.places() {
        let sql = format!("ANALYZE {}", table.quoted());
        shared
            .client
            .batch_execute(&sql)
            .await
            .map_err(|error| from_sql("analyze a table", &error))?;
    }
    Ok(())
}

pub(super) fn from_schema(error: SchemaError) -> Error {
    let kind = match &error {
        SchemaError::NoPgDump { .. }
        | SchemaError::OldPgDump { .. }
        | SchemaError::Start { .. }
        | SchemaError::NoExtension { .. } => ErrorKind::Configuration,
        SchemaError::Catalogue { source, .. } | SchemaError::Refused { source, .. }
            if source.code().is_some_and(|code| code.code() == "42501") =>
        {
            ErrorKind::Configuration
        }
        retryable if retryable.is_retryable() => ErrorKind::Transient,
        _ => ErrorKind::Permanent,
    };
    Error::new(kind, error)
}
