//! Runs the statements of an import.

use stream_core::relation::TableName;
use stream_core::sql::Ident;
use tokio_postgres::Transaction;
use tokio_postgres::error::SqlState;

use super::target::class;
use super::{Import, Phase, SchemaError, Statement, server_words};

/// What the statements of a dump take for granted, for one transaction.
const SESSION: &str = "
    SET LOCAL search_path = '';
    SET LOCAL check_function_bodies = off;
    SET LOCAL standard_conforming_strings = on;
    SET LOCAL xmloption = content;
    SET LOCAL client_min_messages = warning;
    SET LOCAL row_security = off;
    SET LOCAL default_tablespace = '';
    SET LOCAL default_table_access_method = heap;
";

/// Runs the pre-data in a transaction of the caller's, so that it is committed together with the
/// caller's note that it is done. Answers with the warnings of what failed and may fail.
///
/// # Errors
///
/// [`SchemaError::Refused`] for the first statement that the target refuses; the transaction is then
/// good for nothing but a rollback.
///
/// # Cancel safety
///
/// The transaction is in the middle of the import, and must be rolled back.
pub async fn run_pre_data(
    transaction: &Transaction<'_>,
    import: &Import,
) -> Result<Vec<String>, SchemaError> {
    let mut warnings = Vec::new();
    if let Some(first) = import.pre_data.first() {
        execute(transaction, first, SESSION).await?;
    }
    for statement in &import.pre_data {
        warnings.extend(attempt(transaction, statement).await?);
    }
    Ok(warnings)
}

/// Runs one statement in a transaction of the caller's, so that it is committed together with the
/// caller's note that it is done. Answers with a warning when it failed and may fail.
///
/// # Errors
///
/// [`SchemaError::Refused`] when the target refuses it; the transaction is then good for nothing but a
/// rollback.
///
/// # Cancel safety
///
/// Nothing is done that a rollback of the transaction does not undo.
pub async fn run_statement(
    transaction: &Transaction<'_>,
    statement: &Statement,
) -> Result<Option<String>, SchemaError> {
    execute(transaction, statement, SESSION).await?;
    attempt(transaction, statement).await
}

async fn attempt(
    transaction: &Transaction<'_>,
    statement: &Statement,
) -> Result<Option<String>, SchemaError> {
    // Kinds that were looked up in the target's catalogue are not there; of others we do not know.
    let known = class(&statement.kind).is_some() || statement.table.is_some();
    if known && !statement.soft {
        execute(transaction, statement, &statement.sql).await?;
        return Ok(None);
    }
    execute(transaction, statement, "SAVEPOINT stream_import").await?;
    let Err(error) = execute(transaction, statement, &statement.sql).await else {
        execute(transaction, statement, "RELEASE SAVEPOINT stream_import").await?;
        return Ok(None);
    };
    let SchemaError::Refused { kind, name, message, source } = &error else { return Err(error) };
    let Some(code) = source.code().filter(|code| statement.soft || is_duplicate(code)) else {
        return Err(error);
    };
    execute(transaction, statement, "ROLLBACK TO SAVEPOINT stream_import").await?;
    if is_duplicate(code) {
        return Ok(None);
    }
    Ok(Some(format!(
        "a statement of {kind} `{name}` was left out at the target: {message}; remove the cause and run `{}` there",
        statement.sql.trim()
    )))
}

fn is_duplicate(code: &SqlState) -> bool {
    [SqlState::DUPLICATE_OBJECT, SqlState::DUPLICATE_FUNCTION, SqlState::DUPLICATE_TABLE]
        .contains(code)
}

async fn execute(
    transaction: &Transaction<'_>,
    statement: &Statement,
    sql: &str,
) -> Result<(), SchemaError> {
    transaction.batch_execute(sql).await.map_err(|source| SchemaError::Refused {
        kind: statement.kind.clone(),
        name: statement.name.clone(),
        message: server_words(&source) + &make_room(statement, &source).unwrap_or_default(),
        source,
    })
}

/// What to run when an index of another table has the name that `statement` gives, as one keeps it whose table was renamed at the
/// source, and copied anew. That table's old rows are not ours to remove.
fn make_room(statement: &Statement, error: &tokio_postgres::Error) -> Option<String> {
    const LONGEST: usize = 59;
    let taken = statement.phase == Phase::Index && error.code() == Some(&SqlState::DUPLICATE_TABLE);
    let table = statement.table.as_ref().filter(|_| taken)?;
    let of_table = format!("{} ", table.name);
    let name = statement.name.strip_prefix(&of_table).unwrap_or(&statement.name);
    let free: String = name.chars().take(LONGEST).chain("_old".chars()).collect();
    Some(format!(
        "; an index of another table has the name, as it stays when a table is renamed: run `ALTER INDEX {} RENAME TO {}` there",
        TableName::new(&*table.schema, name).quoted(),
        Ident(&free)
    ))
}
