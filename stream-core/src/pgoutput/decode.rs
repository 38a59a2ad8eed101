//! Bytes to messages.
//!
//! Total: any bytes give a [`Message`] or a [`DecodeError`]. Nothing is allocated by a length that the
//! sender claims and the bytes do not bear out, and rows are slices of the bytes received.

use bytes::Bytes;

use super::reader::Reader;
use super::{Abort, Begin, Commit, DecodeError, Framing, Message, Prepare, RollbackPrepared};
use crate::change::OldTuple;
use crate::relation::{Column, Relation, RelationId, ReplicaIdentity, TableName};

/// The message that `body` holds, from its tag to its end.
pub(super) fn message(body: Bytes, framing: Framing) -> Result<Message, DecodeError> {
    let mut reader = Reader::new(body);
    let tag = reader.byte("a tag", Some)?;
    let message = match tag {
        b'I' => insert(&mut reader, framing),
        b'U' => update(&mut reader, framing),
        b'D' => delete(&mut reader, framing),
        b'B' => begin(&mut reader),
        b'C' => commit(&mut reader),
        b'O' => origin(&mut reader),
        b'R' => relation(&mut reader, framing),
        b'Y' => type_name(&mut reader, framing),
        b'T' => truncate(&mut reader, framing),
        b'M' => emitted(&mut reader, framing),
        b'S' => stream_start(&mut reader),
        b'E' => stream_stop(&mut reader),
        b'c' => stream_commit(&mut reader),
        b'A' => stream_abort(&mut reader),
        b'b' => begin_prepare(&mut reader),
        b'P' => prepare(&mut reader),
        b'K' => commit_prepared(&mut reader),
        b'r' => rollback_prepared(&mut reader),
        b'p' => stream_prepare(&mut reader),
        tag => Err(DecodeError::UnknownTag { tag }),
    }?;
    reader.end()?;
    Ok(message)
}

/// The number that a change carries in a chunk only.
fn change_xid(reader: &mut Reader, framing: Framing) -> Result<Option<u32>, DecodeError> {
    match framing {
        Framing::Whole => Ok(None),
        Framing::Streamed => xid(reader).map(Some),
    }
}

fn xid(reader: &mut Reader) -> Result<u32, DecodeError> {
    reader.u32("a transaction number")
}

fn relation_id(reader: &mut Reader) -> Result<RelationId, DecodeError> {
    reader.u32("a table's identifier").map(RelationId)
}

/// Flags that no protocol uses yet. A server that set one would mean something unknown here.
fn no_flags(reader: &mut Reader) -> Result<(), DecodeError> {
    reader.flags(0, "flags of value 0").map(|_| ())
}

fn insert(reader: &mut Reader, framing: Framing) -> Result<Message, DecodeError> {
    reader.name("Insert");
    let xid = change_xid(reader, framing)?;
    let relation = relation_id(reader)?;
    reader.letter(b"N", "a new row: `N`")?;
    Ok(Message::Insert { xid, relation, new: reader.last_tuple()? })
}

fn update(reader: &mut Reader, framing: Framing) -> Result<Message, DecodeError> {
    reader.name("Update");
    let xid = change_xid(reader, framing)?;
    let relation = relation_id(reader)?;
    let letter = reader.letter(b"NKO", "a new or old row: `N`, `K` or `O`")?;
    let old = match letter {
        b'K' => Some(OldTuple::Key(reader.tuple()?)),
        b'O' => Some(OldTuple::Full(reader.tuple()?)),
        _ => None,
    };
    if old.is_some() {
        reader.letter(b"N", "a new row: `N`")?;
    }
    Ok(Message::Update { xid, relation, old, new: reader.last_tuple()? })
}

fn delete(reader: &mut Reader, framing: Framing) -> Result<Message, DecodeError> {
    reader.name("Delete");
    let xid = change_xid(reader, framing)?;
    let relation = relation_id(reader)?;
    let old = match reader.letter(b"KO", "an old row: `K` or `O`")? {
        b'K' => OldTuple::Key(reader.last_tuple()?),
        _ => OldTuple::Full(reader.last_tuple()?),
    };
    Ok(Message::Delete { xid, relation, old })
}

fn begin(reader: &mut Reader) -> Result<Message, DecodeError> {
    reader.name("Begin");
    Ok(Message::Begin(Begin {
        final_lsn: reader.lsn("the position of the commit")?,
        commit_time_us: reader.time_us("the time of the commit")?,
        xid: xid(reader)?,
    }))
}

fn commit(reader: &mut Reader) -> Result<Message, DecodeError> {
    reader.name("Commit");
    commit_body(reader).map(Message::Commit)
}

fn commit_body(reader: &mut Reader) -> Result<Commit, DecodeError> {
    no_flags(reader)?;
    Ok(Commit {
        commit_lsn: reader.lsn("the position of the commit")?,
        end_lsn: reader.lsn("the end of the transaction")?,
        commit_time_us: reader.time_us("the time of the commit")?,
    })
}

fn origin(reader: &mut Reader) -> Result<Message, DecodeError> {
    reader.name("Origin");
    Ok(Message::Origin {
        commit_lsn: reader.lsn("the position of the commit on the origin")?,
        name: reader.string("the origin's name in UTF-8")?,
    })
}

