//! The sink: batches and snapshots to an HTTP endpoint, at least once, each event with the same `id` whenever it comes again.
//!
//! `write` and `copy` return when everything in them was taken by the endpoint. Rows of one key arrive in order; with one request at a time
//! everything does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use bytes::BytesMut;
use futures_util::StreamExt;
use stream_core::batch::Batch;
use stream_core::change::{Tuple, TupleData};
use stream_core::checkpoint::Checkpoint;
use stream_core::copy::{CopyFormat, Rows, TableCopy};
use stream_core::relation::Relation;
use stream_core::source::{Inspected, Snapshot};
use stream_core::stats::Stats;
use stream_core::table::Table;
use stream_core::{Error, ErrorKind, Sink};
use twox_hash::XxHash3_128;

use super::delivery::Delivery;
use super::encoder::{EventEncoder, EventOptions};
use super::endpoint::Endpoint;
use super::error::EndpointError;
use super::event::{Event, Marker, Read, SnapshotFacts};
use super::markers::{Ending, Markers};
use super::options::EndpointOptions;

/// How much is encoded into one buffer before the next is begun: small enough that an event which waits long holds little.
const BUFFER_BYTES: usize = 64 << 10;

/// Delivers changes as CloudEvents.
#[derive(Debug)]
pub struct CloudEventSink {
    events: EventOptions,
    endpoint: Endpoint,
    generation: Arc<AtomicU64>,
    encoder: Option<EventEncoder>,
    snapshot: Option<(SnapshotFacts, Markers<Row>)>,
}

impl CloudEventSink {
    /// A sink that describes changes as `events` says and delivers them to `endpoint`. `generation` counts the snapshots that were asked
    /// for, see [`FileStore::generation`](stream_core::FileStore::generation); `stats` shows what is waited for. Connects to nothing.
    ///
    /// # Errors
    /// [`EndpointError`] when the endpoint can never be called.
    pub fn new(
        events: EventOptions,
        endpoint: EndpointOptions,
        generation: Arc<AtomicU64>,
        stats: Stats,
    ) -> Result<Self, EndpointError> {
        let endpoint = Endpoint::new(endpoint, events.mode, stats)?;
        Ok(Self { events, endpoint, generation, encoder: None, snapshot: None })
    }
}

/// A row of a snapshot.
#[derive(Debug)]
struct Row {
    tuple: Tuple,
    /// Where it stands in its table.
    place: Vec<u8>,
}

/// Encodes into buffers of a fit size.
#[derive(Debug, Default)]
struct Buffer {
    bytes: BytesMut,
    events: Vec<Event>,
}

impl Buffer {
    /// Hands on what is encoded.
    async fn pass(&mut self, delivery: &mut Delivery<'_>) -> Result<(), Error> {
        if self.events.is_empty() {
            return Ok(());
        }
        let bytes = self.bytes.split().freeze();
        delivery.add(&bytes, self.events.drain(..)).await.map_err(|error| error.into_error())?;
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(BUFFER_BYTES);
        }
        Ok(())
    }
}

impl Sink for CloudEventSink {
    async fn prepare(&mut self, source: &Inspected, checkpoint: &Checkpoint) -> Result<(), Error> {
        for warning in self.events.warnings(&source.tables) {
            tracing::warn!("{warning}");
        }
        let mut encoder = EventEncoder::new(self.events.clone(), source, checkpoint.position);
        encoder.note(checkpoint);
        self.encoder = Some(encoder);
        Ok(())
    }

    fn keeps_copied_rows(&self) -> bool {
        true
    }

    async fn begin_copy(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        let taken_at = snapshot.taken_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let facts = SnapshotFacts {
            generation: self.generation.load(Ordering::Relaxed),
            lsn: snapshot.lsn,
            xid: None,
            time_us: i64::try_from(taken_at.as_micros()).unwrap_or(i64::MAX),
        };
        self.snapshot = Some((facts, Markers::new(snapshot)));
        Ok(())
    }

    fn copy_format(&self, table: &Table) -> CopyFormat {
        // Where there is a key, nobody asks for the place, and it costs time.
        match (table.primary_key.is_empty(), table.has_ctid) {
            (false, _) => CopyFormat::Text,
            (true, true) => CopyFormat::PlacedText,
            (true, false) => CopyFormat::SortedText,
        }
    }

