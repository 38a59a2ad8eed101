//! From changes to events, straight into a buffer.
//!
//! In: the entries of batches, in order, and rows of snapshots. Out: bytes, and an [`Event`] for each event in them. The same
//! changes give the same events with the same `id`s, whenever they come again; only the clock and the last commit's
//! position may differ. Does no I/O.
//!
//! ```text
//!  insert ─► c      update ─► u            truncate ─► t, one for each table
//!  delete ─► d      key changed ─► d, c    message ─► m         snapshot's row ─► r
//! ```

mod transformed;
mod write;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use stream_core::batch::Entry;
use stream_core::change::{Change, OldTuple, Transaction, Tuple};
use stream_core::checkpoint::Checkpoint;
use stream_core::filter::TableFilter;
use stream_core::lsn::Lsn;
use stream_core::relation::{Relation, RelationId, TableName};
use stream_core::source::Inspected;
use stream_core::table::Table;
use stream_core::types::Types;

use self::write::{Planned, Source};
use super::event::{EncodeError, Event, Logged, Mode, Read};
use crate::envelope::codec::Scratch;
use crate::envelope::facts::{Facts, Origin, Place};
use crate::envelope::options::ValueOptions;
use crate::envelope::rules::{ColumnRules, MessageKeys, MessagePrefixes};
use crate::envelope::table::{Rules, TablePlan};
use crate::envelope::unavailable::Unavailable;
use crate::transform::Transforms;

/// From PostgreSQL's epoch to that of the world, in microseconds.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;
/// Under which number messages are counted in a transaction: no table has it.
const MESSAGES: RelationId = RelationId(0);
/// What an event is that tells of an emptied table.
const TRUNCATE: &str = "t";

/// Which operations are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SkippedOperations {
    /// `c`; a key change still deletes the old row.
    pub create: bool,
    /// `u`.
    pub update: bool,
    /// `d`; a key change still creates the new row.
    pub delete: bool,
    /// `t`.
    pub truncate: bool,
}

/// What events look like.
#[derive(Clone, Debug, Default)]
pub struct EventOptions {
    /// How events travel.
    pub mode: Mode,
    /// The stream's name, `<namespace>.<stream>`: in `source`, and in every `id`.
    pub name: String,
    /// The source's database.
    pub database: String,
    /// How values are shown.
    pub values: ValueOptions,
    /// What is done to the values of columns.
    pub columns: ColumnRules,
    /// Keys other than primary keys.
    pub keys: MessageKeys,
    /// Which messages are sent.
    pub prefixes: MessagePrefixes,
    /// Which columns are captured, for those that come later.
    pub filter: TableFilter,
    /// Operations that are left out.
    pub skipped: SkippedOperations,
    /// Whether updates that change nothing that is shown are left out. Works with REPLICA IDENTITY FULL.
    pub skip_unchanged: bool,
    /// Whether events tell their place in their transaction.
    pub transaction_metadata: bool,
    /// A table whose rows are for the stream itself, and not sent.
    pub signal_table: Option<TableName>,
    /// What is done to events before they are sent.
    pub transforms: Transforms,
}

impl EventOptions {
    /// What of them does not come as somebody may expect, with its remedy: names and patterns that lead nowhere in the captured `tables`.
    /// A table or column can come later, so that they are no reason to refuse a stream.
    #[must_use]
    pub fn warnings(&self, tables: &[Arc<Table>]) -> Vec<String> {
        let columns = tables.iter().flat_map(|table| &table.columns);
        let absent = self.transforms.absent(columns.map(|column| column.name.as_str()));
        let mut warnings: Vec<_> = absent.iter().map(ToString::to_string).collect();
        warnings.extend(self.columns.warnings(tables));
        warnings.extend(self.keys.warnings(tables));
        warnings
    }
}

/// Turns changes into events.
#[derive(Debug)]
pub struct EventEncoder {
    options: EventOptions,
    origin: Origin,
    unavailable: Unavailable,
    tables: HashMap<RelationId, Arc<Table>>,
    types: Arc<Types>,
    /// What tables were part of when they were copied.
    roots: BTreeMap<RelationId, TableName>,
    plans: HashMap<RelationId, Arc<TablePlan>>,
    /// Tables that have another key than their last event had: their rows have other names now, and the next event waits for all before it.
    rekeyed: HashSet<u64>,
    now_ns: i64,
    last_commit: Option<Lsn>,
    transaction: Option<Transaction>,
    total: u64,
    per_table: HashMap<RelationId, u64>,
    scratch: Scratch,
    key: BytesMut,
}

