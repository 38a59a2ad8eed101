//! The decoder against hand-made bytes, hostile bytes and bytes that PostgreSQL sent.

#![cfg(test)]

use std::fmt::Write as _;

use bytes::Bytes;
use stream_core::assemble::{AssembleError, Assembled, Assembler};
use stream_core::change::{Change, OldTuple, Transaction, Tuple, TupleData};
use stream_core::lsn::Lsn;
use stream_core::pgoutput::{
    Abort, Begin, Commit, DecodeError, Framing, Message, Prepare, RollbackPrepared, decode,
};
use stream_core::relation::{Column, Relation, RelationId, ReplicaIdentity, TableName};

const ID: RelationId = RelationId(0x0403_0201);
const XID: u32 = 0x0a0b_0c0d;

fn lsn(position: u64) -> Lsn {
    Lsn::new(position)
}

fn tuple(bytes: &'static [u8], columns: u16) -> Tuple {
    Tuple::new(Bytes::from_static(bytes), columns).unwrap()
}

fn relation(columns: &[(&str, u32, i32, bool)]) -> Relation {
    let column = |&(name, type_oid, type_modifier, is_key): &(&str, u32, i32, bool)| Column {
        name: name.to_owned(),
        type_oid,
        type_modifier,
        is_key,
    };
    Relation {
        id: ID,
        name: TableName::new("s", "t"),
        renamed: false,
        replica_identity: ReplicaIdentity::Default,
        columns: columns.iter().map(column).collect(),
    }
}

fn commit() -> Commit {
    Commit { commit_lsn: lsn(1), end_lsn: lsn(2), commit_time_us: -3 }
}

fn prepare() -> Prepare {
    Prepare {
        prepare_lsn: lsn(1),
        end_lsn: lsn(2),
        prepare_time_us: 3,
        xid: XID,
        gid: "g".to_owned(),
    }
}

/// Three 64-bit numbers: 1, 2 and 3.
const NUMBERS: &[u8] = b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03";
/// A commit's numbers: 1, 2 and -3.
const COMMIT: &[u8] = b"\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xfd";

/// Messages that are the same under either framing.
fn plain_messages() -> Vec<(Vec<u8>, Message)> {
    let abort = Abort { abort_lsn: lsn(1), abort_time_us: 2 };
    let start = Message::StreamStart { xid: XID, first: true };
    vec![
        (
            [b"B", &NUMBERS[..16], b"\x0a\x0b\x0c\x0d"].concat(),
            Message::Begin(Begin { final_lsn: lsn(1), commit_time_us: 2, xid: XID }),
        ),
        ([b"C", COMMIT].concat(), Message::Commit(commit())),
        (
            [b"O", &NUMBERS[..8], b"origin\0"].concat(),
            Message::Origin { commit_lsn: lsn(1), name: "origin".to_owned() },
        ),
        (b"S\x0a\x0b\x0c\x0d\x01".to_vec(), start),
        (b"S\x0a\x0b\x0c\x0d\0".to_vec(), Message::StreamStart { xid: XID, first: false }),
        (b"E".to_vec(), Message::StreamStop),
        (
            [b"c\x0a\x0b\x0c\x0d", COMMIT].concat(),
            Message::StreamCommit { xid: XID, commit: commit() },
        ),
        (
            b"A\x0a\x0b\x0c\x0d\0\0\0\x07".to_vec(),
            Message::StreamAbort { xid: XID, subxid: 7, abort: None },
        ),
        (
            [b"A\x0a\x0b\x0c\x0d\0\0\0\x07", &NUMBERS[..16]].concat(),
            Message::StreamAbort { xid: XID, subxid: 7, abort: Some(abort) },
        ),
        ([b"b", NUMBERS, b"\x0a\x0b\x0c\x0dg\0"].concat(), Message::BeginPrepare(prepare())),
        ([b"P\0", NUMBERS, b"\x0a\x0b\x0c\x0dg\0"].concat(), Message::Prepare(prepare())),
        ([b"p\0", NUMBERS, b"\x0a\x0b\x0c\x0dg\0"].concat(), Message::StreamPrepare(prepare())),
        (
            [b"K", COMMIT, b"\x0a\x0b\x0c\x0dg\0"].concat(),
            Message::CommitPrepared { xid: XID, gid: "g".to_owned(), commit: commit() },
        ),
        (
            [b"r\0", NUMBERS, b"\0\0\0\0\0\0\0\x04\x0a\x0b\x0c\x0dg\0"].concat(),
            Message::RollbackPrepared(RollbackPrepared {
                prepare_end_lsn: lsn(1),
                rollback_end_lsn: lsn(2),
                prepare_time_us: 3,
                rollback_time_us: 4,
                xid: XID,
                gid: "g".to_owned(),
            }),
        ),
    ]
}

