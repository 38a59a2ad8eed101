//! What an event says of itself, beside its rows: the blocks `source` and `transaction`, and the clock.

use bytes::{BufMut, BytesMut};
use stream_core::lsn::Lsn;

use super::json::{put_integer, put_string};

/// The version that events name.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The kind of source that events name.
pub(crate) const CONNECTOR: &str = "postgresql";

/// Which stream events come from.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) name: String,
    pub(crate) database: String,
    /// The beginning of `source`, as JSON.
    beginning: BytesMut,
    /// `"db":…`, as JSON.
    middle: BytesMut,
}

impl Origin {
    pub(crate) fn new(name: String, database: String) -> Self {
        let mut beginning = BytesMut::from(&b"{\"version\":"[..]);
        put_string(VERSION, &mut beginning);
        beginning.extend_from_slice(b",\"connector\":");
        put_string(CONNECTOR, &mut beginning);
        beginning.extend_from_slice(b",\"name\":");
        put_string(&name, &mut beginning);
        beginning.extend_from_slice(b",\"ts_ms\":");
        let mut middle = BytesMut::from(&b"\",\"db\":"[..]);
        put_string(&database, &mut middle);
        middle.extend_from_slice(b",\"sequence\":\"");
        Self { name, database, beginning, middle }
    }
}

/// An event's place in its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) xid: u32,
    pub(crate) commit_lsn: Lsn,
    /// Counted from 1.
    pub(crate) total_order: u64,
    /// Counted from 1, among the events of the same table.
    pub(crate) collection_order: u64,
}

/// What is true of one event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) op: &'static str,
    /// Our clock, nanoseconds since 1970.
    pub(crate) now_ns: i64,
    /// The commit's time, or the snapshot's: microseconds since 1970.
    pub(crate) time_us: i64,
    /// Whether, and where, in a snapshot.
    pub(crate) snapshot: &'static str,
    /// The end of the last commit before.
    pub(crate) last_commit: Option<Lsn>,
    pub(crate) lsn: Lsn,
    pub(crate) schema: &'a str,
    pub(crate) table: &'a str,
    pub(crate) xid: Option<u64>,
    pub(crate) place: Option<Place>,
}

impl Facts<'_> {
    /// Appends `source`.
    pub(crate) fn put_source(&self, origin: &Origin, out: &mut BytesMut) {
        out.extend_from_slice(&origin.beginning);
        put_integer(self.time_us.div_euclid(1000), out);
        out.extend_from_slice(b",\"snapshot\":\"");
        out.extend_from_slice(self.snapshot.as_bytes());
        out.extend_from_slice(&origin.middle);
        self.put_sequence(b"\\\"", out);
        out.extend_from_slice(b"\",\"ts_us\":");
        put_integer(self.time_us, out);
        out.extend_from_slice(b",\"ts_ns\":");
        put_integer(i128::from(self.time_us) * 1000, out);
        out.extend_from_slice(b",\"schema\":");
        put_string(self.schema, out);
        out.extend_from_slice(b",\"table\":");
        put_string(self.table, out);
        out.extend_from_slice(b",\"txId\":");
        match self.xid {
            Some(xid) => put_integer(xid, out),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"lsn\":");
        put_integer(self.lsn.get(), out);
        out.extend_from_slice(b",\"xmin\":null,\"origin\":null,\"origin_lsn\":null}");
    }

    /// Appends `["1","2"]`: the last commit's position and the event's own. `quote` is `"` as the place needs it.
    pub(crate) fn put_sequence(&self, quote: &[u8], out: &mut BytesMut) {
        let put_quoted = |lsn: Lsn, out: &mut BytesMut| {
            out.extend_from_slice(quote);
            put_integer(lsn.get(), out);
            out.extend_from_slice(quote);
        };
        out.put_u8(b'[');
        match self.last_commit {
            Some(lsn) => put_quoted(lsn, out),
            None => out.extend_from_slice(b"null"),
        }
        out.put_u8(b',');
        put_quoted(self.lsn, out);
        out.put_u8(b']');
    }

    /// Appends `transaction`.
    pub(crate) fn put_transaction(&self, out: &mut BytesMut) {
        let Some(place) = self.place else {
            out.extend_from_slice(b"null");
            return;
        };
        out.extend_from_slice(b"{\"id\":\"");
        place.put_id(out);
        out.extend_from_slice(b"\",\"total_order\":");
        put_integer(place.total_order, out);
        out.extend_from_slice(b",\"data_collection_order\":");
        put_integer(place.collection_order, out);
        out.put_u8(b'}');
    }

    /// Appends `"ts_ms":…,"ts_us":…,"ts_ns":…`.
    pub(crate) fn put_clock(&self, out: &mut BytesMut) {
        for (name, per_unit) in
            [("\"ts_ms\":", 1_000_000), (",\"ts_us\":", 1000), (",\"ts_ns\":", 1)]
        {
            out.extend_from_slice(name.as_bytes());
            put_integer(self.now_ns / per_unit, out);
        }
    }
}

impl Place {
    /// Appends the transaction's identifier: its number and the position of its commit.
    pub(crate) fn put_id(&self, out: &mut BytesMut) {
        put_integer(self.xid, out);
        out.put_u8(b':');
        put_integer(self.commit_lsn.get(), out);
    }
}
