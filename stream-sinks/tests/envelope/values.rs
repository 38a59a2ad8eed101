//! Each line of the table by the encoder alone.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails as the test does")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use stream_core::batch::Entry;
use stream_core::change::{Change, Transaction, Tuple};
use stream_core::checkpoint::SourceIdentity;
use stream_core::lsn::Lsn;
use stream_core::relation::{Column, Relation, RelationId, ReplicaIdentity, TableName};
use stream_core::source::Inspected;
use stream_core::types::{Type, TypeKind, Types};
use stream_sinks::cloudevent::encoder::{EventEncoder, EventOptions};
use stream_sinks::cloudevent::event::EncodeError;
use stream_sinks::envelope::codec::ValueError;
use stream_sinks::envelope::options::ValueOptions;

use crate::cases::{cases, shown};

/// Types that a database has of its own; an array's identifier is one more.
fn own_types() -> BTreeMap<&'static str, (u32, TypeKind)> {
    let numeric = |precision: i32, scale: i32| (precision << 16 | scale) + 4;
    let base = TypeKind::Base;
    BTreeMap::from([
        ("hstore", (20_000, base)),
        ("citext", (20_010, base)),
        ("ltree", (20_020, base)),
        ("isbn", (20_030, base)),
        ("geometry", (20_040, base)),
        ("geography", (20_050, base)),
        ("vector", (20_060, base)),
        ("halfvec", (20_070, base)),
        ("sparsevec", (20_080, base)),
        ("mood", (20_090, TypeKind::Enum)),
        ("posint", (20_100, TypeKind::Domain { base: 23, modifier: -1 })),
        ("price", (20_110, TypeKind::Domain { base: 1700, modifier: numeric(8, 3) })),
        ("prices", (20_120, TypeKind::Domain { base: 1231, modifier: numeric(8, 3) })),
        ("pair", (20_130, TypeKind::Composite)),
        ("floatrange", (20_140, TypeKind::Range)),
        ("whole_row", (20_150, TypeKind::Composite)),
    ])
}

fn types() -> Types {
    let mut by_oid = BTreeMap::new();
    for (name, (oid, kind)) in own_types() {
        by_oid.insert(oid, Type { name: name.to_owned(), kind });
        let delimiter = if name.starts_with("geo") { b':' } else { b',' };
        let array = TypeKind::Array { element: oid, delimiter };
        by_oid.insert(oid + 1, Type { name: format!("_{name}"), kind: array });
    }
    Types { by_oid, as_of: Lsn::new(1000) }
}

/// `pg_type.oid` and the modifier of a type as SQL spells it.
fn type_of(spelled: &str) -> (u32, i32) {
    let (element, is_array) =
        spelled.strip_suffix("[]").map_or((spelled, false), |element| (element, true));
    let (name, arguments) = element.split_once('(').unwrap_or((element, ""));
    let name = name.trim_matches('"');
    let numbers: Vec<i32> =
        arguments.trim_end_matches(')').split(',').filter_map(|text| text.parse().ok()).collect();
    let modifier = match (name, &numbers[..]) {
        ("numeric", [precision]) => (precision << 16) + 4,
        ("numeric", [precision, scale]) => (precision << 16 | (scale & 0x7ff)) + 4,
        ("varchar" | "bpchar", [length]) => length + 4,
        ("bit", []) => 1,
        (_, [only]) => *only,
        _ => -1,
    };
    if let Some((oid, _)) = own_types().get(name) {
        return (oid + u32::from(is_array), modifier);
    }
    let wanted = if is_array { format!("_{name}") } else { name.to_owned() };
    let oid = (1..10_000).find(|oid| {
        tokio_postgres::types::Type::from_oid(*oid).is_some_and(|known| known.name() == wanted)
    });
    (oid.unwrap_or_else(|| panic!("no type `{spelled}`")), modifier)
}

pub(crate) fn inspected(tables: Vec<Arc<stream_core::table::Table>>) -> Inspected {
    Inspected {
        identity: SourceIdentity { system_id: "1".into(), slot: "s".into(), timeline: None },
        tables,
        types: Arc::new(types()),
        ..Inspected::default()
    }
}