impl EventEncoder {
    /// An encoder for the tables that a source has. `last_commit`: all below it was delivered before.
    #[must_use]
    pub fn new(options: EventOptions, source: &Inspected, last_commit: Option<Lsn>) -> Self {
        let mut encoder = Self {
            origin: Origin::new(options.name.clone(), options.database.clone()),
            unavailable: Unavailable::new(&options.values),
            tables: source.tables.iter().map(|table| (table.id, Arc::clone(table))).collect(),
            types: Arc::clone(&source.types),
            roots: BTreeMap::new(),
            plans: HashMap::new(),
            rekeyed: HashSet::new(),
            now_ns: 0,
            last_commit,
            transaction: None,
            total: 0,
            per_table: HashMap::new(),
            scratch: Scratch::default(),
            key: BytesMut::new(),
            options,
        };
        encoder.set_clock(stream_core::clock::now());
        encoder
    }

    /// Learns what is noted of tables that may be gone, so that the rules for what they were part of hold for them.
    pub fn note(&mut self, checkpoint: &Checkpoint) {
        self.roots = checkpoint.roots();
    }

    /// Sets the time that events tell as that of their making. To be called now and then: once for each batch.
    pub fn set_clock(&mut self, now: SystemTime) {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.now_ns = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
    }

    /// Appends the events of the next entry of a batch: none, one, or several. In batched mode each begins with a comma, or, when
    /// `out` is empty, with the bracket that opens the array; to close it is left to the caller.
    ///
    /// # Errors
    /// When a change cannot be shown. `out` and `events` are as before then, and the encoder is of no use any more.
    pub fn entry(
        &mut self,
        entry: &Entry,
        out: &mut BytesMut,
        events: &mut Vec<Event>,
    ) -> Result<(), EncodeError> {
        match entry {
            Entry::Begin(transaction) => {
                self.transaction = Some(*transaction);
                self.total = 0;
                self.per_table.clear();
                Ok(())
            }
            Entry::Commit { end, .. } => {
                self.transaction = None;
                self.last_commit = Some(*end);
                Ok(())
            }
            Entry::Change { ordinal, lsn, change } => {
                let logged = Logged { transaction: self.transaction, ordinal: *ordinal, lsn: *lsn };
                let (bytes, count) = (out.len(), events.len());
                let done = self.change(&logged, change, out, events);
                if done.is_err() {
                    out.truncate(bytes);
                    events.truncate(count);
                }
                done
            }
        }
    }

    /// Appends the event of a snapshot's row.
    ///
    /// # Errors
    /// As [`EventEncoder::entry`].
    pub fn read(
        &mut self,
        read: &Read<'_>,
        relation: &Arc<Relation>,
        row: &Tuple,
        out: &mut BytesMut,
        events: &mut Vec<Event>,
    ) -> Result<(), EncodeError> {
        if self.options.signal_table.as_ref() == Some(&relation.name) {
            return Ok(());
        }
        let plan = self.plan(relation, None)?;
        let facts = Facts {
            op: "r",
            now_ns: self.now_ns,
            time_us: read.snapshot.time_us,
            snapshot: read.marker.name(),
            last_commit: None,
            lsn: read.snapshot.lsn,
            schema: &relation.name.schema,
            table: &relation.name.name,
            xid: read.snapshot.xid,
            place: None,
        };
        let planned = Planned {
            facts,
            plan: &plan,
            part: 0,
            before: None,
            after: Some(row),
            fallback: None,
            source: Source::Snapshot(read),
        };
        self.put_event(&planned, out, events)
    }

