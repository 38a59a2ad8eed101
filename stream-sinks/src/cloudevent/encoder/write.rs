//! Writes one event: its attributes, then its data.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use stream_core::change::{OldTuple, Tuple};

use super::transformed::Made;
use super::{EventEncoder, MESSAGES, TRUNCATE};
use crate::cloudevent::attributes::{AttributeWriter, Context, EVENT_TYPE};
use crate::cloudevent::event::{EncodeError, Event, Logged, Mode, Order, Read};
use crate::cloudevent::identity::{
    ReadRow, fingerprint, put_change_id, put_message_id, put_name, put_partition_key, put_read_id,
};
use crate::envelope::codec::put_binary;
use crate::envelope::facts::Facts;
use crate::envelope::json::put_string;
use crate::envelope::table::{ColumnError, TablePlan};
use crate::transform::record::JSON;

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
    pub(super) fallback: Option<&'a OldTuple>,
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
        let is_row = self.put_key(planned);
        let order = self.order(planned);
        let Facts { schema, table, lsn, .. } = planned.facts;
        if !self.options.transforms.is_empty() {
            let mut id = BytesMut::new();
            self.put_id(planned, is_row, &mut id);
            let mut data = BytesMut::new();
            self.put_data(planned, &mut data).map_err(|error| self.value_error(planned, error))?;
            let made = Made {
                facts: planned.facts,
                id: &id,
                subject: &planned.plan.name,
                topic: &format!("{}.{schema}.{table}", self.origin.name),
                data: &data,
                order,
                relation: Some(&planned.plan.relation),
            };
            return self.put_transformed(&made, out, events);
        }
        let start = begin(self.options.mode, out);
        let mut headers = Vec::new();
        let mut writer = AttributeWriter::new(self.options.mode, out, &mut headers);
        let id = writer.plain("ce-id", |out| self.put_id(planned, is_row, out));
        writer.context(&planned.facts, &self.origin, &plain_context(&[&planned.plan.name]));
        // The key holds percent signs and the table's name: text.
        let key = std::str::from_utf8(&self.key).unwrap_or_default();
        let key = writer.text("ce-partitionkey", &[key]);
        writer.extensions(&planned.facts, &self.origin);
        let body = self.open_data(start, out);
        self.put_data(planned, out).map_err(|error| self.value_error(planned, error))?;
        let body = body..self.close_data(out);
        let relation = Some(Arc::clone(&planned.plan.relation));
        let content_type = self.options.mode.content_type();
        self.ordered(order);
        events.push(Event { body, headers, content_type, id, key, order, relation, lsn });
        Ok(())
    }

    fn value_error(&self, planned: &Planned<'_>, error: ColumnError) -> EncodeError {
        EncodeError::Value {
            table: planned.plan.relation.name.to_string(),
            column: error.column,
            key: String::from_utf8_lossy(&self.key).into_owned(),
            lsn: planned.facts.lsn,
            problem: error.problem,
        }
    }

    /// Writes the event's partition key into `self.key`. Returns whether it names one row.
    fn put_key(&mut self, planned: &Planned<'_>) -> bool {
        self.key.clear();
        let (plan, row, old) = (planned.plan, planned.after, planned.fallback);
        if row.is_none() && old.is_none() {
            return put_partition_key(&plan.name, std::iter::empty(), &mut self.key);
        }
        put_partition_key(&plan.name, plan.key_values(row, old), &mut self.key)
    }

    /// What the event must not overtake.
    fn order(&self, planned: &Planned<'_>) -> Order {
        let table = planned.plan.order;
        match planned.plan.fingerprints(planned.after, planned.fallback) {
            Some((key, identity)) if !self.rekeyed.contains(&table) => {
                Order::Row(table, key, identity)
            }
            _ => Order::Table(table),
        }
    }

    /// An event with this order is going to be sent.
    pub(super) fn ordered(&mut self, order: Order) {
        if let Order::Table(table) = order {
            self.rekeyed.remove(&table);
        }
    }

    fn put_id(&self, planned: &Planned<'_>, is_row: bool, out: &mut BytesMut) {
        match planned.source {
            Source::Log(Logged { transaction, ordinal, lsn }) => {
                let commit = transaction.map_or(*lsn, |open| open.commit_lsn);
                put_change_id(&self.origin.name, commit, *ordinal, planned.part, out);
                // One that was renamed may have been told of under the name of its time, with another partition key. Of tables that are emptied at
                // once some may not be captured any more when the others come again.
                if planned.plan.relation.renamed || planned.facts.op == TRUNCATE {
                    put_name(&planned.plan.name, out);
                }
            }
            Source::Snapshot(read) => {
                let plan = planned.plan;
                // A key that somebody chose may be that of many rows.
                let mut identity = BytesMut::new();
                let other = planned
                    .after
                    .and_then(|row| plan.identity_values(row))
                    .map(|values| put_partition_key(&plan.name, values, &mut identity));
                let key = match other {
                    Some(is_row) => is_row.then_some(&*identity),
                    None => is_row.then_some(&*self.key),
                };
                let row = ReadRow {
                    generation: read.snapshot.generation,
                    table: &plan.name,
                    key,
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
    ) -> Result<(), EncodeError> {
        let facts = self.facts("m", logged, MESSAGES);
        let order = Order::Message(fingerprint(prefix.as_bytes()));
        let put_id = |out: &mut BytesMut| match logged.transaction {
            Some(open) => {
                put_change_id(&self.origin.name, open.commit_lsn, logged.ordinal, 0, out);
            }
            None => put_message_id(&self.origin.name, logged.lsn, out),
        };
        if !self.options.transforms.is_empty() {
            let (mut id, mut data) = (BytesMut::new(), BytesMut::new());
            put_id(&mut id);
            self.put_message_data(&facts, prefix, content, &mut data);
            self.key.clear();
            self.key.extend_from_slice(prefix.as_bytes());
            let topic = format!("{}.message", self.origin.name);
            let made = Made {
                facts,
                id: &id,
                subject: prefix,
                topic: &topic,
                data: &data,
                order,
                relation: None,
            };
            return self.put_transformed(&made, out, events);
        }
        let start = begin(self.options.mode, out);
        let mut headers = Vec::new();
        let mut writer = AttributeWriter::new(self.options.mode, out, &mut headers);
        let id = writer.plain("ce-id", put_id);
        writer.context(&facts, &self.origin, &plain_context(&[prefix]));
        let key = writer.text("ce-partitionkey", &[prefix]);
        writer.extensions(&facts, &self.origin);
        let body = self.open_data(start, out);
        self.put_message_data(&facts, prefix, content, out);
        let body = body..self.close_data(out);
        let content_type = self.options.mode.content_type();
        events.push(Event {
            body,
            headers,
            content_type,
            id,
            key,
            order,
            relation: None,
            lsn: logged.lsn,
        });
        Ok(())
    }

    fn put_message_data(
        &self,
        facts: &Facts<'_>,
        prefix: &str,
        content: &[u8],
        out: &mut BytesMut,
    ) {
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
    pub(super) fn close_data(&self, out: &mut BytesMut) -> usize {
        if self.options.mode != Mode::Binary {
            out.put_u8(b'}');
        }
        out.len()
    }
}

/// Puts what stands before an event; returns where it begins.
pub(super) fn begin(mode: Mode, out: &mut BytesMut) -> usize {
    if mode == Mode::Batched {
        out.put_u8(if out.is_empty() { b'[' } else { b',' });
    }
    out.len()
}

/// The attributes of an event that no transform has changed.
const fn plain_context<'a>(subject: &'a [&'a str]) -> Context<'a> {
    Context { event_type: EVENT_TYPE, time: None, subject, content_type: JSON }
}