/// A row of texts; `None` is NULL.
pub(crate) fn tuple(values: &[Option<&[u8]>]) -> Tuple {
    let mut bytes = BytesMut::new();
    for value in values {
        match value {
            None => bytes.put_u8(b'n'),
            Some(b"\x00unchanged") => bytes.put_u8(b'u'),
            Some(text) => {
                bytes.put_u8(b't');
                bytes.put_u32(text.len().try_into().unwrap());
                bytes.put_slice(text);
            }
        }
    }
    Tuple::new(bytes.freeze(), values.len().try_into().unwrap()).unwrap()
}

pub(crate) fn relation(columns: &[(&str, &str)], key: usize) -> Arc<Relation> {
    let columns = columns.iter().enumerate().map(|(at, (name, spelled))| {
        let (type_oid, type_modifier) = type_of(spelled);
        Column { name: (*name).to_owned(), type_oid, type_modifier, is_key: at < key }
    });
    Arc::new(Relation {
        id: RelationId(1),
        name: TableName::new("public", "t"),
        renamed: false,
        replica_identity: ReplicaIdentity::Default,
        columns: columns.collect(),
    })
}

pub(crate) fn options(values: ValueOptions) -> EventOptions {
    EventOptions {
        name: "demo.s1".into(),
        database: "postgres".into(),
        values,
        ..Default::default()
    }
}

/// Encodes values of one column.
struct One {
    encoder: EventEncoder,
    relation: Arc<Relation>,
}

impl One {
    fn new(spelled: &str, values: ValueOptions) -> Self {
        let encoder = EventEncoder::new(options(values), &inspected(Vec::new()), None);
        Self { encoder, relation: relation(&[("v", spelled)], 0) }
    }

    /// What is shown of a value; `None`: the column is left out.
    fn encode(&mut self, text: Option<&[u8]>) -> Result<Option<String>, EncodeError> {
        let change = Change::Insert { relation: Arc::clone(&self.relation), new: tuple(&[text]) };
        let (mut out, mut events) = (BytesMut::new(), Vec::new());
        let entry = Entry::Change { ordinal: 0, lsn: Lsn::new(7), change };
        self.encoder.entry(&entry, &mut out, &mut events)?;
        Ok(shown(&out[events[0].body.clone()], "v"))
    }
}

