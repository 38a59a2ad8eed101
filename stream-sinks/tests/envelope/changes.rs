//! What changes become: operations, keys, images, attributes.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use stream_core::batch::Entry;
use stream_core::change::{Change, OldTuple, Transaction, Tuple};
use stream_core::lsn::Lsn;
use stream_core::relation::{Relation, RelationId, ReplicaIdentity, TableName};
use stream_core::table::Table;
use stream_sinks::cloudevent::encoder::{EventEncoder, EventOptions, SkippedOperations};
use stream_sinks::cloudevent::event::{Event, Marker, Mode, Order, Read, SnapshotFacts};
use stream_sinks::envelope::hash::HashVersion;
use stream_sinks::envelope::options::{BinaryMode, ValueOptions};
use stream_sinks::envelope::rules::{ColumnRules, MessageKeys, MessagePrefixes, RuleError};

use crate::cases::tree;
use crate::values::{inspected, options, relation, tuple};

const UNCHANGED: Option<&[u8]> = Some(b"\x00unchanged");
const TRANSACTION: Transaction =
    Transaction { xid: 964, commit_lsn: Lsn::new(38_210_304), commit_time_us: 849_661_242_198_402 };

pub(crate) fn plain() -> EventOptions {
    options(ValueOptions::default())
}

/// The events of one transaction with these changes, and their bytes.
pub(crate) fn encode(options: EventOptions, changes: Vec<Change>) -> (Vec<Event>, BytesMut) {
    encode_of(options, Vec::new(), changes)
}

fn encode_of(
    options: EventOptions,
    tables: Vec<Arc<Table>>,
    changes: Vec<Change>,
) -> (Vec<Event>, BytesMut) {
    let mut encoder = EventEncoder::new(options, &inspected(tables), None);
    encoder.set_clock(UNIX_EPOCH + Duration::from_nanos(1_795_345_889_855_157_163));
    let (mut out, mut events) = (BytesMut::new(), Vec::new());
    let begin = Entry::Begin(TRANSACTION);
    let end = Entry::Commit { transaction: TRANSACTION, end: Lsn::new(38_210_352) };
    let changes = (0..).zip(changes).map(|(ordinal, change)| Entry::Change {
        ordinal,
        lsn: Lsn::new(38_209_944),
        change,
    });
    for entry in std::iter::once(begin).chain(changes).chain([end]) {
        encoder.entry(&entry, &mut out, &mut events).unwrap();
    }
    (events, out)
}

pub(crate) fn trees(options: EventOptions, changes: Vec<Change>) -> Vec<Value> {
    trees_of(options, Vec::new(), changes)
}

/// The same of tables that the catalogue has.
pub(crate) fn trees_of(
    options: EventOptions,
    tables: Vec<Arc<Table>>,
    changes: Vec<Change>,
) -> Vec<Value> {
    let (events, out) = encode_of(options, tables, changes);
    events.iter().map(|event| tree(&out[event.body.clone()])).collect()
}

pub(crate) fn table() -> Arc<Relation> {
    relation(&[("id", "int4"), ("a", "text"), ("b", "int4")], 1)
}

/// The same with a key that is text.
fn named() -> Arc<Relation> {
    relation(&[("id", "text"), ("a", "text"), ("b", "int4")], 1)
}

pub(crate) fn row(id: &[u8], a: Option<&[u8]>, b: Option<&[u8]>) -> Tuple {
    tuple(&[Some(id), a, b])
}

pub(crate) fn insert() -> Change {
    Change::Insert { relation: table(), new: row(b"1", Some(b"x"), None) }
}

fn ops(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["data"]["op"].as_str().unwrap()).collect()
}

