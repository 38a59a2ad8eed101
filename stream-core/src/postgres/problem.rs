//! Failures of sessions with the source, as the engine's errors. One place decides what each means.

use std::fmt::Display;

use super::connect::ConnectError;
use super::error::WireError;
use super::query::QueryError;
use super::slot;
use super::slot_problem::SlotProblem;
use super::source_problem::SourceProblem;
use crate::error::{Error, ErrorKind};
use crate::relation::TableName;

const fn transient_or(retryable: bool, otherwise: ErrorKind) -> ErrorKind {
    if retryable { ErrorKind::Transient } else { otherwise }
}

/// A session could not be opened.
#[must_use]
pub fn from_connect(error: ConnectError) -> Error {
    Error::new(transient_or(error.is_retryable(), ErrorKind::Configuration), error)
}

/// A session with the source could not be opened.
pub(super) fn at_source(error: ConnectError) -> Error {
    from_connect(error).context("source")
}

/// A session broke, or a statement on it was refused.
#[must_use]
pub fn from_wire(error: WireError) -> Error {
    Error::new(transient_or(error.is_retryable(), ErrorKind::Permanent), error)
}

/// A question to the catalogue failed.
#[must_use]
pub fn from_query(error: QueryError) -> Error {
    let denied = error.code().is_some_and(|code| code.code() == "42501");
    let otherwise = if denied { ErrorKind::Configuration } else { ErrorKind::Permanent };
    Error::new(transient_or(error.is_retryable(), otherwise), error)
}

/// A statement about captured tables was refused.
pub(super) fn from_change(error: QueryError) -> Error {
    match error.code() {
        Some(code) if is_gone(code.code()) => Error::new(ErrorKind::Changed, error),
        _ => from_query(error),
    }
}

/// A session cannot see what another one exports: the snapshot goes with the session that has made it.
pub(super) fn from_import(error: WireError) -> Error {
    with_code(error, "cannot read the exported snapshot", |code| match code {
        // Gone before, in 17 and later too, or just now.
        "22023" | "42704" | "55000" => Some((
            ErrorKind::Transient,
            "the session that exports it is gone: the stream takes another one",
        )),
        _ => None,
    })
}

/// A captured table cannot be read as of the snapshot.
pub(super) fn from_snapshot(error: WireError) -> Error {
    if error.server().is_some_and(|server| is_gone(&server.code)) {
        return Error::new(ErrorKind::Changed, error);
    }
    from_wire(error)
}

/// Whether the server misses a table, a column or a schema. What is captured was there when the stream looked, so that the next look does
/// without it.
fn is_gone(sqlstate: &str) -> bool {
    matches!(sqlstate, "42P01" | "42703" | "3F000")
}

/// The slot cannot be used; unless it is in use, only a person can change that.
#[must_use]
pub fn from_slot(problem: SlotProblem) -> Error {
    let kind = match &problem {
        SlotProblem::InUse { .. } => ErrorKind::Transient,
        SlotProblem::TakenOver { .. } => ErrorKind::Fenced,
        SlotProblem::Dropped { .. }
        | SlotProblem::Lost { .. }
        | SlotProblem::Unpublished { .. }
        | SlotProblem::Ahead { .. }
        | SlotProblem::Forked { .. }
        | SlotProblem::ServerBehind { .. }
        | SlotProblem::Physical { .. }
        | SlotProblem::WrongPlugin { .. }
        | SlotProblem::OtherDatabase { .. } => ErrorKind::Configuration,
    };
    Error::new(kind, problem)
}

/// Says the problems of a source that can be lived with; the others are an error, all at once.
///
/// # Errors
/// When there is a problem that keeps the stream from working.
pub fn judge(problems: Vec<SourceProblem>) -> Result<(), Error> {
    let (blocking, others): (Vec<_>, Vec<_>) =
        problems.into_iter().partition(SourceProblem::is_blocking);
    for problem in others {
        tracing::warn!("{problem}");
    }
    if blocking.is_empty() {
        return Ok(());
    }
    let all: Vec<_> = blocking.iter().map(ToString::to_string).collect();
    Err(Error::new(ErrorKind::Configuration, all.join("\n")))
}

pub(super) fn from_slot_creation(slot: &str, error: WireError) -> Error {
    let doing = format!("cannot create replication slot `{slot}`");
    with_code(error, &doing, |code| match code {
        "53400" => Some((
            ErrorKind::Configuration,
            "raise `max_replication_slots` and restart the server, or drop a slot that nobody needs \
             (`SELECT slot_name FROM pg_replication_slots WHERE NOT active`)",
        )),
        "42501" => Some((
            ErrorKind::Configuration,
            "give the role the right with `ALTER ROLE … REPLICATION`",
        )),
        // It was not there a moment ago.
        "42710" => Some((
            ErrorKind::Transient,
            "another worker of the stream has just made it: starting again to see which of the two goes on",
        )),
        _ => None,
    })
}

pub(super) fn from_stream_start(slot: &str, error: WireError) -> Error {
    from_stream_step(&format!("cannot stream from replication slot `{slot}`"), error)
}

pub(super) fn from_stream(error: WireError, slot: &str, publication: &str) -> Error {
    // 18 and later warn and leave the changes out, older ones fail.
    let unpublished = error.server().is_some_and(|server| {
        server.code == "42704" || server.code == "55000" && server.severity == "WARNING"
    });
    if unpublished {
        return from_slot(SlotProblem::Unpublished {
            slot: slot.to_owned(),
            publication: publication.to_owned(),
            drop: slot::drop_sql(slot),
        });
    }
    from_stream_step(&format!("the stream from replication slot `{slot}` broke"), error)
}