#[test]
fn values_of_every_type_look_as_the_table_says() {
    let mut wrong = Vec::new();
    for case in cases() {
        let mut one = One::new(case.type_name, case.values());
        let found = one.encode(Some(case.text.as_bytes()));
        match found {
            Ok(found) if found.as_deref() == case.json => {}
            Ok(found) => {
                wrong.push(format!("line {}: {found:?} instead of {:?}", case.line, case.json))
            }
            Err(error) => wrong.push(format!("line {}: {error}", case.line)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn null_is_null_in_every_type() {
    for case in cases().iter().filter(|case| case.json.is_some()) {
        let found = One::new(case.type_name, case.values()).encode(None).unwrap();
        assert_eq!(found.as_deref(), Some("null"), "line {}", case.line);
    }
}

/// Cuts, repeats and damages every text of the table, and takes each as a value of every type.
#[test]
fn no_text_of_any_type_panics_and_what_is_shown_is_json() {
    let cases = cases();
    let mut shown_count = 0;
    for case in &cases {
        let text = case.text.as_bytes();
        let mut one = One::new(case.type_name, case.values());
        for at in 0..=text.len() {
            let mut damaged = text.to_vec();
            if let Some(byte) = damaged.get_mut(at) {
                *byte = byte.wrapping_add(1);
            }
            let doubled = [&text[..at], text].concat();
            for text in [&text[..at], &text[at..], &damaged, &doubled] {
                // `shown` parses the event, and fails the test when it is no JSON.
                shown_count += u32::from(one.encode(Some(text)).is_ok());
            }
        }
    }
    assert!(shown_count > 5_000, "{shown_count}");
    let texts: BTreeSet<_> = cases.iter().map(|case| case.text).collect();
    let kinds: BTreeSet<_> = cases.iter().map(|case| case.type_name).collect();
    for kind in kinds {
        let mut one = One::new(kind, ValueOptions::default());
        for text in &texts {
            let _ = one.encode(Some(text.as_bytes()));
        }
    }
}

/// Bytes of which values are made.
const LETTERS: &[u8] = b"0123456789-+.:,;eE/ {}()[]<>=\"\\'xTZPDBCinfatyN\0\x1f\x7f\xc3\xa9\xff";

#[test]
fn two_hundred_thousand_random_texts_of_all_types_never_panic_and_what_is_shown_is_json() {
    let cases = cases();
    let mut encoders: Vec<_> =
        cases.iter().map(|case| One::new(case.type_name, case.values())).collect();
    let mut random = fastrand::Rng::with_seed(20_261_126);
    let (mut shown_count, mut refused_count) = (0, 0);
    for _ in 0..200_000 {
        let at = random.usize(..cases.len());
        let text = cases[at].text.as_bytes();
        let other = cases[random.usize(..cases.len())].text.as_bytes();
        let length = random.usize(..24);
        let text: Vec<u8> = match random.u8(..4) {
            0 => std::iter::repeat_with(|| random.u8(..)).take(length).collect(),
            1 => std::iter::repeat_with(|| LETTERS[random.usize(..LETTERS.len())])
                .take(length)
                .collect(),
            2 => [&text[..random.usize(..=text.len())], &other[random.usize(..=other.len())..]]
                .concat(),
            _ => {
                let mut text = text.to_vec();
                for _ in 0..random.usize(1..4) {
                    let place = random.usize(..=text.len());
                    text.insert(place, LETTERS[random.usize(..LETTERS.len())]);
                }
                text
            }
        };
        // `encode` parses the event, and fails the test when it is no JSON.
        match encoders[at].encode(Some(&text)) {
            Ok(_) => shown_count += 1,
            Err(_) => refused_count += 1,
        }
    }
    assert!(shown_count > 20_000 && refused_count > 20_000, "{shown_count} {refused_count}");
}

#[test]
fn bytes_that_are_no_text_stop_the_stream_and_name_their_row() {
    let mut encoder =
        EventEncoder::new(options(ValueOptions::default()), &inspected(Vec::new()), None);
    let relation = relation(&[("id", "int4"), ("v", "text")], 1);
    let change = Change::Insert { relation, new: tuple(&[Some(b"7"), Some(b"caf\xe9")]) };
    let (mut out, mut events) = (BytesMut::from(&b"before"[..]), Vec::new());
    let entry = Entry::Change { ordinal: 0, lsn: Lsn::new(0x10), change };
    let error = encoder.entry(&entry, &mut out, &mut events).unwrap_err();
    assert!(matches!(error, EncodeError::Value { problem: ValueError::NotUtf8, .. }));
    let message = error.to_string();
    assert!(
        message.starts_with(
            "column `v` of table `public.t`, row `public.t/7`, at `0/10` is not UTF-8"
        ),
        "{message}"
    );
    assert_eq!((&out[..], events.len()), (&b"before"[..], 0));
}

#[test]
fn a_type_that_came_after_the_catalogue_was_read_is_looked_up_and_one_that_is_gone_is_not() {
    let relation = Arc::new(Relation {
        columns: vec![Column {
            name: "v".into(),
            type_oid: 30_000,
            type_modifier: -1,
            is_key: false,
        }],
        ..(*relation(&[], 0)).clone()
    });
    for (commit, is_new) in [(999, false), (1000, true)] {
        let transaction = Transaction { xid: 1, commit_lsn: Lsn::new(commit), commit_time_us: 0 };
        let mut encoder =
            EventEncoder::new(options(ValueOptions::default()), &inspected(Vec::new()), None);
        let (mut out, mut events) = (BytesMut::new(), Vec::new());
        let mut push = |entry: Entry| encoder.entry(&entry, &mut out, &mut events);
        push(Entry::Begin(transaction)).unwrap();
        let new = Tuple::new(Bytes::from_static(b"t\0\0\0\x01x"), 1).unwrap();
        let change = Change::Insert { relation: Arc::clone(&relation), new };
        let done = push(Entry::Change { ordinal: 0, lsn: Lsn::new(5), change });
        assert_eq!(matches!(done, Err(EncodeError::NewType { oid: 30_000, .. })), is_new);
        if !is_new {
            assert_eq!(shown(&out[events[0].body.clone()], "v").as_deref(), Some("\"eA==\""));
        }
    }
}
