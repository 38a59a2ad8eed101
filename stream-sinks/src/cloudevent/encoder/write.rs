//! Writes one event: its attributes, then its data.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use stream_core::change::{OldTuple, Tuple};

use super::{EventEncoder, MESSAGES};
use crate::cloudevent::attributes::AttributeWriter;
use crate::cloudevent::event::{EncodeError, Event, Logged, Mode, Order, Read};
use crate::cloudevent::identity::{
    ReadRow, fingerprint, put_change_id, put_message_id, put_partition_key, put_read_id,
};
use crate::envelope::codec::put_binary;
use crate::envelope::facts::Facts;
use crate::envelope::json::put_string;
use crate::envelope::table::{ColumnError, TablePlan};

/// One event of a change.
pub(super) struct Planned<'a> {
    pub(super) facts: Facts<'a>,
    pub(super) plan: &'a TablePlan,
    /// How many events the change made before.
    pub(super) part: usize,
    /// The row before and after.
    pub(super) before: Option<&'a OldTuple>,
    pub(super) after: Option<&'a Tuple>,
    /// Where `after` may find values that it does not hold.
    pub(super) fallback: Option<&'a Tuple>,
    pub(super) source: Source<'a>,
}

/// Where an event's row comes from.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    Snapshot(&'a Read<'a>),
    Log(&'a Logged),
}

impl EventEncoder {
    /// Appends an event of a row.
    pub(super) fn put_event(
        &mut self,
        planned: &Planned<'_>,
        out: &mut BytesMut,
        events: &mut Vec<Event>,
    ) -> Result<(), EncodeError> {
        let order = self.put_key(planned);
        let start = begin(self.options.mode, out);
        let mut headers = Vec::new();
        let mut writer = AttributeWriter::new(self.options.mode, out, &mut headers);
        let id = writer.plain("ce-id", |out| self.put_id(planned, order, out));
        let Facts { schema, table, .. } = planned.facts;
        writer.context(&planned.facts, &self.origin, &[schema, ".", table]);
        // The key holds percent signs and the table's name: text.
        let key =
            writer.text("ce-partitionkey", &[std::str::from_utf8(&self.key).unwrap_or_default()]);
        writer.extensions(&planned.facts, &self.origin);
        let body = self.open_data(start, out);
        self.put_data(planned, out).map_err(|error| EncodeError::Value {
            table: planned.plan.name.clone(),
            column: error.column,
            key: String::from_utf8_lossy(&self.key).into_owned(),
            lsn: planned.facts.lsn,
            problem: error.problem,
        })?;
        let body = body..self.close_data(out);
        let relation = Some(Arc::clone(&planned.plan.relation));
        events.push(Event { body, headers, id, key, order, relation, lsn: planned.facts.lsn });
        Ok(())
    }

    /// Writes the event's partition key into `self.key`.
    fn put_key(&mut self, planned: &Planned<'_>) -> Order {
        self.key.clear();
        let plan = planned.plan;
        let id = plan.relation.id;
        let is_row = match (planned.after, planned.before) {
            (Some(row), _) => {
                put_partition_key(&plan.name, plan.key_values(row, false), &mut self.key)
            }
            (None, Some(old)) => {
                let only_identity = matches!(old, OldTuple::Key(_));
                let values = plan.key_values(old.tuple(), only_identity);
                put_partition_key(&plan.name, values, &mut self.key)
            }
            (None, None) => {
                put_partition_key(&plan.name, std::iter::empty(), &mut self.key);
                false
            }
        };
        if is_row { Order::Row(id, fingerprint(&self.key)) } else { Order::Table(id) }
    }