/// A message does not fit to those before it. Nothing of its transaction was written.
///
/// Remedy: what the last part of the message says, each of which is explained on this page.
pub(super) fn undecodable(error: &(dyn std::error::Error + Send + Sync)) -> Error {
    Error::new(ErrorKind::Permanent, format!("cannot decode the source's log: {error}"))
}

/// The server shuts down in order, and has sent all that was committed.
///
/// Remedy: nothing, the stream goes on once the server is back.
pub(super) fn shut_down() -> Error {
    Error::new(
        ErrorKind::Transient,
        "the source ended the replication stream: its server shuts down",
    )
}

fn from_stream_step(doing: &str, error: WireError) -> Error {
    with_code(error, doing, |code| match code {
        "55006" => Some((
            ErrorKind::Transient,
            "another session streams from it: stop the other worker, or wait for the server to notice that it \
             is gone",
        )),
        // By somebody, which the next look says with the way back; or by another worker, which has completed the stream.
        "42704" => Some((
            ErrorKind::Transient,
            "it was dropped just now: the stream looks again at what is there",
        )),
        "0A000" => Some((
            ErrorKind::Configuration,
            "this version of PostgreSQL does not have what `slotStreamParams` asks for: `streaming` came with 14, `parallel` with 16; \
             remove it",
        )),
        "55000" => Some((
            ErrorKind::Permanent,
            "the slot can no longer be used: drop it and take a new snapshot; raise \
             `max_slot_wal_keep_size` so that it does not happen again",
        )),
        // A byte of WIN1252, say, that UTF-8 has no character for. Only the server knows the row, and its log keeps the value.
        "22021" | "22P05" => Some((
            ErrorKind::Permanent,
            "a changed row holds text that UTF-8 cannot have: correct such rows at the source, drop the slot, and take a new \
             snapshot",
        )),
        // Seen of slots that began while tables were altered. The stream makes none of these, see `Exporter::create`.
        "XX000" => Some((
            ErrorKind::Permanent,
            "the server cannot decode its log from this slot, and a later attempt ends at the same change: drop the \
             slot, remove the stream's progress at the target, and start again with an empty target and without a \
             slot made by hand",
        )),
        _ => None,
    })
}

/// The server refused to make a slot, to read its snapshot or to stream from it, for a cause whose way out is known.
///
/// Message: `<what was done>`: `<the server's words>`; `<remedy>`
///
/// Remedy: the last part of the message. SQLSTATE 53400: every slot is taken, drop one or raise `max_replication_slots`. 42501: `ALTER ROLE …
/// REPLICATION`. 42710 and 55006: another worker has the slot, the stream tries again. 42704: the slot was dropped just now, the stream looks again. Any of these, or 22023, where a snapshot cannot be
/// read: the session that exports it was ended, the stream takes another. 55000: the slot was
/// invalidated while the stream ran; start again, and the stream names the statements that lead back.
fn with_code(
    error: WireError,
    doing: &str,
    known: impl FnOnce(&str) -> Option<(ErrorKind, &'static str)>,
) -> Error {
    let found = error.server().and_then(|server| known(&server.code));
    match found {
        Some((kind, remedy)) => Error::new(kind, format!("{doing}: {error}; {remedy}")),
        None => from_wire(error).context(doing),
    }
}

/// Tables came after the stream began, and match what is captured; or partitions were detached or attached, names given to other columns, tables
/// made unlogged, another key, or the publication was altered.
///
/// Remedy: nothing, they are published, copied and followed; an unlogged one once it is logged again.
pub(super) fn new_tables(found: &[TableName]) -> Error {
    let names: Vec<_> = found.iter().map(|name| format!("`{name}`")).collect();
    Error::new(
        ErrorKind::Changed,
        format!(
            "new at the source, or attached anew, or unlogged, or published otherwise, or with other columns under their names, or with another key: {}; starting again to take them up",
            names.join(", ")
        ),
    )
}

/// A failure of what must not fail.
///
/// Message: `<what failed>`
///
/// Remedy: start the stream again, and report it.
pub(super) fn unexpected(what: impl Display) -> Error {
    Error::new(ErrorKind::Permanent, what.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::error::ServerError;
    use super::*;

    #[test]
    fn a_slot_that_another_worker_makes_at_the_same_time_is_looked_at_again() {
        let error = WireError::Server(Box::new(ServerError::parse(b"C42710\0Malready exists\0")));
        assert_eq!(from_slot_creation("slot", error).kind(), ErrorKind::Transient);
    }

    #[test]
    fn a_slot_that_is_dropped_while_the_stream_starts_is_looked_at_again() {
        let error = WireError::Server(Box::new(ServerError::parse(b"C42704\0Mdoes not exist\0")));
        assert_eq!(from_stream_start("slot", error).kind(), ErrorKind::Transient);
    }

    #[test]
    fn a_login_that_the_server_itself_fails_at_is_tried_again() {
        for (code, at_login, in_stream) in [
            // A log that cannot be decoded once cannot be decoded the next time either.
            ("XX000", ErrorKind::Transient, ErrorKind::Permanent),
            ("58030", ErrorKind::Transient, ErrorKind::Permanent),
            ("XX001", ErrorKind::Configuration, ErrorKind::Permanent),
            ("28P01", ErrorKind::Configuration, ErrorKind::Permanent),
            ("53100", ErrorKind::Transient, ErrorKind::Transient),
        ] {
            let error = || Box::new(ServerError::parse(format!("C{code}\0").as_bytes()));
            let (server, user) = ("h".to_owned(), "u".to_owned());
            let login = from_connect(ConnectError::Refused { server, user, error: error() });
            assert_eq!(login.kind(), at_login, "{code}");
            let stream = from_stream(WireError::Server(error()), "slot", "publication");
            assert_eq!(stream.kind(), in_stream, "{code}");
        }
    }
}
