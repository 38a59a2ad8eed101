//! Measures the encoder alone: `encode [EVENTS]` prints events a second for inserts of 200-byte rows, in each mode.

use std::sync::Arc;
use std::time::Instant;

use bytes::{BufMut, BytesMut};
use stream_core::batch::Entry;
use stream_core::change::{Change, Transaction, Tuple};
use stream_core::lsn::Lsn;
use stream_core::relation::{Column, Relation, RelationId, ReplicaIdentity, TableName};
use stream_core::source::Inspected;
use stream_sinks::cloudevent::encoder::{EventEncoder, EventOptions};
use stream_sinks::cloudevent::event::Mode;

/// The columns of the table: name, `pg_type.oid`, modifier, text.
const COLUMNS: [(&str, u32, i32, &str); 8] = [
    ("id", 20, -1, "1234567890"),
    ("customer", 2950, -1, "6d9e9b5c-0a2f-4a5e-8a39-5a8d1c4f5b6a"),
    ("state", 1043, 24, "delivered"),
    ("amount", 1700, (12 << 16 | 2) + 4, "1234.56"),
    ("created", 1184, -1, "2026-01-15 10:30:00.123456+00"),
    ("changed", 1114, -1, "2026-01-15 10:30:00.123456"),
    ("weight", 701, -1, "12.75"),
    (
        "note",
        25,
        -1,
        "Leave it with the neighbours, \"the ones with the blue door\", and ring twice: somebody is at home.",
    ),
];
/// Events in a buffer before it is emptied, as a sink would send it.
const BUFFERED: u64 = 1000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: u64 = std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse())?;
    let columns = COLUMNS.iter().map(|(name, type_oid, type_modifier, _)| Column {
        name: (*name).to_owned(),
        type_oid: *type_oid,
        type_modifier: *type_modifier,
        is_key: *name == "id",
    });
    let relation = Arc::new(Relation {
        id: RelationId(1),
        name: TableName::new("public", "orders"),
        renamed: false,
        replica_identity: ReplicaIdentity::Default,
        columns: columns.collect(),
    });
    let mut row = BytesMut::new();
    for (_, _, _, text) in COLUMNS {
        row.put_u8(b't');
        row.put_u32(text.len().try_into()?);
        row.put_slice(text.as_bytes());
    }
    let new = Tuple::new(row.freeze(), COLUMNS.len().try_into()?).ok_or("no row")?;
    let row_bytes: usize = COLUMNS.iter().map(|(_, _, _, text)| text.len()).sum();
    for (name, mode) in
        [("structured", Mode::Structured), ("binary", Mode::Binary), ("batched", Mode::Batched)]
    {
        let source = Inspected::default();
        let options = EventOptions {
            mode,
            name: "demo.orders".into(),
            database: "shop".into(),
            ..Default::default()
        };
        let mut encoder = EventEncoder::new(options, &source, None);
        let (mut out, mut events, mut bytes) = (BytesMut::new(), Vec::new(), 0);
        let transaction =
            Transaction { xid: 1, commit_lsn: Lsn::new(1 << 33), commit_time_us: 8 << 46 };
        let mut entry = Entry::Begin(transaction);
        let begun = Instant::now();
        for ordinal in 0..=count {
            encoder.entry(&entry, &mut out, &mut events)?;
            let change = Change::Insert { relation: Arc::clone(&relation), new: new.clone() };
            entry = Entry::Change { ordinal, lsn: Lsn::new(1 << 32), change };
            if ordinal % BUFFERED == 0 {
                bytes += out.len();
                out.clear();
                events.clear();
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        bytes += out.len();
        let per_second = |count: f64| count / seconds;
        println!(
            "{name}: {:.0} events/s, {:.0} MB/s of events, rows of {row_bytes} bytes",
            per_second(count as f64),
            per_second(bytes as f64) / 1e6
        );
    }
    Ok(())
}
