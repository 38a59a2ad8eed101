//! What goes wrong at a PostgreSQL target, in the engine's terms.

use stream_core::postgres::{ServerError, WireError, may_pass};
use stream_core::{Error, ErrorKind};

/// A session's failure: retryable ones start the stream again.
pub(super) fn from_wire(error: WireError) -> Error {
    let kind = if error.is_retryable() { ErrorKind::Transient } else { ErrorKind::Permanent };
    Error::new(kind, format!("the session with the target failed: {error}"))
}

/// A statement's failure outside of row changes.
pub(super) fn refused(doing: &str, error: &ServerError) -> Error {
    let kind = if error.is_retryable() { ErrorKind::Transient } else { ErrorKind::Permanent };
    Error::new(kind, format!("the target refused to {doing}: {error}"))
}

/// The failure of a statement sent by `tokio-postgres`.
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

/// Another worker took the stream over.
pub(super) fn fenced() -> Error {
    Error::new(
        ErrorKind::Fenced,
        "another worker has taken over this stream: this one stops without writing anything more",
    )
}