#[test]
fn an_insert_is_this_event_byte_for_byte() {
    let (events, out) = encode(plain(), vec![insert()]);
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        r#"{{"id":"demo.s1:0-2470B00:0","source":"/debezium/postgresql/demo.s1","specversion":"1.0","type":"io.debezium.connector.postgresql.DataChangeEvent","time":"2026-12-04T01:00:42.198Z","subject":"public.t","datacontenttype":"application/json","partitionkey":"public.t/1","iodebeziumop":"c","iodebeziumversion":"{version}","iodebeziumconnector":"postgresql","iodebeziumname":"demo.s1","iodebeziumtsms":"1796346042198","iodebeziumsnapshot":"false","iodebeziumdb":"postgres","iodebeziumsequence":"[null,\"38209944\"]","iodebeziumtsus":"1796346042198402","iodebeziumtsns":"1796346042198402000","iodebeziumschema":"public","iodebeziumtable":"t","iodebeziumtxid":"964","iodebeziumlsn":"38209944","data":{{"before":null,"after":{{"id":1,"a":"x","b":null}},"source":{{"version":"{version}","connector":"postgresql","name":"demo.s1","ts_ms":1796346042198,"snapshot":"false","db":"postgres","sequence":"[null,\"38209944\"]","ts_us":1796346042198402,"ts_ns":1796346042198402000,"schema":"public","table":"t","txId":964,"lsn":38209944,"xmin":null,"origin":null,"origin_lsn":null}},"transaction":null,"op":"c","ts_ms":1795345889855,"ts_us":1795345889855157,"ts_ns":1795345889855157163}}}}"#
    );
    assert_eq!(String::from_utf8(out[events[0].body.clone()].to_vec()).unwrap(), expected);
    assert_eq!(&out[events[0].id.clone()], b"demo.s1:0-2470B00:0");
    assert_eq!(&out[events[0].key.clone()], b"public.t/1");
}

#[test]
fn binary_mode_has_the_same_attributes_as_headers_that_need_no_more_encoding() {
    let relation =
        Arc::new(Relation { name: TableName::new("größe", "a b"), ..(*named()).clone() });
    let change = Change::Insert { relation, new: row(b"a/%", None, None) };
    let structured = trees(plain(), vec![change.clone()]);
    let (events, out) = encode(EventOptions { mode: Mode::Binary, ..plain() }, vec![change]);
    let event = &events[0];
    assert_eq!(tree(&out[event.body.clone()]), structured[0]["data"]);
    let mut names: Vec<_> = structured[0].as_object().unwrap().keys().cloned().collect();
    names.retain(|name| name != "data" && name != "datacontenttype");
    let mut headers: Vec<_> = event.headers.iter().map(|(name, _)| name[3..].to_owned()).collect();
    headers.sort();
    assert_eq!(headers, names);
    for (name, value) in &event.headers {
        let value = std::str::from_utf8(&out[value.clone()]).unwrap();
        assert!(value.bytes().all(|byte| (0x21..=0x7e).contains(&byte) && byte != b'"'), "{value}");
        assert_eq!(decoded(value), structured[0][&name[3..]].as_str().unwrap(), "{name}");
    }
    assert_eq!(structured[0]["partitionkey"], "größe.a b/a%2F%25");
}