/// Messages that carry a transaction number in a chunk: the tag, what follows the number, and the message.
fn change_messages(xid: Option<u32>) -> Vec<(u8, Vec<u8>, Message)> {
    [descriptions(xid), rows(xid), truncates_and_messages(xid)].concat()
}

fn descriptions(xid: Option<u32>) -> Vec<(u8, Vec<u8>, Message)> {
    let columns = relation(&[("id", 23, -1, true), ("é", 1043, 14, false)]);
    let nothing = Relation {
        name: TableName::new("pg_catalog", "t"),
        replica_identity: ReplicaIdentity::Full,
        ..relation(&[])
    };
    let type_of = |schema: &str| Message::Type {
        xid,
        id: 9,
        schema: schema.to_owned(),
        name: "mood".to_owned(),
    };
    let id = b"\x04\x03\x02\x01s\0t\0d\0\x02\x01id\0\0\0\0\x17\xff\xff\xff\xff".as_slice();
    let e = "\0é\0\0\0\u{4}\u{13}\0\0\0\u{e}".as_bytes();
    vec![
        (b'R', [id, e].concat(), Message::Relation { xid, relation: columns }),
        (
            b'R',
            b"\x04\x03\x02\x01\0t\0f\0\0".to_vec(),
            Message::Relation { xid, relation: nothing },
        ),
        (b'Y', b"\0\0\0\x09public\0mood\0".to_vec(), type_of("public")),
        (b'Y', b"\0\0\0\x09\0mood\0".to_vec(), type_of("pg_catalog")),
    ]
}

fn rows(xid: Option<u32>) -> Vec<(u8, Vec<u8>, Message)> {
    let relation = ID;
    let row = || tuple(b"nut\0\0\0\x02hib\0\0\0\0", 4);
    let key = || OldTuple::Key(tuple(b"t\0\0\0\x01k", 1));
    let full = || OldTuple::Full(tuple(b"t\0\0\0\x01k", 1));
    let id = b"\x04\x03\x02\x01".as_slice();
    let new = b"N\0\x04nut\0\0\0\x02hib\0\0\0\0".as_slice();
    let old = b"\0\x01t\0\0\0\x01k".as_slice();
    let update = |old| Message::Update { xid, relation, old, new: row() };
    let delete = |old| Message::Delete { xid, relation, old };
    let nothing = Message::Insert { xid, relation, new: tuple(b"", 0) };
    vec![
        (b'I', [id, new].concat(), Message::Insert { xid, relation, new: row() }),
        (b'I', [id, b"N\0\0"].concat(), nothing),
        (b'U', [id, new].concat(), update(None)),
        (b'U', [id, b"K", old, new].concat(), update(Some(key()))),
        (b'U', [id, b"O", old, new].concat(), update(Some(full()))),
        (b'D', [id, b"K", old].concat(), delete(key())),
        (b'D', [id, b"O", old].concat(), delete(full())),
    ]
}

fn truncates_and_messages(xid: Option<u32>) -> Vec<(u8, Vec<u8>, Message)> {
    let truncate = |relations, cascade, restart_identity| Message::Truncate {
        xid,
        relations,
        cascade,
        restart_identity,
    };
    let message = |transactional, content| Message::Message {
        xid,
        transactional,
        lsn: lsn(1),
        prefix: "p".to_owned(),
        content: Bytes::from_static(content),
    };
    let both = b"\0\0\0\x02\x03\x04\x03\x02\x01\0\0\0\x01".to_vec();
    let position = &NUMBERS[..8];
    let content = b"p\0\0\0\0\x02\0\xff".as_slice();
    vec![
        (b'T', both, truncate(vec![ID, RelationId(1)], true, true)),
        (b'T', b"\0\0\0\0\x01".to_vec(), truncate(vec![], true, false)),
        (b'T', b"\0\0\0\0\x02".to_vec(), truncate(vec![], false, true)),
        (b'M', [b"\x01", position, content].concat(), message(true, b"\0\xff")),
        (b'M', [b"\0", position, b"p\0\0\0\0\0"].concat(), message(false, b"")),
    ]
}

