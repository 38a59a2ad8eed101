//! A sink for one table, and batches for it.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use stream_core::batch::{Batch, Entry};
use stream_core::change::{Change, OldTuple, Transaction, Tuple};
use stream_core::checkpoint::{Checkpoint, SourceIdentity};
use stream_core::columns::Attributes;
use stream_core::lsn::Lsn;
use stream_core::relation::{Relation, RelationId, ReplicaIdentity, TableName};
use stream_core::source::Inspected;
use stream_core::stats::Stats;
use stream_core::table::{Identity, Table, TableColumn};
use stream_core::types::Types;
use stream_core::{Error, Sink};
use stream_sinks::cloudevent::encoder::EventOptions;
use stream_sinks::cloudevent::event::Mode;
use stream_sinks::cloudevent::options::EndpointOptions;
use stream_sinks::cloudevent::sink::CloudEventSink;

/// Options that try again soon.
pub(crate) fn options(url: &str) -> EndpointOptions {
    EndpointOptions { retry_backoff_delay: Duration::from_millis(10), ..EndpointOptions::new(url) }
}

pub(crate) fn in_flight(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap()
}

fn column(name: &str, type_oid: u32, type_name: &str) -> TableColumn {
    TableColumn {
        name: name.to_owned(),
        number: 1,
        type_oid,
        type_name: type_name.to_owned(),
        type_modifier: -1,
        declared_type: type_name.to_owned(),
        binary_safe: true,
        binary_from: 0,
        not_null: true,
        identity: Identity::None,
        generated: false,
    }
}

/// `public.orders (id int PRIMARY KEY, note text)`.
pub(crate) fn table() -> Table {
    Table {
        id: RelationId(7),
        name: TableName::new("public", "orders"),
        root: None,
        columns: vec![column("id", 23, "integer"), column("note", 25, "text")],
        attributes: Attributes::default(),
        left_out: Vec::new(),
        computed: std::collections::BTreeMap::new(),
        unpublished: Vec::new(),
        primary_key: vec!["id".to_owned()],
        unique_key: Vec::new(),
        has_ctid: true,
        parts: None,
        identity_columns: vec!["id".to_owned()],
        replica_identity: ReplicaIdentity::Default,
        bytes: 0,
        row_filter: None,
        published_by: Vec::new(),
        published_as: None,
    }
}

pub(crate) fn relation() -> Arc<Relation> {
    Arc::new(table().relation())
}

pub(crate) fn inspected() -> Inspected {
    Inspected {
        identity: SourceIdentity {
            system_id: "1".to_owned(),
            slot: "s".to_owned(),
            timeline: None,
        },
        tables: vec![Arc::new(table())],
        types: Arc::new(Types::default()),
        ..Inspected::default()
    }
}

/// A sink that is ready.
pub(crate) async fn sink(options: EndpointOptions, mode: Mode) -> CloudEventSink {
    sink_of(EventOptions { mode, ..EventOptions::default() }, options).await
}

/// The same, with options for events.
pub(crate) async fn sink_of(events: EventOptions, options: EndpointOptions) -> CloudEventSink {
    let events = EventOptions { name: "default.orders".to_owned(), ..events };
    let mut sink = CloudEventSink::new(events, options, Arc::default(), Stats::default()).unwrap();
    sink.prepare(&inspected(), &Checkpoint::default()).await.unwrap();
    sink
}

pub(crate) fn row(id: u64, note: &str) -> Tuple {
    let mut bytes = BytesMut::new();
    for text in [id.to_string().as_str(), note] {
        bytes.put_u8(b't');
        bytes.put_u32(text.len().try_into().unwrap());
        bytes.extend_from_slice(text.as_bytes());
    }
    Tuple::new(bytes.freeze(), 2).unwrap()
}

pub(crate) fn insert(id: u64, note: &str) -> Change {
    Change::Insert { relation: relation(), new: row(id, note) }
}

pub(crate) fn update(id: u64, note: &str) -> Change {
    Change::Update { relation: relation(), old: None, new: row(id, note) }
}

pub(crate) fn delete(id: u64) -> Change {
    Change::Delete { relation: relation(), old: OldTuple::Key(row(id, "")) }
}

pub(crate) fn truncate() -> Change {
    Change::Truncate { relations: vec![relation()], cascade: false, restart_identity: false }
}

pub(crate) fn message() -> Change {
    Change::Message {
        transactional: true,
        lsn: Lsn::new(0x500),
        prefix: "note".to_owned(),
        content: Bytes::from_static(b"hello"),
    }
}

/// One transaction.
pub(crate) fn batch(changes: Vec<Change>) -> Batch {
    let transaction =
        Transaction { xid: 9, commit_lsn: Lsn::new(0x16B_3748), commit_time_us: 1_000_000 };
    let mut entries = vec![Entry::Begin(transaction)];
    for (ordinal, change) in (0..).zip(changes) {
        entries.push(Entry::Change { ordinal, lsn: Lsn::new(0x16B_0000 + ordinal), change });
    }
    let end = Lsn::new(0x16B_3800);
    entries.push(Entry::Commit { transaction, end });
    Batch { entries, ack: Some(end) }
}

/// What comes of one row.
pub(crate) async fn deliver(options: EndpointOptions) -> Result<(), Error> {
    let mut sink = sink(options, Mode::Structured).await;
    sink.write(&batch(vec![insert(1, "Ada Lovelace, Countess")])).await
}
