//! What goes wrong at a PostgreSQL target, in the engine's terms.

use stream_core::postgres::{ServerError, WireError, may_pass};
use stream_core::relation::TableName;
use stream_core::{Error, ErrorKind};

/// The parts of the stream were used in a wrong order.
///
/// Remedy: report it.
pub(super) fn unprepared() -> Error {
    Error::new(ErrorKind::Permanent, "the sink is used before it was prepared: report it")
}

/// The session with the target broke. Nothing of the open transaction was written.
///
/// Remedy: nothing, unless it comes often: then look into the target's log at this time.
pub(super) fn from_wire(error: WireError) -> Error {
    let kind = if error.is_retryable() { ErrorKind::Transient } else { ErrorKind::Permanent };
    Error::new(kind, format!("the session with the target failed: {error}"))
}

/// The target refused a statement that is about no row: to begin, to copy, to save the position.
///
/// Remedy: what the server's words say. Nothing of the open transaction was written.
pub(super) fn refused(doing: &str, error: &ServerError) -> Error {
    let kind = if error.is_retryable() { ErrorKind::Transient } else { ErrorKind::Permanent };
    Error::new(kind, format!("the target refused to {doing}: {error}"))
}

/// The target could not do what the stream needs, in the catalogue or with its progress in schema `sgstream`.
///
/// Message: cannot `<what was done>` at the target: `<the server's words>`
///
/// Remedy: what the server's words say. SQLSTATE 42501: grant the role what it lacks.
pub(super) fn from_sql(doing: &str, error: &tokio_postgres::Error) -> Error {
    let Some(server) = error.as_db_error() else {
        return Error::new(ErrorKind::Transient, format!("cannot {doing} at the target: {error}"));
    };
    let code = server.code().code();
    if code == super::progress::FENCED {
        return fenced();
    }
    let kind = match code {
        _ if may_pass(code) => ErrorKind::Transient,
        "42501" => ErrorKind::Configuration,
        _ => ErrorKind::Permanent,
    };
    Error::new(
        kind,
        format!("cannot {doing} at the target: {} (SQLSTATE {code})", server.message()),
    )
}

/// A column of the target was altered since the stream looked at it: in the form in which they were sent, its values could mean others, or be rounded.
/// Nothing of the transaction was written.
///
/// Remedy: nothing, the target is looked at again, and a type that does not take the source's values is named then.
pub(super) fn altered(place: &TableName) -> Error {
    Error::new(
        ErrorKind::Changed,
        format!(
            "a column of table `{place}` at the target is gone or has another type than a moment ago: looking at the target again"
        ),
    )
}

/// Another worker of the stream started later, or was started by hand: only one may write, and it is the one that came last. This one has
/// written nothing since.
///
/// Remedy: nothing, if the other worker is the right one. Else end that one first, then start this one again. Two streams with one name and
/// namespace and one target are one stream to it: give them names of their own.
pub(super) fn fenced() -> Error {
    Error::new(
        ErrorKind::Fenced,
        "another worker has taken over this stream: this one stops without writing anything more",
    )
}