/// Every message of the manual under both framings.
fn messages() -> Vec<(Framing, Vec<u8>, Message)> {
    let mut cases = Vec::new();
    for (bytes, message) in plain_messages() {
        cases.push((Framing::Whole, bytes.clone(), message.clone()));
        cases.push((Framing::Streamed, bytes, message));
    }
    for (tag, bytes, message) in change_messages(None) {
        cases.push((Framing::Whole, [&[tag], &bytes[..]].concat(), message));
    }
    for (tag, bytes, message) in change_messages(Some(XID)) {
        let bytes = [&[tag], &XID.to_be_bytes()[..], &bytes].concat();
        cases.push((Framing::Streamed, bytes, message));
    }
    cases
}

#[test]
fn every_message_is_decoded() {
    for (framing, bytes, message) in messages() {
        let decoded = decode(bytes.into(), framing);
        assert_eq!(decoded, Ok(message.clone()), "{} {framing:?}", message.name());
    }
}

#[test]
fn a_message_cut_short_or_too_long_is_refused() {
    for (framing, bytes, message) in messages() {
        let name = message.name();
        // The one message that has two lengths.
        let allowed = matches!(message, Message::StreamAbort { .. }).then_some(9);
        for length in (0..bytes.len()).filter(|length| Some(*length) != allowed) {
            match decode(Bytes::copy_from_slice(&bytes[..length]), framing) {
                Err(DecodeError::Malformed { message, offset, length: found, .. }) => {
                    assert_eq!(message, if length == 0 { "empty" } else { name });
                    assert!(offset <= length && found == length, "{name} {offset} {found}");
                }
                other => panic!("{name} cut to {length} bytes gave {other:?}"),
            }
        }
        let longer = [&bytes[..], b"\0"].concat();
        let error = decode(longer.into(), framing).expect_err(name);
        assert!(matches!(error, DecodeError::Malformed { .. }), "{name}: {error}");
    }
}

#[test]
fn rows_are_slices_of_the_received_bytes() {
    let body = Bytes::from(b"U\0\0\0\x01O\0\x01t\0\0\0\x03oldN\0\x01t\0\0\0\x03new".to_vec());
    let range = body.as_ptr_range();
    let decoded = decode(body.clone(), Framing::Whole).unwrap();
    let Message::Update { old: Some(OldTuple::Full(old)), new, .. } = decoded else {
        panic!("{decoded:?}");
    };
    for (row, value) in [(old, b"old"), (new, b"new")] {
        let Some(TupleData::Text(text)) = row.get(0) else { panic!("{row:?}") };
        assert!(text == value && range.contains(&text.as_ptr()));
    }
}