    fn put_id(&self, planned: &Planned<'_>, order: Order, out: &mut BytesMut) {
        match planned.source {
            Source::Log(Logged { transaction, ordinal, lsn }) => {
                let commit = transaction.map_or(*lsn, |open| open.commit_lsn);
                put_change_id(&self.origin.name, commit, *ordinal, planned.part, out);
            }
            Source::Snapshot(read) => {
                let row = ReadRow {
                    generation: read.snapshot.generation,
                    table: &planned.plan.name,
                    key: matches!(order, Order::Row(..)).then_some(&self.key),
                    place: read.place,
                    bytes: planned.after.map(Tuple::as_bytes).unwrap_or_default(),
                };
                put_read_id(&self.origin.name, &row, out);
            }
        }
    }

    fn put_data(&mut self, planned: &Planned<'_>, out: &mut BytesMut) -> Result<(), ColumnError> {
        let (plan, scratch) = (planned.plan, &mut self.scratch);
        out.extend_from_slice(b"{\"before\":");
        match planned.before {
            Some(old) => plan.put_row(old.tuple(), None, &self.unavailable, scratch, out)?,
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"after\":");
        match planned.after {
            Some(row) => plan.put_row(row, planned.fallback, &self.unavailable, scratch, out)?,
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"source\":");
        planned.facts.put_source(&self.origin, out);
        out.extend_from_slice(b",\"transaction\":");
        planned.facts.put_transaction(out);
        out.extend_from_slice(b",\"op\":\"");
        out.extend_from_slice(planned.facts.op.as_bytes());
        out.extend_from_slice(b"\",");
        planned.facts.put_clock(out);
        out.put_u8(b'}');
        Ok(())
    }

    /// Appends the event of a message.
    pub(super) fn message(
        &mut self,
        logged: &Logged,
        prefix: &str,
        content: &[u8],
        out: &mut BytesMut,
        events: &mut Vec<Event>,
    ) {
        let facts = self.facts("m", logged, MESSAGES);
        let start = begin(self.options.mode, out);
        let mut headers = Vec::new();
        let mut writer = AttributeWriter::new(self.options.mode, out, &mut headers);
        let id = writer.plain("ce-id", |out| match logged.transaction {
            Some(open) => {
                put_change_id(&self.origin.name, open.commit_lsn, logged.ordinal, 0, out);
            }
            None => put_message_id(&self.origin.name, logged.lsn, out),
        });
        writer.context(&facts, &self.origin, &[prefix]);
        let key = writer.text("ce-partitionkey", &[prefix]);
        writer.extensions(&facts, &self.origin);
        let body = self.open_data(start, out);
        out.extend_from_slice(b"{\"op\":\"m\",");
        facts.put_clock(out);
        out.extend_from_slice(b",\"source\":");
        facts.put_source(&self.origin, out);
        out.extend_from_slice(b",\"transaction\":");
        facts.put_transaction(out);
        out.extend_from_slice(b",\"message\":{\"prefix\":");
        put_string(prefix, out);
        out.extend_from_slice(b",\"content\":");
        put_binary(content, self.options.values.binary, out);
        out.extend_from_slice(b"}}");
        let body = body..self.close_data(out);
        let order = Order::Message(fingerprint(prefix.as_bytes()));
        events.push(Event { body, headers, id, key, order, relation: None, lsn: logged.lsn });
    }

    /// Begins the data; returns where the body begins.
    fn open_data(&self, start: usize, out: &mut BytesMut) -> usize {
        match self.options.mode {
            Mode::Binary => out.len(),
            Mode::Structured | Mode::Batched => {
                out.extend_from_slice(b"\"data\":");
                start
            }
        }
    }

    /// Ends the data; returns where the body ends.
    fn close_data(&self, out: &mut BytesMut) -> usize {
        if self.options.mode != Mode::Binary {
            out.put_u8(b'}');
        }
        out.len()
    }
}

/// Puts what stands before an event; returns where it begins.
fn begin(mode: Mode, out: &mut BytesMut) -> usize {
    if mode == Mode::Batched {
        out.put_u8(if out.is_empty() { b'[' } else { b',' });
    }
    out.len()
}