fn decoded(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == b'%' {
            let digits = std::str::from_utf8(&rest[..2]).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            rest = &rest[2..];
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn batched_events_make_one_array() {
    let (events, mut out) =
        encode(EventOptions { mode: Mode::Batched, ..plain() }, vec![insert(), insert(), insert()]);
    out.extend_from_slice(b"]");
    let all = tree(&out);
    assert_eq!(all.as_array().unwrap().len(), 3);
    for (event, whole) in events.iter().zip(all.as_array().unwrap()) {
        assert_eq!(tree(&out[event.body.clone()]), *whole);
    }
}

#[test]
fn an_update_shows_before_only_what_the_log_holds() {
    let new = row(b"1", Some(b"y"), None);
    let update = |old| Change::Update { relation: table(), old, new: new.clone() };
    let full = OldTuple::Full(row(b"1", Some(b"x"), Some(b"5")));
    let events = trees(plain(), vec![update(None), update(Some(full))]);
    assert_eq!(ops(&events), ["u", "u"]);
    assert_eq!(events[0]["data"]["before"], Value::Null);
    assert_eq!(events[1]["data"]["before"], json!({"id": 1, "a": "x", "b": 5}));
    assert_eq!(events[1]["data"]["after"], json!({"id": 1, "a": "y", "b": null}));
}

#[test]
fn a_delete_shows_null_for_what_the_log_does_not_hold() {
    let old = OldTuple::Key(row(b"1", None, None));
    let events = trees(plain(), vec![Change::Delete { relation: table(), old }]);
    assert_eq!(ops(&events), ["d"]);
    assert_eq!(events[0]["data"]["before"], json!({"id": 1, "a": null, "b": null}));
    assert_eq!(events[0]["data"]["after"], Value::Null);
    assert_eq!(events[0]["partitionkey"], "public.t/1");
}

#[test]
fn a_change_of_the_key_is_a_delete_and_a_create_with_ids_of_their_own() {
    let old = Some(OldTuple::Key(row(b"1", None, None)));
    let change = Change::Update { relation: table(), old, new: row(b"2", Some(b"x"), UNCHANGED) };
    let events = trees(plain(), vec![change]);
    assert_eq!(ops(&events), ["d", "c"]);
    assert_eq!(events[0]["data"]["before"], json!({"id": 1, "a": null, "b": null}));
    assert_eq!(events[1]["data"]["before"], Value::Null);
    assert_eq!(
        events[1]["data"]["after"],
        json!({"id": 2, "a": "x", "b": "__debezium_unavailable_value"})
    );
    assert_eq!(events[0]["id"], "demo.s1:0-2470B00:0");
    assert_eq!(events[1]["id"], "demo.s1:0-2470B00:0.1");
    assert_eq!(events[0]["partitionkey"], "public.t/1");
    assert_eq!(events[1]["partitionkey"], "public.t/2");
}

#[test]
fn an_unchanged_large_value_comes_from_the_old_row_or_is_the_placeholder() {
    let columns = [
        ("id", "int4"),
        ("text", "text"),
        ("numeric", "numeric"),
        ("bytea", "bytea"),
        ("texts", "text[]"),
        ("numbers", "int4[]"),
        ("uuids", "uuid[]"),
        ("bytes", "bytea[]"),
        ("floats", "float8[]"),
        ("hstore", "hstore"),
    ];
    let new = {
        let mut values = vec![UNCHANGED; columns.len()];
        values[0] = Some(b"1");
        tuple(&values)
    };
    let update = Change::Update { relation: relation(&columns, 1), old: None, new: new.clone() };
    let after = trees(plain(), vec![update])[0]["data"]["after"].clone();
    let placeholder = "__debezium_unavailable_value";
    let bytes: Vec<_> = placeholder.bytes().collect();
    assert_eq!(
        after,
        json!({
            "id": 1, "text": placeholder, "numeric": placeholder, "bytea": placeholder, "texts": [placeholder],
            "numbers": bytes, "uuids": ["b68a35a7-17ad-35b3-af2a-ae46edb4545a"],
            "bytes": ["X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="], "floats": [placeholder], "hstore": placeholder
        })
    );
    let old: Vec<Option<&[u8]>> = vec![
        Some(b"1"),
        Some(b"old"),
        Some(b"1.5"),
        Some(b"\\x00"),
        Some(b"{a}"),
        Some(b"{1}"),
        None,
        None,
        None,
        None,
    ];
    let old = Some(OldTuple::Full(tuple(&old)));
    let update = Change::Update { relation: relation(&columns, 1), old, new };
    let data = &trees(plain(), vec![update])[0]["data"];
    assert_eq!(data["after"], data["before"]);
    assert_eq!(data["after"]["text"], "old");
}

#[test]
fn an_unchanged_large_value_of_the_key_is_that_of_the_old_row() {
    let columns = [("k", "text"), ("v", "text"), ("w", "text")];
    let new = tuple(&[UNCHANGED, Some(b"new"), UNCHANGED]);
    let keys = OldTuple::Key(tuple(&[Some(b"large"), None, None]));
    let full = OldTuple::Full(tuple(&[Some(b"large"), Some(b"old"), Some(b"w")]));
    for (old, w) in [(keys, "__debezium_unavailable_value"), (full, "w")] {
        let relation = relation(&columns, 1);
        let update = Change::Update { relation, old: Some(old), new: new.clone() };
        let events = trees(plain(), vec![update]);
        assert_eq!(ops(&events), ["u"]);
        assert_eq!(events[0]["partitionkey"], "public.t/large");
        assert_eq!(events[0]["data"]["after"], json!({"k": "large", "v": "new", "w": w}));
    }
}

#[test]
fn a_truncate_of_two_tables_is_two_events() {
    let other = Arc::new(Relation {
        id: RelationId(2),
        name: TableName::new("public", "u"),
        ..(*table()).clone()
    });
    let change = Change::Truncate {
        relations: vec![table(), other],
        cascade: false,
        restart_identity: false,
    };
    let (events, out) = encode(plain(), vec![change]);
    let shown: Vec<_> = events.iter().map(|event| tree(&out[event.body.clone()])).collect();
    assert_eq!(ops(&shown), ["t", "t"]);
    // Whichever of them comes again, and the other not, has its own.
    assert_eq!(shown[0]["id"], "demo.s1:0-2470B00:0:public.t");
    assert_eq!(shown[1]["id"], "demo.s1:0-2470B00:0:public.u");
    assert_eq!(shown[0]["data"]["before"], Value::Null);
    assert_eq!(shown[0]["data"]["after"], Value::Null);
    assert_eq!(shown[1]["partitionkey"], "public.u");
    assert!(is_whole(&events[0]) && is_whole(&events[1]) && events[0].order != events[1].order);
}

/// Whether the event waits for all of its table.
fn is_whole(event: &Event) -> bool {
    matches!(event.order, Order::Table(_))
}

/// Two tables have the name one after the other: their rows have one `partitionkey`.
#[test]
fn events_of_one_partition_key_keep_their_order_whatever_table_they_are_of() {
    let other = Arc::new(Relation { id: RelationId(2), ..(*table()).clone() });
    let later = Change::Insert { relation: other, new: row(b"1", None, None) };
    let earlier = Change::Insert { relation: table(), new: row(b"1", None, None) };
    let (events, out) = encode(plain(), vec![earlier, later]);
    let keys: Vec<_> =
        events.iter().map(|event| tree(&out[event.body.clone()])["partitionkey"].clone()).collect();
    assert_eq!(keys, ["public.t/1", "public.t/1"]);
    assert_eq!(events[0].order, events[1].order);
}

fn message(transactional: bool) -> Change {
    let content = Bytes::from_static(b"bar");
    Change::Message { transactional, lsn: Lsn::new(38_221_528), prefix: "foo".into(), content }
}

#[test]
fn a_message_is_an_event_without_a_table() {
    let events = trees(plain(), vec![message(true)]);
    let event = &events[0];
    assert_eq!(event["subject"], "foo");
    assert_eq!(event["partitionkey"], "foo");
    assert_eq!(event["iodebeziumop"], "m");
    assert!(event.get("iodebeziumtable").is_none() && event.get("iodebeziumschema").is_none());
    assert_eq!(event["data"]["message"], json!({"prefix": "foo", "content": "YmFy"}));
    assert_eq!(event["data"]["source"]["lsn"], 38_221_528);
    assert_eq!(event["data"]["source"]["table"], "");
    assert_eq!(event["data"]["source"]["txId"], 964);
    let fields: Vec<_> = event["data"].as_object().unwrap().keys().collect();
    assert_eq!(fields.len(), 7);
    assert!(event["data"]["ts_ns"].is_u64());

    let values = ValueOptions { binary: BinaryMode::Hex, ..Default::default() };
    let events = trees(options(values), vec![message(true)]);
    assert_eq!(events[0]["data"]["message"]["content"], "626172");
}

#[test]
fn rows_of_the_signal_table_are_not_sent() {
    let options = EventOptions { signal_table: Some(TableName::new("public", "t")), ..plain() };
    assert_eq!(ops(&trees(options, vec![insert(), message(true)])), ["m"]);
}

#[test]
fn a_message_outside_of_transactions_has_its_own_position_for_an_id() {
    let mut encoder = EventEncoder::new(plain(), &inspected(Vec::new()), Some(Lsn::new(5)));
    let (mut out, mut events) = (BytesMut::new(), Vec::new());
    let entry = Entry::Change { ordinal: 9, lsn: Lsn::new(1), change: message(false) };
    encoder.entry(&entry, &mut out, &mut events).unwrap();
    let event = tree(&out[events[0].body.clone()]);
    assert_eq!(event["id"], "demo.s1:0-24736D8:message");
    assert_eq!(event["data"]["source"]["txId"], Value::Null);
    assert_eq!(event["data"]["source"]["sequence"], "[\"5\",\"38221528\"]");
    assert!(event.get("iodebeziumtxid").is_none());
}

#[test]
fn messages_are_left_out_by_prefix() {
    let pass = |includes: &[&str], excludes: &[&str]| {
        let prefixes = MessagePrefixes::new(includes, excludes).unwrap();
        trees(EventOptions { prefixes, ..plain() }, vec![message(true)]).len()
    };
    assert_eq!(pass(&[], &[]), 1);
    assert_eq!(pass(&["F.o"], &[]), 1);
    assert_eq!(pass(&["fo"], &[]), 0);
    assert_eq!(pass(&[], &["foo"]), 0);
    assert_eq!(MessagePrefixes::new(&["a"], &["b"]).unwrap_err(), RuleError::BothLists);
}

#[test]
fn transaction_metadata_count_events_in_all_and_for_each_table() {
    let old = Some(OldTuple::Key(row(b"1", None, None)));
    let key_change = Change::Update { relation: table(), old, new: row(b"2", None, None) };
    let options = EventOptions { transaction_metadata: true, ..plain() };
    let events = trees(options, vec![insert(), message(true), key_change]);
    let blocks: Vec<_> = events.iter().map(|event| event["data"]["transaction"].clone()).collect();
    let block = |total: u64, of_table: u64| json!({"id": "964:38210304", "total_order": total, "data_collection_order": of_table});
    assert_eq!(blocks, [block(1, 1), block(2, 1), block(3, 2), block(4, 3)]);
    assert_eq!(events[3]["iodebeziumtransactionid"], "964:38210304");
    assert_eq!(events[3]["iodebeziumtxtotalorder"], "4");
    assert_eq!(events[3]["iodebeziumtxdatacollectionorder"], "3");
}

#[test]
fn skipped_operations_and_updates_without_a_change_are_left_out() {
    let update = |new: Tuple| Change::Update {
        relation: table(),
        old: Some(OldTuple::Full(row(b"1", Some(b"x"), None))),
        new,
    };
    let same = || update(row(b"1", UNCHANGED, None));
    let other = || update(row(b"1", Some(b"y"), None));
    let skipped = SkippedOperations { create: true, truncate: true, ..Default::default() };
    let options = EventOptions { skipped, skip_unchanged: true, ..plain() };
    assert_eq!(ops(&trees(options, vec![insert(), same(), other()])), ["u"]);
    assert_eq!(ops(&trees(plain(), vec![same()])), ["u"]);
}

#[test]
fn chosen_key_columns_make_the_key_in_their_order() {
    let keys = MessageKeys::new(&["public.t:b,a;other:x", "more:y"]).unwrap();
    let options = EventOptions { keys, ..plain() };
    let new = row(b"1", Some(b"x,y"), Some(b"7"));
    let events = trees(options, vec![Change::Insert { relation: table(), new }]);
    assert_eq!(events[0]["partitionkey"], "public.t/7,x%2Cy");
    for wrong in ["public.t", "public.t:", ":a", "t:a,,b"] {
        assert!(matches!(MessageKeys::new(&[wrong]), Err(RuleError::KeyColumns { .. })), "{wrong}");
    }
}

#[test]
fn a_long_partition_key_is_cut_and_hashed() {
    let change = |id: &[u8]| Change::Insert { relation: named(), new: row(id, None, None) };
    let events =
        trees(plain(), vec![change(&[b'x'; 400]), change(&[b'x'; 401]), change(&[b'x'; 247])]);
    let keys: Vec<_> = events.iter().map(|event| event["partitionkey"].as_str().unwrap()).collect();
    assert_eq!(keys.iter().map(|key| key.len()).collect::<Vec<_>>(), [256, 256, 256]);
    assert!(keys[2].ends_with('x'));
    assert_eq!(keys[0][..224], keys[1][..224]);
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn tables_whose_names_have_dots_are_told_apart() {
    let seen = |schema: &str, table: &str| {
        let name = TableName::new(schema, table);
        let relation = Arc::new(Relation { name, ..(*self::table()).clone() });
        let mut encoder = EventEncoder::new(plain(), &inspected(Vec::new()), None);
        let snapshot = SnapshotFacts { generation: 0, lsn: Lsn::new(42), xid: None, time_us: 0 };
        let read = Read { snapshot: &snapshot, marker: Marker::Inside, place: b"(0,1)" };
        let (mut out, mut events) = (BytesMut::new(), Vec::new());
        encoder.read(&read, &relation, &row(b"1", None, None), &mut out, &mut events).unwrap();
        let event = tree(&out[events[0].body.clone()]);
        ["id", "subject", "partitionkey"].map(|name| event[name].as_str().unwrap().to_owned())
    };
    for (one, other) in [(("a.b", "c"), ("a", "b.c")), (("a.b", "c"), ("a%2Eb", "c"))] {
        let (one, other) = (seen(one.0, one.1), seen(other.0, other.1));
        assert!(one.iter().zip(&other).all(|(one, other)| one != other), "{one:?} {other:?}");
    }
    let [id, subject, key] = seen("a.b", "c");
    assert!(id.starts_with("demo.s1:s0:a=252Eb.c:"), "{id}");
    assert_eq!((subject.as_str(), key.as_str()), ("a%2Eb.c", "a%2Eb.c/1"));
    // As it was before names were escaped.
    let [id, subject, key] = seen("größe", "a b/=c");
    assert!(id.starts_with("demo.s1:s0:gr=c3=b6=c3=9fe.a=20b/=3dc:"), "{id}");
    assert_eq!((subject.as_str(), key.as_str()), ("größe.a b/=c", "größe.a b/=c/1"));
}

#[test]
fn a_table_without_a_key_is_kept_in_order_as_a_whole() {
    let relation =
        Arc::new(Relation { replica_identity: ReplicaIdentity::Full, ..(*table()).clone() });
    let (events, out) =
        encode(plain(), vec![Change::Insert { relation, new: row(b"1", None, None) }]);
    assert!(is_whole(&events[0]));
    assert_eq!(tree(&out[events[0].body.clone()])["partitionkey"], "public.t");
}

#[test]
fn the_first_event_under_another_key_waits_for_all_of_the_table() {
    let columns = [("id", "int4"), ("a", "text"), ("b", "int4")];
    let by_other = {
        let mut relation = (*relation(&columns, 0)).clone();
        relation.replica_identity = ReplicaIdentity::Index;
        relation.columns[2].is_key = true;
        Arc::new(relation)
    };
    let update = |relation: &Arc<Relation>, id: &[u8]| {
        let new = row(id, Some(b"x"), Some(b"7"));
        Change::Update { relation: Arc::clone(relation), old: None, new }
    };
    let changes = vec![
        update(&table(), b"1"),
        update(&by_other, b"1"),
        update(&by_other, b"2"),
        insert(),
        insert(),
    ];
    let (events, out) = encode(plain(), changes.clone());
    assert_eq!(events.iter().map(is_whole).collect::<Vec<_>>(), [false, true, false, true, false]);
    let keys: Vec<_> = events
        .iter()
        .map(|event| tree(&out[event.body.clone()])["partitionkey"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(keys, ["public.t/1", "public.t/7", "public.t/7", "public.t/1", "public.t/1"]);
    // One that is not sent holds nothing up, and the next one does.
    let mut more = changes;
    more.insert(
        1,
        Change::Delete { relation: by_other, old: OldTuple::Key(row(b"1", None, None)) },
    );
    let skipped = SkippedOperations { delete: true, ..Default::default() };
    let (events, _) = encode(EventOptions { skipped, ..plain() }, more);
    assert!(!is_whole(&events[0]) && is_whole(&events[1]) && !is_whole(&events[2]));
}

#[test]
fn keys_that_are_equal_in_other_texts_keep_their_order() {
    let orders = |spelled: &str, one: &str, other: &str| {
        let change = |text: &str| {
            let relation = relation(&[("id", spelled)], 1);
            Change::Insert { relation, new: tuple(&[Some(text.as_bytes())]) }
        };
        let (events, _) = encode(plain(), vec![change(one), change(other)]);
        (events[0].order, events[1].order)
    };
    let whole = |order| matches!(order, Order::Table(_));
    for (spelled, one, other) in [
        ("numeric", "1.0", "1.00"),
        ("numeric", "100", "100.00"),
        ("numeric", "0", "0.00"),
        ("numeric", "-1.50", "-1.5"),
        ("price", "1.000", "1.000"),
        ("float8", "-0", "0"),
        ("float4", "-0", "0"),
    ] {
        let (one, other) = orders(spelled, one, other);
        assert!(one == other && !whole(one), "{spelled}");
    }
    for (spelled, one, other) in [
        ("citext", "a", "A"),
        ("interval", "24:00:00", "1 day"),
        ("jsonb", "1.0", "1.00"),
        ("bpchar", "a", "a "),
        ("numeric[]", "{1.0}", "{1.00}"),
        ("citext[]", "{a}", "{A}"),
        ("numrange", "[1.0,2)", "[1.00,2)"),
        ("floatrange", "[-0,2)", "[0,2)"),
        ("pair", "(1,a)", "(2,a)"),
    ] {
        let (one, other) = orders(spelled, one, other);
        assert!(whole(one) && whole(other), "{spelled}");
    }
    for (spelled, one, other) in [
        ("int8", "1", "10"),
        ("numeric", "1", "10"),
        ("numeric", "1.05", "1.5"),
        ("numeric", "0.1", "0.01"),
        ("float8", "1e+20", "1e+2"),
        ("float8", "1.5e+20", "1.5e+2"),
        ("text", "-0", "0"),
        ("text", "1.0", "1.00"),
        ("varchar(5)", "a", "a "),
        ("bpchar(2)", "a ", "b "),
        ("uuid", "a", "b"),
        ("bytea", "\\x00", "\\x0000"),
        ("timestamptz", "2026-01-01 00:00:00+00", "2026-01-01 00:00:01+00"),
        ("int4[]", "{1}", "{2}"),
        ("mood", "sad", "ok"),
        ("posint", "1", "2"),
        ("ltree", "a.b", "a.c"),
    ] {
        let (one, other) = orders(spelled, one, other);
        assert!(one != other && !whole(one) && !whole(other), "{spelled}");
    }
}

#[test]
fn what_keeps_the_order_changes_neither_keys_nor_ids() {
    let seen = |spelled: &str, text: &[u8], place: &[u8]| {
        let mut encoder = EventEncoder::new(plain(), &inspected(Vec::new()), None);
        let snapshot = SnapshotFacts { generation: 0, lsn: Lsn::new(42), xid: None, time_us: 0 };
        let read = Read { snapshot: &snapshot, marker: Marker::Inside, place };
        let (mut out, mut events) = (BytesMut::new(), Vec::new());
        let relation = relation(&[("id", spelled)], 1);
        encoder.read(&read, &relation, &tuple(&[Some(text)]), &mut out, &mut events).unwrap();
        let event = tree(&out[events[0].body.clone()]);
        ["id", "partitionkey"].map(|name| event[name].as_str().unwrap().to_owned())
    };
    let numeric = seen("numeric", b"1.50", b"(0,1)");
    assert_eq!(
        numeric,
        ["demo.s1:s0:public.t:839a506a4c20fbc48ad02122e96cef50:4eca0bd378c80c7a", "public.t/1.50"]
    );
    let citext = seen("citext", b"A", b"(0,1)");
    assert_eq!(citext[1], "public.t/A");
    assert_eq!(citext, seen("citext", b"A", b"(0,2)"));
}

fn rules(build: impl FnOnce(&mut ColumnRules) -> Result<(), RuleError>) -> EventOptions {
    let mut columns = ColumnRules::default();
    build(&mut columns).unwrap();
    EventOptions { columns, ..plain() }
}

#[test]
fn columns_are_cut_masked_and_hashed_all_of_it_and_nothing_hidden_is_left_in_the_event() {
    let salt = "CzQMA0cB5K";
    let relation = relation(
        &[
            ("id", "varchar(20)"),
            ("cut", "text"),
            ("mask", "text"),
            ("number", "int4"),
            ("both", "text"),
            ("bytes", "bytea"),
        ],
        1,
    );
    let new = tuple(&[
        Some(b"test"),
        Some("ünïcödé".as_bytes()),
        None,
        Some(b"777"),
        Some(b"hello world"),
        Some(b"\\x01020304"),
    ]);
    let options = rules(|rules| {
        rules.truncate(r"3:public\.t\.cut")?;
        rules.truncate(r"5:.*\.both")?;
        rules.truncate(r"2:.*\.bytes")?;
        rules.mask(r"4:public\.T\.(mask|number)")?;
        rules.hash(HashVersion::V1, "SHA-256", salt, r"public\.t\.id")?;
        rules.hash(HashVersion::V2, "SHA-256", salt, r"public\.t\.both")
    });
    let (events, out) = encode(options, vec![Change::Insert { relation, new }]);
    let shown = tree(&out[events[0].body.clone()]);
    assert_eq!(
        shown["data"]["after"],
        json!({
            "id": "8e68c68edbbac316dfe2", "cut": "ünï", "mask": "****", "number": "****",
            "both": "c4bf2f9ebc99b7f64add45103e81eb4ca483649064e3e1398b21f41786360c7b", "bytes": "AQI="
        })
    );
    let text = String::from_utf8(out.to_vec()).unwrap();
    assert!(!text.contains("test") && !text.contains("777"), "{text}");
    assert!(shown["partitionkey"].as_str().unwrap().starts_with("public.t/"));
}

#[test]
fn rules_that_cannot_be_used_say_what_to_write() {
    let mut rules = ColumnRules::default();
    let error = rules.truncate(r"public\.t\.a").unwrap_err().to_string();
    assert!(error.contains("write `N:regex`"), "{error}");
    let error = rules.mask("5:(?=x)").unwrap_err().to_string();
    assert!(error.contains("`(?=x)`") && error.contains("look-around"), "{error}");
    let error = rules.hash(HashVersion::V2, "CRC32", "s", "x").unwrap_err().to_string();
    assert!(error.contains("`CRC32`") && error.contains("SHA-256"), "{error}");
}

#[test]
fn a_snapshots_row_has_the_same_id_again_unless_it_changed_or_somebody_asked_anew() {
    let id = |row: &Tuple, key: usize, place: &[u8], generation: u64, marker: Marker| {
        let mut encoder = EventEncoder::new(plain(), &inspected(Vec::new()), None);
        let snapshot =
            SnapshotFacts { generation, lsn: Lsn::new(42), xid: Some(7), time_us: 1_000_001 };
        let relation = relation(&[("id", "int4"), ("a", "text"), ("b", "int4")], key);
        let read = Read { snapshot: &snapshot, marker, place };
        let (mut out, mut events) = (BytesMut::new(), Vec::new());
        encoder.read(&read, &relation, row, &mut out, &mut events).unwrap();
        let event = tree(&out[events[0].body.clone()]);
        assert_eq!(event["data"]["source"]["snapshot"], marker.name());
        assert_eq!(event["data"]["source"]["sequence"], "[null,\"42\"]");
        assert_eq!(event["data"]["op"], "r");
        event["id"].as_str().unwrap().to_owned()
    };
    let (one, two) = (row(b"1", Some(b"x"), None), row(b"1", Some(b"y"), None));
    let first = id(&one, 1, b"(0,1)", 0, Marker::First);
    assert_eq!(first, id(&one, 1, b"(9,9)", 0, Marker::LastInTable));
    assert_ne!(first, id(&two, 1, b"(0,1)", 0, Marker::First));
    assert_ne!(first, id(&one, 1, b"(0,1)", 1, Marker::First));
    let keyless = id(&one, 0, b"(0,1)", 0, Marker::Inside);
    assert_ne!(keyless, id(&one, 0, b"(0,2)", 0, Marker::Inside));
    assert_eq!(keyless, id(&one, 0, b"(0,1)", 0, Marker::Inside));
}