    fn change(
        &mut self,
        logged: &Logged,
        change: &Change,
        out: &mut BytesMut,
        events: &mut Vec<Event>,
    ) -> Result<(), EncodeError> {
        let skipped = self.options.skipped;
        match change {
            Change::Read { relation, new } | Change::Insert { relation, new } => {
                if skipped.create {
                    return Ok(());
                }
                self.row(logged, relation, ("c", None, Some(new)), 0, out, events)
            }
            Change::Update { relation, old, new } => {
                let plan = self.plan(relation, logged.transaction)?;
                let changed = old.as_ref().filter(|old| plan.key_changed(old, new));
                if let Some(old) = changed {
                    if !skipped.delete {
                        self.row(logged, relation, ("d", Some(old), None), 0, out, events)?;
                    }
                    if !skipped.create {
                        self.row(logged, relation, ("c", Some(old), Some(new)), 1, out, events)?;
                    }
                    return Ok(());
                }
                let skips = self.options.skip_unchanged && plan.is_unchanged(old.as_ref(), new);
                if skipped.update || skips {
                    return Ok(());
                }
                self.row(logged, relation, ("u", old.as_ref(), Some(new)), 0, out, events)
            }
            Change::Delete { relation, old } => {
                if skipped.delete {
                    return Ok(());
                }
                self.row(logged, relation, ("d", Some(old), None), 0, out, events)
            }
            Change::Truncate { relations, .. } => {
                if skipped.truncate {
                    return Ok(());
                }
                for relation in relations {
                    self.row(logged, relation, (TRUNCATE, None, None), 0, out, events)?;
                }
                Ok(())
            }
            Change::Message { lsn, prefix, content, .. } => {
                if self.options.prefixes.pass(prefix) {
                    let logged = Logged { lsn: *lsn, ..*logged };
                    self.message(&logged, prefix, content, out, events)?;
                }
                Ok(())
            }
        }
    }

    /// Appends the event of a row that the log holds.
    fn row(
        &mut self,
        logged: &Logged,
        relation: &Arc<Relation>,
        (op, old, new): (&'static str, Option<&OldTuple>, Option<&Tuple>),
        part: usize,
        out: &mut BytesMut,
        events: &mut Vec<Event>,
    ) -> Result<(), EncodeError> {
        if self.options.signal_table.as_ref() == Some(&relation.name) {
            return Ok(());
        }
        let plan = self.plan(relation, logged.transaction)?;
        let facts = Facts {
            schema: &relation.name.schema,
            table: &relation.name.name,
            ..self.facts(op, logged, relation.id)
        };
        let planned = Planned {
            facts,
            plan: &plan,
            part,
            before: old.filter(|_| op != "c"),
            after: new,
            fallback: old,
            source: Source::Log(logged),
        };
        self.put_event(&planned, out, events)
    }

    /// What is true of the next event, whose table is called `relation`.
    fn facts(&mut self, op: &'static str, logged: &Logged, relation: RelationId) -> Facts<'static> {
        let place = logged.transaction.filter(|_| self.options.transaction_metadata).map(|open| {
            self.total += 1;
            let of_table = self.per_table.entry(relation).or_default();
            *of_table += 1;
            Place {
                xid: open.xid,
                commit_lsn: open.commit_lsn,
                total_order: self.total,
                collection_order: *of_table,
            }
        });
        let time_us = logged.transaction.map_or(self.now_ns / 1000, |open| {
            open.commit_time_us.saturating_add(POSTGRES_EPOCH_US)
        });
        Facts {
            op,
            now_ns: self.now_ns,
            time_us,
            snapshot: "false",
            last_commit: self.last_commit,
            lsn: logged.lsn,
            schema: "",
            table: "",
            xid: logged.transaction.map(|open| open.xid.into()),
            place,
        }
    }

    /// How a table's rows are written, as the log describes it now.
    fn plan(
        &mut self,
        relation: &Arc<Relation>,
        transaction: Option<Transaction>,
    ) -> Result<Arc<TablePlan>, EncodeError> {
        if let Some(plan) = self.plans.get(&relation.id)
            && (Arc::ptr_eq(&plan.relation, relation) || plan.relation == *relation)
        {
            return Ok(Arc::clone(plan));
        }
        let commit = transaction.map_or(Lsn::default(), |open| open.commit_lsn);
        if let Some(oid) = TablePlan::unknown_type(relation, &self.types) {
            let table = relation.name.to_string();
            if commit >= self.types.as_of {
                return Err(EncodeError::NewType { table, oid });
            }
            // What was committed before the catalogue was read and is not there is gone: nobody knows better.
            tracing::warn!(
                table,
                oid,
                lsn = %commit,
                "the log has values of a type that was dropped since: nobody knows what they mean, and events have them in base64"
            );
        }
        let rules = Rules {
            values: &self.options.values,
            columns: &self.options.columns,
            keys: &self.options.keys,
            filter: &self.options.filter,
            roots: &self.roots,
            types: &self.types,
        };
        let table = self.tables.get(&relation.id).map(Arc::as_ref);
        let plan = Arc::new(TablePlan::new(relation, table, &rules));
        let before = self.plans.insert(relation.id, Arc::clone(&plan));
        if before.is_some_and(|before| !before.has_keys_of(&plan)) {
            self.rekeyed.insert(plan.order);
        }
        Ok(plan)
    }
}
