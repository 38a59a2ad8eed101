//! What transforms make of events.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stream_core::change::{Change, OldTuple};
use stream_sinks::cloudevent::encoder::EventOptions;
use stream_sinks::cloudevent::event::{Mode, Order};
use stream_sinks::transform::{SettingsMap, TransformError, Transforms};

use crate::cases::tree;
use crate::changes::{encode, insert, plain, row, table, trees};
use crate::values::{relation, tuple};

const KAFKA: &str = "org.apache.kafka.connect.transforms";

fn settings(pairs: &[(&str, &str)]) -> SettingsMap {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn transforms(steps: &[&[(&str, &str)]]) -> Result<Transforms, TransformError> {
    let steps: Vec<_> =
        steps.iter().enumerate().map(|(at, step)| (format!("t{at}"), settings(step))).collect();
    let topic = [
        ("type", &*format!("{KAFKA}.predicates.TopicNameMatches")),
        ("pattern", r"demo\.s1\..*\.t"),
    ];
    let tombstone = [("type", &*format!("{KAFKA}.predicates.RecordIsTombstone"))];
    let predicates = BTreeMap::from([
        ("isT".to_owned(), settings(&topic)),
        ("isTombstone".to_owned(), settings(&tombstone)),
    ]);
    Transforms::new(&steps, &predicates)
}

fn with(steps: &[&[(&str, &str)]]) -> EventOptions {
    EventOptions { transforms: transforms(steps).unwrap(), ..plain() }
}

const UNWRAP: (&str, &str) = ("type", "io.debezium.transforms.ExtractNewRecordState");

fn delete() -> Change {
    Change::Delete { relation: table(), old: OldTuple::Key(row(b"1", None, None)) }
}

#[test]
fn an_unwrapped_row_is_the_data_and_the_attributes_stay() {
    let unwrap = [
        UNWRAP,
        ("delete.tombstone.handling.mode", "rewrite"),
        ("add.fields", "op,table,lsn,source.ts_ms,transaction.id"),
    ];
    let events = trees(with(&[&unwrap]), vec![insert(), delete()]);
    let text = serde_json::to_string(&events[0]["data"]).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&text).unwrap(),
        json!({
            "id": 1, "a": "x", "b": null, "__deleted": "false", "__op": "c", "__table": "t", "__lsn": 38_209_944,
            "__source_ts_ms": 1_796_346_042_198_u64, "__transaction_id": null
        })
    );
    assert_eq!(events[1]["data"]["__deleted"], "true");
    assert_eq!(events[1]["data"]["id"], 1);
    let untouched = trees(plain(), vec![insert()]);
    for name in ["id", "subject", "partitionkey", "type", "time", "iodebeziumop", "iodebeziumlsn"] {
        assert_eq!(events[0][name], untouched[0][name], "{name}");
    }
}

#[test]
fn columns_keep_their_order_and_numbers_their_digits() {
    let relation = relation(&[("z", "int8"), ("a", "timestamp"), ("m", "float8")], 1);
    let values = stream_sinks::envelope::options::ValueOptions {
        time: stream_sinks::envelope::options::TimeMode::Nanoseconds,
        ..Default::default()
    };
    let options = EventOptions { values, ..with(&[&[UNWRAP]]) };
    let new = tuple(&[Some(b"1"), Some(b"21016-11-04 13:51:30.123456"), Some(b"1e+300")]);
    let (events, out) = encode(options, vec![Change::Insert { relation, new }]);
    let event = std::str::from_utf8(&out[events[0].body.clone()]).unwrap();
    let data = r#""data":{"z":1,"a":601060312290123456000,"m":1.0E300}}"#;
    assert!(event.ends_with(data), "{event}");
}

#[test]
fn an_unwrapped_delete_is_dropped_or_null_as_it_is_asked_for() {
    let count = |mode: &str| {
        let unwrap = [UNWRAP, ("deleteTombstoneHandlingMode", mode)];
        trees(with(&[&unwrap]), vec![delete()])
    };
    assert!(count("drop").is_empty());
    let kept = count("tombstone");
    assert_eq!(kept[0]["data"], Value::Null);
    assert_eq!(kept[0]["iodebeziumop"], "d");
    assert_eq!(kept[0]["partitionkey"], "public.t/1");
}

fn outbox(payload_type: &str, payload: &[u8]) -> Change {
    let columns = [
        ("id", "uuid"),
        ("aggregatetype", "text"),
        ("aggregateid", "text"),
        ("type", "text"),
        ("payload", payload_type),
        ("at", "timestamp"),
    ];
    let new = tuple(&[
        Some(b"6d9e9b5c-0a2f-4a5e-8a39-5a8d1c4f5b6a"),
        Some(b"Order"),
        Some(b"42"),
        Some(b"Created"),
        Some(payload),
        Some(b"2016-11-04 13:51:30.123456"),
    ]);
    Change::Insert { relation: relation(&columns, 1), new }
}

const OUTBOX: (&str, &str) = ("type", "io.debezium.transforms.outbox.EventRouter");