fn relation(reader: &mut Reader, framing: Framing) -> Result<Message, DecodeError> {
    reader.name("Relation");
    let xid = change_xid(reader, framing)?;
    let id = relation_id(reader)?;
    let schema = reader.schema()?;
    let name = TableName { schema, name: reader.string("a table name in UTF-8")? };
    let replica_identity =
        reader.byte("a replica identity: `d`, `n`, `f` or `i`", ReplicaIdentity::from_letter)?;
    let count = usize::from(reader.count16("a number of columns")?);
    // The shortest column: flags, an empty name's zero byte, type and modifier.
    let mut columns = Vec::with_capacity(count.min(reader.remaining() / 10));
    for _ in 0..count {
        columns.push(column(reader)?);
    }
    Ok(Message::Relation {
        xid,
        relation: Relation { id, name, renamed: false, replica_identity, columns },
    })
}

fn column(reader: &mut Reader) -> Result<Column, DecodeError> {
    Ok(Column {
        is_key: reader.flags(1, "a column's flags: 0 or 1")? == 1,
        name: reader.string("a column name in UTF-8")?,
        type_oid: reader.u32("a type's identifier")?,
        type_modifier: reader.i32("a type modifier")?,
    })
}

fn type_name(reader: &mut Reader, framing: Framing) -> Result<Message, DecodeError> {
    reader.name("Type");
    Ok(Message::Type {
        xid: change_xid(reader, framing)?,
        id: reader.u32("a type's identifier")?,
        schema: reader.schema()?,
        name: reader.string("a type name in UTF-8")?,
    })
}

fn truncate(reader: &mut Reader, framing: Framing) -> Result<Message, DecodeError> {
    reader.name("Truncate");
    let xid = change_xid(reader, framing)?;
    let count = reader.count32("a number of tables")?;
    let options = reader.flags(3, "options from 0 to 3")?;
    let mut relations = Vec::with_capacity(count.min(reader.remaining() / 4));
    for _ in 0..count {
        relations.push(relation_id(reader)?);
    }
    let (cascade, restart_identity) = (options & 1 != 0, options & 2 != 0);
    Ok(Message::Truncate { xid, relations, cascade, restart_identity })
}

fn emitted(reader: &mut Reader, framing: Framing) -> Result<Message, DecodeError> {
    reader.name("Message");
    let xid = change_xid(reader, framing)?;
    let transactional = reader.flags(1, "flags: 0 or 1")? == 1;
    let lsn = reader.lsn("the message's position")?;
    let prefix = reader.string("a prefix in UTF-8")?;
    let length = reader.count32("the content's length")?;
    let content = reader.bytes(length, "the content")?;
    Ok(Message::Message { xid, transactional, lsn, prefix, content })
}

fn stream_start(reader: &mut Reader) -> Result<Message, DecodeError> {
    reader.name("Stream Start");
    let xid = xid(reader)?;
    Ok(Message::StreamStart { xid, first: reader.flags(1, "a first-chunk mark: 0 or 1")? == 1 })
}

fn stream_stop(reader: &mut Reader) -> Result<Message, DecodeError> {
    reader.name("Stream Stop");
    Ok(Message::StreamStop)
}

fn stream_commit(reader: &mut Reader) -> Result<Message, DecodeError> {
    reader.name("Stream Commit");
    Ok(Message::StreamCommit { xid: xid(reader)?, commit: commit_body(reader)? })
}

fn stream_abort(reader: &mut Reader) -> Result<Message, DecodeError> {
    reader.name("Stream Abort");
    let (xid, subxid) = (xid(reader)?, reader.u32("a subtransaction number")?);
    // The length alone tells whether the server was asked for `streaming = parallel`.
    let abort = if reader.remaining() == 0 { None } else { Some(abort(reader)?) };
    Ok(Message::StreamAbort { xid, subxid, abort })
}

fn abort(reader: &mut Reader) -> Result<Abort, DecodeError> {
    Ok(Abort {
        abort_lsn: reader.lsn("the position of the abort")?,
        abort_time_us: reader.time_us("the time of the abort")?,
    })
}

fn begin_prepare(reader: &mut Reader) -> Result<Message, DecodeError> {
    reader.name("Begin Prepare");
    prepare_body(reader).map(Message::BeginPrepare)
}

fn prepare(reader: &mut Reader) -> Result<Message, DecodeError> {
    reader.name("Prepare");
    no_flags(reader)?;
    prepare_body(reader).map(Message::Prepare)
}

fn stream_prepare(reader: &mut Reader) -> Result<Message, DecodeError> {
    reader.name("Stream Prepare");
    no_flags(reader)?;
    prepare_body(reader).map(Message::StreamPrepare)
}

fn prepare_body(reader: &mut Reader) -> Result<Prepare, DecodeError> {
    Ok(Prepare {
        prepare_lsn: reader.lsn("the position of the prepare")?,
        end_lsn: reader.lsn("the end of the prepared transaction")?,
        prepare_time_us: reader.time_us("the time of the prepare")?,
        xid: xid(reader)?,
        gid: reader.string("a prepared transaction's name in UTF-8")?,
    })
}

fn commit_prepared(reader: &mut Reader) -> Result<Message, DecodeError> {
    reader.name("Commit Prepared");
    let commit = commit_body(reader)?;
    let xid = xid(reader)?;
    let gid = reader.string("a prepared transaction's name in UTF-8")?;
    Ok(Message::CommitPrepared { xid, gid, commit })
}

fn rollback_prepared(reader: &mut Reader) -> Result<Message, DecodeError> {
    reader.name("Rollback Prepared");
    no_flags(reader)?;
    Ok(Message::RollbackPrepared(RollbackPrepared {
        prepare_end_lsn: reader.lsn("the end of the prepared transaction")?,
        rollback_end_lsn: reader.lsn("the end of the rollback")?,
        prepare_time_us: reader.time_us("the time of the prepare")?,
        rollback_time_us: reader.time_us("the time of the rollback")?,
        xid: xid(reader)?,
        gid: reader.string("a prepared transaction's name in UTF-8")?,
    }))
}