#[test]
fn hostile_bytes_give_an_error_that_says_where() {
    let cases: [(&[u8], &str); 34] = [
        (b"", "empty 0 of 0: a tag"),
        (b"Z", "unknown Z"),
        (b"\0", "unknown \\x00"),
        (b"\xff\xff", "unknown \\xff"),
        (b"I\0\0\0\x01X\0\0", "Insert 5 of 8: a new row: `N`"),
        (b"I\0\0\0\x01N\xff\xff", "Insert 6 of 8: a number of columns"),
        (b"I\0\0\0\x01N\x7f\xff", "Insert 8 of 8: a column"),
        (b"I\0\0\0\x01N\0\x02nx", "Insert 9 of 10: a column's kind: `n`, `u`, `t` or `b`"),
        (b"I\0\0\0\x01N\0\x01t\xff\xff\xff\xff", "Insert 9 of 13: a length and that many bytes"),
        (b"I\0\0\0\x01N\0\x01b\x7f\xff\xff\xff", "Insert 9 of 13: a length and that many bytes"),
        (b"I\0\0\0\x01N\0\x01t\x80\0\0\0", "Insert 9 of 13: a length and that many bytes"),
        (b"I\0\0\0\x01N\0\x01nn", "Insert 9 of 10: the end of the message"),
        (b"I\0\0\0\x01N\0\x01t\0\0\0\x01ab", "Insert 14 of 15: the end of the message"),
        (b"U\0\0\0\x01X", "Update 5 of 6: a new or old row: `N`, `K` or `O`"),
        (b"U\0\0\0\x01K\0\x01nK\0\x01n", "Update 9 of 13: a new row: `N`"),
        (b"U\0\0\0\x01K\0\x01t\0\0\0\x09aN\0\x01n", "Update 9 of 18: a length and that many bytes"),
        (b"U\0\0\0\x01O\xff\xffN\0\0", "Update 6 of 11: a number of columns"),
        (b"D\0\0\0\x01N\0\x01n", "Delete 5 of 9: an old row: `K` or `O`"),
        (b"R\0\0\0\x01s\0t\0x\0\0", "Relation 9 of 12: a replica identity: `d`, `n`, `f` or `i`"),
        (b"R\0\0\0\x01s\0t\0d\xff\xff", "Relation 10 of 12: a number of columns"),
        (b"R\0\0\0\x01s\0t\0d\x7f\xff", "Relation 12 of 12: a column's flags: 0 or 1"),
        (b"R\0\0\0\x01s\0t\0d\0\x01\x02c\0", "Relation 12 of 15: a column's flags: 0 or 1"),
        (b"R\0\0\0\x01s\xff\0t\0d\0\0", "Relation 5 of 13: a schema name in UTF-8"),
        (b"R\0\0\0\x01s\0\xc3\0d\0\0", "Relation 7 of 12: a table name in UTF-8"),
        (b"R\0\0\0\x01s\0t\0d\0\x01\0\x80\0", "Relation 13 of 15: a column name in UTF-8"),
        (b"R\0\0\0\x01no end", "Relation 5 of 11: a schema name in UTF-8"),
        (b"Y\0\0\0\x01s\0\xed\xa0\x80\0", "Type 7 of 11: a type name in UTF-8"),
        (b"T\xff\xff\xff\xff\0", "Truncate 1 of 6: a number of tables"),
        (b"T\x7f\xff\xff\xff\0\0\0\0\x01", "Truncate 10 of 10: a table's identifier"),
        (b"T\0\0\0\0\x04", "Truncate 5 of 6: options from 0 to 3"),
        (b"M\x02\0\0\0\0\0\0\0\x01p\0\0\0\0\0", "Message 1 of 16: flags: 0 or 1"),
        (b"M\0\0\0\0\0\0\0\0\x01p\0\x7f\xff\xff\xff", "Message 16 of 16: the content"),
        (b"M\0\0\0\0\0\0\0\0\x01p\0\x80\0\0\0", "Message 12 of 16: the content's length"),
        (b"C\x01", "Commit 1 of 2: flags of value 0"),
    ];
    for (bytes, expected) in cases {
        let found = match decode(Bytes::from_static(bytes), Framing::Whole) {
            Ok(message) => format!("{message:?}"),
            Err(DecodeError::UnknownTag { tag }) => format!("unknown {}", tag.escape_ascii()),
            Err(DecodeError::Malformed { message, offset, length, expected }) => {
                format!("{message} {offset} of {length}: {expected}")
            }
        };
        assert_eq!(found, expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn errors_are_written_for_people() {
    let unknown = decode(Bytes::from_static(b"{\"change\""), Framing::Whole).unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "message tag `{` is unknown: no pgoutput protocol from 1 to 4 has it; \
         check the server's version and the slot's plugin"
    );
    let cut = decode(Bytes::from_static(b"B\0"), Framing::Whole).unwrap_err();
    assert_eq!(
        cut.to_string(),
        "malformed Begin message of `2` bytes: expected the position of the commit at byte `1`; \
         check the server's version and the slot's plugin"
    );
}

/// Pure noise seldom gets past the tag, so most inputs are messages with a few bytes changed.
#[test]
fn random_bytes_never_panic() {
    let mut random = fastrand::Rng::with_seed(0x7067_6f75_7470_7574);
    let seeds = messages();
    let (mut refused, mut decoded) = (0_u32, 0_u32);
    let mut assembler = Assembler::new();
    for round in 0..1_200_000_u32 {
        let (framing, mut bytes) = if round % 4 == 0 {
            let noise = (0..random.usize(..24)).map(|_| random.u8(..)).collect();
            (if random.bool() { Framing::Whole } else { Framing::Streamed }, noise)
        } else {
            let (framing, bytes, _) = &seeds[random.usize(..seeds.len())];
            (*framing, bytes.clone())
        };
        for _ in 0..random.usize(..4) {
            if let Some(index) = bytes.len().checked_sub(1).map(|last| random.usize(..=last)) {
                match random.u8(..4) {
                    0 => bytes.truncate(index),
                    1 => bytes.insert(index, random.u8(..)),
                    _ => bytes[index] = random.u8(..),
                }
            }
        }
        match decode(bytes.into(), framing) {
            Ok(message) => {
                decoded += 1;
                let _ = assembler.push(message);
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 100_000 && decoded > 100_000, "{refused} refused, {decoded} decoded");
}

/// Reads a capture: per line a position and a message, decoded with the framing that its chunks give it.
fn captured(hex: &str) -> Vec<(Lsn, Message)> {
    let mut framing = Framing::Whole;
    let mut messages = Vec::new();
    for line in hex.lines() {
        let (position, digits) = line.split_once(',').unwrap();
        let bytes: Vec<u8> = (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
            .collect();
        let message =
            decode(bytes.into(), framing).unwrap_or_else(|error| panic!("{line} {error}"));
        match message {
            Message::StreamStart { .. } => framing = Framing::Streamed,
            Message::StreamStop => framing = Framing::Whole,
            _ => {}
        }
        messages.push((position.parse().unwrap(), message));
    }
    messages
}

fn row_text(row: &Tuple) -> String {
    let column = |data| match data {
        TupleData::Null => "null".to_owned(),
        TupleData::UnchangedToast => "unchanged".to_owned(),
        TupleData::Text(text) if text.len() > 99 => {
            format!("'{}…'*{}", text[0] as char, text.len())
        }
        TupleData::Text(text) => format!("'{}'", std::str::from_utf8(text).unwrap()),
        TupleData::Binary(bytes) if bytes.len() > 99 => {
            format!("x{:02x}…*{}", bytes[0], bytes.len())
        }
        TupleData::Binary(bytes) => {
            bytes.iter().fold("x".to_owned(), |text, byte| format!("{text}{byte:02x}"))
        }
    };
    format!("({})", row.iter().map(column).collect::<Vec<_>>().join(", "))
}

fn old_text(old: &OldTuple) -> String {
    match old {
        OldTuple::Key(row) => format!("key {}", row_text(row)),
        OldTuple::Full(row) => format!("full {}", row_text(row)),
    }
}

/// A message for people. Rows are spelled out here, since their `Debug` never does.
fn message_text(message: &Message) -> String {
    let mut text = message.name().to_owned();
    let xid = match message {
        Message::Relation { xid, .. }
        | Message::Type { xid, .. }
        | Message::Insert { xid, .. }
        | Message::Update { xid, .. }
        | Message::Delete { xid, .. }
        | Message::Truncate { xid, .. }
        | Message::Message { xid, .. } => *xid,
        _ => None,
    };
    if let Some(xid) = xid {
        write!(text, " in {xid}").unwrap();
    }
    match message {
        Message::Relation { relation, .. } => {
            let Relation { id: RelationId(id), name, renamed: _, replica_identity, columns } =
                relation;
            write!(text, " {id} {name} {replica_identity:?}").unwrap();
            for Column { name, type_oid, type_modifier, is_key } in columns {
                let key = if *is_key { " key" } else { "" };
                write!(text, "\n    {name} {type_oid} {type_modifier}{key}").unwrap();
            }
        }
        Message::Type { id, schema, name, .. } => write!(text, " {id} {schema}.{name}").unwrap(),
        Message::Insert { relation, new, .. } => {
            write!(text, " {} {}", relation.0, row_text(new)).unwrap();
        }
        Message::Update { relation, old, new, .. } => {
            let old = old.as_ref().map_or_else(|| "same key".to_owned(), old_text);
            write!(text, " {} {old} -> {}", relation.0, row_text(new)).unwrap();
        }
        Message::Delete { relation, old, .. } => {
            write!(text, " {} {}", relation.0, old_text(old)).unwrap();
        }
        Message::Truncate { relations, cascade, restart_identity, .. } => {
            let ids: Vec<_> = relations.iter().map(|relation| relation.0).collect();
            write!(text, " {ids:?} cascade {cascade} restart {restart_identity}").unwrap();
        }
        Message::Message { transactional, lsn, prefix, content, .. } => {
            write!(text, " transactional {transactional} {lsn} {prefix} {content:?}").unwrap();
        }
        other => text = format!("{other:?}"),
    }
    text
}

#[track_caller]
fn check(name: &str, hex: &str, expected: &str) {
    let mut found = String::new();
    for (position, message) in captured(hex) {
        writeln!(found, "{position} {}", message_text(&message)).unwrap();
    }
    assert!(found == expected, "{name}.hex is not {name}.txt any more but:\n{found}");
}

macro_rules! check {
    ($name:literal) => {
        check(
            $name,
            include_str!(concat!("pgoutput/", $name, ".hex")),
            include_str!(concat!("pgoutput/", $name, ".txt")),
        )
    };
}

#[test]
fn a_captured_stream_in_text_form_reads_as_written() {
    check!("text");
}

#[test]
fn a_captured_stream_in_binary_form_reads_as_written() {
    check!("binary");
}

#[test]
fn a_captured_stream_in_chunks_reads_as_written() {
    check!("streamed");
}

#[test]
fn captured_prepared_transactions_read_as_written() {
    check!("prepared");
}

#[test]
fn captured_streams_assemble_into_transactions() {
    for hex in [include_str!("pgoutput/text.hex"), include_str!("pgoutput/binary.hex")] {
        let mut assembler = Assembler::new();
        let (mut outline, mut open, mut mood) = (String::new(), None, 0);
        for (_, message) in captured(hex) {
            if let Message::Type { id, .. } = message {
                mood = id;
            }
            match assembler.push(message).unwrap() {
                None => {}
                Some(Assembled::Begin(transaction)) => {
                    outline.push('(');
                    open = Some(transaction);
                }
                Some(Assembled::Commit { transaction, end }) => {
                    outline.push(')');
                    assert!(open.take() == Some(transaction) && end > transaction.commit_lsn);
                }
                Some(Assembled::RelationChanged(_)) => outline.push('r'),
                Some(Assembled::Change(change)) => outline.push(match change {
                    Change::Read { .. } => '?',
                    Change::Insert { .. } => 'I',
                    Change::Update { .. } => 'U',
                    Change::Delete { .. } => 'D',
                    Change::Truncate { .. } => 'T',
                    Change::Message { .. } => 'M',
                }),
            }
        }
        // The server repeats descriptions, after a truncate for one; those that say nothing new are left out.
        assert_eq!(outline, "(rIIUUDrIIUDrIUDrI)(IrIrI)(rIrIT)(T)M(IM)(I)");
        assert_eq!(assembler.type_name(mood).unwrap().name, "mood");
        assert_eq!(assembler.type_name(23), None);
    }
}

#[test]
fn captured_chunks_are_refused_until_they_are_asked_for() {
    let mut assembler = Assembler::new();
    let (_, first) = captured(include_str!("pgoutput/streamed.hex")).swap_remove(0);
    let error = assembler.push(first).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a Stream Start message of a streamed or prepared transaction came, which was not asked for: \
         start replication without `streaming` and `two_phase`"
    );
}

fn begin(xid: u32) -> Message {
    Message::Begin(Begin { final_lsn: lsn(1), commit_time_us: -3, xid })
}

fn insert(columns: u16) -> Message {
    let row = Tuple::new(vec![b'n'; columns.into()].into(), columns).unwrap();
    Message::Insert { xid: None, relation: ID, new: row }
}

fn described(columns: usize) -> Message {
    let columns = vec![("c", 23, -1, false); columns];
    Message::Relation { xid: None, relation: relation(&columns) }
}

fn emitted(transactional: bool) -> Message {
    let (lsn, prefix, content) = (lsn(1), "p".to_owned(), Bytes::new());
    Message::Message { xid: None, transactional, lsn, prefix, content }
}

/// Pushes `messages` and gives the last one's result; those before it must fit.
fn last(messages: Vec<Message>) -> Result<Option<Assembled>, AssembleError> {
    let mut assembler = Assembler::new();
    let mut result = Ok(None);
    for message in messages {
        assert!(result.is_ok(), "{result:?}");
        result = assembler.push(message);
    }
    result
}

#[test]
fn a_commit_gives_its_transaction_and_its_end() {
    let transaction = Transaction { xid: 7, commit_lsn: lsn(1), commit_time_us: -3 };
    assert_eq!(last(vec![begin(7)]), Ok(Some(Assembled::Begin(transaction))));
    let messages = vec![begin(7), Message::Commit(commit())];
    assert_eq!(last(messages), Ok(Some(Assembled::Commit { transaction, end: lsn(2) })));
}

#[test]
fn a_changed_relation_replaces_the_old_one_and_an_unchanged_one_does_not() {
    assert_eq!(last(vec![described(1), described(1)]), Ok(None));
    let messages = vec![described(1), begin(1), insert(1), described(2), insert(2)];
    let Ok(Some(Assembled::Change(Change::Insert { relation, new }))) = last(messages) else {
        panic!("no insert");
    };
    assert_eq!((relation.columns.len(), new.len()), (2, 2));
}

#[test]
fn a_message_outside_of_a_transaction_is_a_change_unless_it_is_transactional() {
    assert!(matches!(last(vec![emitted(false)]), Ok(Some(Assembled::Change(_)))));
    assert!(matches!(last(vec![begin(1), emitted(true)]), Ok(Some(Assembled::Change(_)))));
    let error = last(vec![emitted(true)]);
    assert_eq!(error, Err(AssembleError::OutsideTransaction { message: "Message" }));
}

#[test]
fn what_does_not_fit_is_an_error() {
    let mismatch = |found, end| AssembleError::CommitMismatch {
        found: lsn(found),
        end: lsn(end),
        commit_lsn: lsn(1),
    };
    let commit_of = |commit_lsn, end_lsn, commit_time_us| {
        let (commit_lsn, end_lsn) = (lsn(commit_lsn), lsn(end_lsn));
        vec![begin(1), Message::Commit(Commit { commit_lsn, end_lsn, commit_time_us })]
    };
    let unknown = |relation| AssembleError::UnknownRelation { relation, commit_lsn: lsn(1) };
    let count = |found, expected| AssembleError::ColumnCount {
        relation: "s.t".to_owned(),
        commit_lsn: lsn(1),
        found,
        expected,
    };
    let outside = |message| AssembleError::OutsideTransaction { message };
    let update =
        |old, new| Message::Update { xid: None, relation: ID, old: Some(OldTuple::Key(old)), new };
    let delete = Message::Delete { xid: None, relation: ID, old: OldTuple::Full(tuple(b"", 0)) };
    let truncate = |id| Message::Truncate {
        xid: None,
        relations: vec![ID, id],
        cascade: false,
        restart_identity: false,
    };
    let origin = Message::Origin { commit_lsn: lsn(1), name: "o".to_owned() };
    let streamed = Message::Insert { xid: Some(1), relation: ID, new: tuple(b"n", 1) };
    let cases = [
        (vec![begin(1), insert(1)], unknown(ID.0)),
        (vec![described(1), begin(1), truncate(RelationId(5))], unknown(5)),
        (vec![described(2), begin(1), insert(1)], count(1, 2)),
        (vec![described(1), begin(1), insert(2)], count(2, 1)),
        (vec![described(1), begin(1), update(tuple(b"", 0), tuple(b"n", 1))], count(0, 1)),
        (vec![described(1), begin(1), update(tuple(b"n", 1), tuple(b"nn", 2))], count(2, 1)),
        (vec![described(1), begin(1), delete.clone()], count(0, 1)),
        (vec![described(1), insert(1)], outside("Insert")),
        (vec![described(0), delete], outside("Delete")),
        (vec![described(0), truncate(ID)], outside("Truncate")),
        (vec![origin], outside("Origin")),
        (vec![Message::Commit(commit())], outside("Commit")),
        (vec![begin(1), Message::Commit(commit()), Message::Commit(commit())], outside("Commit")),
        (vec![begin(1), begin(2)], AssembleError::NestedBegin { xid: 2, commit_lsn: lsn(1) }),
        (commit_of(5, 6, -3), mismatch(5, 6)),
        (commit_of(1, 1, -3), mismatch(1, 1)),
        (commit_of(1, 2, -4), mismatch(1, 2)),
        (vec![described(1), begin(1), streamed], AssembleError::NotAskedFor { message: "Insert" }),
    ];
    for (messages, expected) in cases {
        assert_eq!(last(messages), Err(expected));
    }
}

#[test]
fn messages_of_other_protocols_are_refused() {
    for (_, message) in plain_messages() {
        if matches!(message, Message::Begin(_) | Message::Commit(_) | Message::Origin { .. }) {
            continue;
        }
        let name = message.name();
        assert_eq!(last(vec![message]), Err(AssembleError::NotAskedFor { message: name }));
    }
    for (_, _, message) in change_messages(Some(XID)) {
        let name = message.name();
        assert_eq!(
            last(vec![begin(1), message]),
            Err(AssembleError::NotAskedFor { message: name })
        );
    }
}