#[test]
fn an_outbox_row_becomes_the_event_that_it_holds() {
    let outbox_settings = [
        OUTBOX,
        ("table.field.event.timestamp", "at"),
        ("table.fields.additional.placement", "type:header:eventType"),
    ];
    let (events, out) =
        encode(with(&[&outbox_settings]), vec![outbox("jsonb", br#"{"x": "y", "id": 42}"#)]);
    let event = tree(&out[events[0].body.clone()]);
    assert_eq!(event["id"], "6d9e9b5c-0a2f-4a5e-8a39-5a8d1c4f5b6a");
    assert_eq!(event["type"], "Created");
    assert_eq!(event["subject"], "42");
    assert_eq!(event["partitionkey"], "42");
    assert_eq!(event["time"], "2016-11-04T13:51:30.123Z");
    assert_eq!(event["eventtype"], "Created");
    assert_eq!(event["datacontenttype"], "application/json");
    assert_eq!(event["data"], json!({"x": "y", "id": 42}));
    assert!(matches!(events[0].order, Order::Row(..)));
}

#[test]
fn an_outbox_payload_that_is_no_json_says_what_it_is() {
    for (payload_type, payload, name, shown, content_type) in [
        ("text", &b"hello"[..], "data", "hello", "text/plain; charset=utf-8"),
        ("bytea", b"\\x00ff", "data_base64", "AP8=", "application/octet-stream"),
    ] {
        let event = &trees(with(&[&[OUTBOX]]), vec![outbox(payload_type, payload)])[0];
        assert_eq!(event[name], shown);
        assert_eq!(event["datacontenttype"], content_type);
        let binary = EventOptions { mode: Mode::Binary, ..with(&[&[OUTBOX]]) };
        let (events, out) = encode(binary, vec![outbox(payload_type, payload)]);
        assert_eq!(events[0].content_type, content_type);
        let body = &out[events[0].body.clone()];
        assert_eq!(body, if payload_type == "text" { payload } else { b"\x00\xff" });
    }
}

#[test]
fn an_outbox_leaves_other_tables_and_its_own_emptying_alone() {
    let events = trees(with(&[&[OUTBOX]]), vec![insert(), delete()]);
    assert_eq!(events, trees(plain(), vec![insert(), delete()]));
    let Change::Insert { relation, new } = outbox("jsonb", b"{}") else { unreachable!() };
    let emptied = Change::Delete { relation: relation.clone(), old: OldTuple::Full(new.clone()) };
    let updated = Change::Update { relation, old: None, new };
    assert!(trees(with(&[&[OUTBOX]]), vec![emptied, updated]).is_empty());
}

#[test]
fn fields_are_left_out_renamed_masked_and_added_in_the_authors_order() {
    let steps: &[&[(&str, &str)]] = &[
        &[UNWRAP],
        &[("type", &format!("{KAFKA}.ReplaceField$Value")), ("exclude", "b"), ("renames", "a:c")],
        &[("type", &format!("{KAFKA}.MaskField$Value")), ("fields", "c,id")],
        &[
            ("type", &format!("{KAFKA}.RegexRouter")),
            ("regex", r"(.*)\.public\.(.*)"),
            ("replacement", "$2_of_$1"),
        ],
        &[
            ("type", &format!("{KAFKA}.InsertField$Value")),
            ("topic.field", "topic!"),
            ("static.field", "who"),
            ("static.value", "me"),
            ("timestamp.field", "ms"),
        ],
        &[
            ("type", "io.debezium.transforms.HeaderToValue"),
            ("headers", "__debezium.context.taskId"),
            ("fields", "task"),
            ("operation", "copy"),
        ],
    ];
    let event = &trees(with(steps), vec![insert()])[0];
    assert_eq!(
        event["data"],
        json!({"id": 0, "c": "", "topic": "t_of_demo.s1", "who": "me", "ms": 1_796_346_042_198_u64, "task": "0"})
    );
    assert_eq!(event["subject"], "t_of_demo.s1");
}

#[test]
fn a_filter_drops_what_its_predicate_says() {
    let filter = |negate: &str| {
        let kind = format!("{KAFKA}.Filter");
        let step = [("type", kind.as_str()), ("predicate", "isT"), ("negate", negate)];
        trees(with(&[&step]), vec![insert()]).len()
    };
    assert_eq!((filter("false"), filter("true")), (0, 1));
}

#[test]
fn an_event_whose_data_is_null_is_a_tombstone() {
    let kind = format!("{KAFKA}.Filter");
    let filter = [("type", kind.as_str()), ("predicate", "isTombstone")];
    let ops = |steps: &[&[(&str, &str)]]| -> Vec<_> {
        let events = trees(with(steps), vec![insert(), delete()]);
        events.iter().map(|event| event["iodebeziumop"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ops(&[&[UNWRAP], &filter]), ["c"]);
    assert_eq!(ops(&[&[UNWRAP, ("deleteTombstoneHandlingMode", "rewrite")], &filter]), ["c", "d"]);
    assert_eq!(ops(&[&filter]), ["c", "d"]);
}

#[test]
fn what_cannot_be_used_is_refused_by_name_with_what_there_is() {
    let message = |step: &[(&str, &str)]| transforms(&[step]).unwrap_err().to_string();
    let found = message(&[("type", "io.debezium.transforms.Filter"), ("condition", "x")]);
    assert!(
        found.starts_with("`transforms.t0.type` = `io.debezium.transforms.Filter` is not there"),
        "{found}"
    );
    assert!(found.contains("RegexRouter"), "{found}");
    let found = message(&[UNWRAP, ("route.by.field", "x")]);
    assert!(
        found.contains("`transforms.t0.route.by.field`") && found.contains("add.fields"),
        "{found}"
    );
    let found = message(&[UNWRAP, ("predicate", "no")]);
    assert!(found.contains("add `predicates.no`"), "{found}");
    let found = message(&[OUTBOX, ("table.fields.additional.placement", "x:header:id")]);
    assert!(found.contains("has this attribute already"), "{found}");
    let regex = format!("{KAFKA}.RegexRouter");
    let found = message(&[("type", &regex), ("regex", "(?=x)"), ("replacement", "y")]);
    assert!(found.contains("without look-around"), "{found}");
    let found = message(&[("type", &regex), ("regex", "x")]);
    assert!(found.contains("`transforms.t0.replacement` is missing"), "{found}");
}
