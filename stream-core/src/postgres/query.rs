//! Questions to a server, answered as JSON rows.
//!
//! A catalogue differs from version to version; a row as JSON is read by field name, so that a field
//! which a version does not have is simply not there.

use serde::de::DeserializeOwned;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

/// A question or command that the server did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The server refused a question to its catalogue, or the connection broke.
    ///
    /// Remedy: what the server's words say; with SQLSTATE 42501 the role lacks a right.
    #[error("could not {what}: {}", explain(.source))]
    Failed {
        /// What was being done.
        what: &'static str,
        /// What came back.
        source: tokio_postgres::Error,
    },
    /// The answer has another form than the question asks for: no PostgreSQL of 14 to 18 answers so.
    ///
    /// Remedy: connect to PostgreSQL itself, or report it with the server's version.
    #[error("could not {what}: the answer is not understood: {reason}")]
    Answer {
        /// What was being done.
        what: &'static str,
        /// What is wrong with the answer.
        reason: String,
    },
    /// A name in the database is not UTF-8, which only a database in `SQL_ASCII` can have.
    ///
    /// Remedy: give it another name. `SELECT oid::regclass FROM pg_class WHERE relname::text ~ '[^ -~]'` and `SELECT attrelid::regclass, attname
    /// FROM pg_attribute WHERE attname::text ~ '[^ -~]'` find all tables and columns whose names are more than ASCII.
    #[error(
        "could not {what}: a name there is not UTF-8 (a database in `SQL_ASCII` may hold such names): give it another one"
    )]
    Name {
        /// What was being done.
        what: &'static str,
    },
}

impl QueryError {
    /// Whether the same may work a moment later: the connection broke, the server is starting,
    /// stopping or out of something, or another session was in the way.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        let Self::Failed { source, .. } = self else { return false };
        source.code().is_none_or(|code| {
            let code = code.code();
            ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class))
                || code == SqlState::OBJECT_IN_USE.code()
                || code == SqlState::LOCK_NOT_AVAILABLE.code()
        })
    }

    /// Whether the server is a standby, which changes nothing by itself.
    pub(super) fn is_of_standby(&self) -> bool {
        self.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
    }

    /// The server's SQLSTATE, when it was the server that refused.
    #[must_use]
    pub fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Failed { source, .. } => source.code(),
            Self::Answer { .. } | Self::Name { .. } => None,
        }
    }
}

/// The server's own words, which the error's `Display` hides.
fn explain(error: &tokio_postgres::Error) -> String {
    let Some(error) = error.as_db_error() else { return error.to_string() };
    let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{} [{}]{hint}", error.message(), error.code().code())
}

/// Runs a query whose only column is a row in JSON form, as text.
pub(super) async fn json_rows<T: DeserializeOwned>(
    client: &Client,
    what: &'static str,
    sql: &str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Vec<T>, QueryError> {
    let rows = client.query(sql, params).await.map_err(|source| match source.code() {
        // All that a catalogue has of text are names.
        Some(&SqlState::CHARACTER_NOT_IN_REPERTOIRE) => QueryError::Name { what },
        _ => QueryError::Failed { what, source },
    })?;
    let parse = |row: &tokio_postgres::Row| {
        let text: &str = row.try_get(0).map_err(|source| QueryError::Failed { what, source })?;
        serde_json::from_str(text)
            .map_err(|error| QueryError::Answer { what, reason: error.to_string() })
    };
    rows.iter().map(parse).collect()
}

/// As [`json_rows`], for a query that always gives exactly one row.
pub(super) async fn json_row<T: DeserializeOwned>(
    client: &Client,
    what: &'static str,
    sql: &str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<T, QueryError> {
    let rows = json_rows(client, what, sql, params).await?;
    rows.into_iter()
        .next()
        .ok_or_else(|| QueryError::Answer { what, reason: "it is empty".to_owned() })
}

/// Runs commands that give no rows.
pub(super) async fn execute(
    client: &Client,
    what: &'static str,
    sql: &str,
) -> Result<(), QueryError> {
    client.batch_execute(sql).await.map_err(|source| QueryError::Failed { what, source })
}
