//! Any bytes, taken as a value of any type, make an event that is JSON, or an error: never a panic, and nothing is left of what failed.
//!
//! An input is two bytes that choose the type and how its values are shown, and then the value's text.

#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use stream_core::batch::Entry;
use stream_core::change::{Change, Tuple};
use stream_core::checkpoint::SourceIdentity;
use stream_core::lsn::Lsn;
use stream_core::relation::{Column, Relation, RelationId, ReplicaIdentity, TableName};
use stream_core::source::Inspected;
use stream_core::types::{Type, TypeKind, Types};
use stream_sinks::cloudevent::encoder::{EventEncoder, EventOptions};
use stream_sinks::envelope::options::{
    BinaryMode, DecimalMode, HstoreMode, IntervalMode, TimeMode, ValueOptions,
};

/// `pg_type.oid` and modifier of a type of each kind, and of an array of it; those from 20000 on are of an extension.
const TYPES: [(u32, i32); 44] = [
    (16, -1), (17, -1), (21, -1), (23, -1), (20, -1), (25, -1), (114, -1), (142, -1), (600, -1), (700, -1), (701, -1),
    (790, -1), (1043, 14), (1082, -1), (1083, 3), (1114, 6), (1114, 0), (1184, -1), (1186, -1), (1266, -1), (1560, 1),
    (1562, 9), (1700, -1), (1700, 0x000a_0006), (2950, -1), (3904, -1), (1000, -1), (1001, -1), (1007, -1), (1009, -1),
    (1182, -1), (1115, -1), (1185, -1), (1187, -1), (1231, -1), (1231, 0x000a_0006), (1017, -1), (791, -1), (20_000, -1),
    (20_001, -1), (20_010, -1), (20_020, -1), (20_030, -1), (20_011, -1),
];
const OWN: [(u32, &str); 4] =
    [(20_000, "hstore"), (20_010, "geometry"), (20_020, "vector"), (20_030, "sparsevec")];

fuzz_target!(|data: &[u8]| {
    let [kind, how, text @ ..] = data else { return };
    let (type_oid, type_modifier) = TYPES[usize::from(*kind) % TYPES.len()];
    let column = Column { name: "v".into(), type_oid, type_modifier, is_key: false };
    let relation = Arc::new(Relation {
        id: RelationId(1),
        name: TableName::new("public", "t"),
        renamed: false,
        replica_identity: ReplicaIdentity::Default,
        columns: vec![column],
    });
    let mut row = BytesMut::new();
    row.put_u8(b't');
    row.put_u32(u32::try_from(text.len()).unwrap_or_default());
    row.put_slice(text);
    let Some(new) = Tuple::new(row.freeze(), 1) else { return };
    let entry = Entry::Change { ordinal: 0, lsn: Lsn::new(1), change: Change::Insert { relation, new } };

    let mut encoder = EventEncoder::new(options(*how), &inspected(), None);
    let (mut out, mut events) = (BytesMut::from(&b"before"[..]), Vec::new());
    match encoder.entry(&entry, &mut out, &mut events) {
        Ok(()) => {
            let event = &out[events[0].body.clone()];
            serde_json::from_slice::<IgnoredAny>(event).expect("an event is JSON");
        }
        Err(_) => assert_eq!((&out[..], events.len()), (&b"before"[..], 0)),
    }
});

fn options(how: u8) -> EventOptions {
    let bit = |at: u8| how >> at & 1 == 1;
    let values = ValueOptions {
        decimal: if bit(0) { DecimalMode::Precise } else { DecimalMode::Double },
        time: match how >> 1 & 3 {
            0 => TimeMode::Adaptive,
            1 => TimeMode::Connect,
            2 => TimeMode::IsoString,
            _ => TimeMode::Nanoseconds,
        },
        binary: if bit(3) { BinaryMode::Hex } else { BinaryMode::Base64UrlSafe },
        hstore: if bit(4) { HstoreMode::Map } else { HstoreMode::Json },
        interval: if bit(5) { IntervalMode::String } else { IntervalMode::Numeric },
        ..ValueOptions::default()
    };
    EventOptions { name: "demo.s1".into(), values, ..EventOptions::default() }
}

fn inspected() -> Inspected {
    let mut by_oid = BTreeMap::new();
    for (oid, name) in OWN {
        by_oid.insert(oid, Type { name: name.to_owned(), kind: TypeKind::Base });
        let array = TypeKind::Array { element: oid, delimiter: b',' };
        by_oid.insert(oid + 1, Type { name: format!("_{name}"), kind: array });
    }
    Inspected {
        identity: SourceIdentity { system_id: "1".into(), slot: "s".into(), timeline: None },
        types: Arc::new(Types { by_oid, as_of: Lsn::new(0) }),
        ..Inspected::default()
    }
}