    async fn copy(&mut self, mut copy: TableCopy<'_>) -> Result<u64, Error> {
        let Self { endpoint, encoder, snapshot, .. } = self;
        let (Some(encoder), Some((facts, markers))) = (encoder, snapshot) else {
            return Err(unprepared());
        };
        encoder.set_clock(stream_core::clock::now());
        let table = Arc::clone(&copy.table);
        let mut reading = Reading {
            encoder,
            facts,
            relation: Arc::new(table.relation()),
            buffer: Buffer::default(),
            delivery: Delivery::new(endpoint),
        };
        let is_placed = copy.format == CopyFormat::PlacedText;
        let columns = u16::try_from(table.columns.len() + usize::from(is_placed))
            .map_err(|error| Error::new(ErrorKind::Permanent, error))?;
        let mut rows = Rows::new(columns);
        let mut count = 0_u64;
        let mut equal = 0_u64;
        let mut held: Option<Row> = None;
        while let Some(piece) = copy.data.next().await {
            rows.push(&piece?.bytes);
            while let Some(tuple) = rows.next_row()? {
                let row = match copy.format {
                    CopyFormat::PlacedText => placed(tuple),
                    CopyFormat::SortedText => counted(tuple, held.as_ref(), &mut equal),
                    CopyFormat::Text | CopyFormat::Binary => Row { tuple, place: Vec::new() },
                };
                count += 1;
                if let Some(before) = held.replace(row) {
                    reading.put(markers.next(&table.name), &before).await?;
                }
            }
        }
        rows.finish()?;
        let Ending { rows, last } = markers.end(&copy.chunk, held);
        for (row, marker) in rows {
            reading.put(marker, &row).await?;
        }
        if let Some((row, marker)) = last {
            if marker == Marker::Last {
                reading.delivered().await?;
                markers.others().await;
            }
            reading.put(marker, &row).await?;
        }
        reading.delivered().await?;
        markers.done();
        Ok(count)
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), Error> {
        let Self { endpoint, encoder, .. } = self;
        let encoder = encoder.as_mut().ok_or_else(unprepared)?;
        encoder.set_clock(stream_core::clock::now());
        let mut delivery = Delivery::new(endpoint);
        let mut buffer = Buffer::default();
        for entry in &batch.entries {
            let encoded = encoder.entry(entry, &mut buffer.bytes, &mut buffer.events);
            buffer.pass(&mut delivery).await?;
            if let Err(error) = encoded {
                // What came before it is delivered: it is where the stream stops.
                delivery.finish().await.map_err(|error| error.into_error())?;
                return Err(error.into_error());
            }
        }
        delivery.finish().await.map_err(|error| error.into_error())
    }
}

/// A chunk of a snapshot on its way.
struct Reading<'a> {
    encoder: &'a mut EventEncoder,
    facts: &'a SnapshotFacts,
    relation: Arc<Relation>,
    buffer: Buffer,
    delivery: Delivery<'a>,
}

impl Reading<'_> {
    async fn put(&mut self, marker: Marker, row: &Row) -> Result<(), Error> {
        let read = Read { snapshot: self.facts, marker, place: &row.place };
        let Buffer { bytes, events } = &mut self.buffer;
        self.encoder
            .read(&read, &self.relation, &row.tuple, bytes, events)
            .map_err(|error| error.into_error())?;
        self.buffer.pass(&mut self.delivery).await
    }

    /// Waits until all is delivered.
    async fn delivered(&mut self) -> Result<(), Error> {
        self.delivery.finish().await.map_err(|error| error.into_error())
    }
}

/// A row and its place, the first column of what was copied.
fn placed(tuple: Tuple) -> Row {
    let (first, rest) = tuple.split_first();
    let place = match first {
        TupleData::Text(place) | TupleData::Binary(place) => place.to_vec(),
        TupleData::Null | TupleData::UnchangedToast => Vec::new(),
    };
    Row { place, tuple: rest }
}

/// A row whose place is its number among the rows that are equal to it; `equal` is that of the row before.
fn counted(tuple: Tuple, before: Option<&Row>, equal: &mut u64) -> Row {
    let is_equal = before.is_some_and(|before| before.tuple == tuple);
    *equal = if is_equal { *equal + 1 } else { 0 };
    let hash = XxHash3_128::oneshot(tuple.as_bytes());
    Row { place: format!("{hash:032x}.{equal}").into_bytes(), tuple }
}

/// The parts of the stream were used in a wrong order.
///
/// Remedy: report it.
fn unprepared() -> Error {
    Error::new(ErrorKind::Permanent, "the sink is used before it was prepared: report it")
}
