//! Writes an event that goes through transforms: it is made first, then changed, then written.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use serde_json::value::RawValue;
use stream_core::relation::Relation;

use super::EventEncoder;
use super::write::begin;
use crate::cloudevent::attributes::{AttributeWriter, Context, EVENT_TYPE};
use crate::cloudevent::event::{EncodeError, Event, Mode, Order};
use crate::cloudevent::identity::fingerprint;
use crate::envelope::facts::{CONNECTOR, Facts};
use crate::envelope::json::put_string;
use crate::transform::Outcome;
use crate::transform::record::{Data, Fields, Record, raw};

/// An event before transforms.
pub(super) struct Made<'a> {
    pub(super) facts: Facts<'a>,
    pub(super) id: &'a [u8],
    pub(super) subject: &'a str,
    pub(super) topic: &'a str,
    pub(super) data: &'a [u8],
    pub(super) order: Order,
    pub(super) relation: Option<&'a Arc<Relation>>,
}

impl EventEncoder {
    /// Appends what transforms make of an event, if anything. Its partition key is in `self.key`.
    pub(super) fn put_transformed(
        &mut self,
        made: &Made<'_>,
        out: &mut BytesMut,
        events: &mut Vec<Event>,
    ) -> Result<(), EncodeError> {
        let row_key = String::from_utf8_lossy(&self.key).into_owned();
        let mut record = self.record(made, row_key.clone());
        match self.options.transforms.apply(&mut record, made.facts.time_us.div_euclid(1000)) {
            Outcome::Keep => {}
            Outcome::Drop => return Ok(()),
            Outcome::Fail(reason) => {
                return Err(EncodeError::Transform { key: row_key, lsn: made.facts.lsn, reason });
            }
        }
        // What has another key keeps the order of that key.
        let chosen = |table, identity| {
            Order::Row(table, fingerprint(record.partition_key.as_bytes()), identity)
        };
        let order = match made.order {
            as_made if record.partition_key == row_key => as_made,
            Order::Row(table, _, identity) => chosen(table, identity),
            Order::Table(table) => chosen(table, None),
            message @ Order::Message(_) => message,
        };
        let mode = self.options.mode;
        let start = begin(mode, out);
        let mut headers = Vec::new();
        let mut writer = AttributeWriter::new(mode, out, &mut headers);
        let id = writer.text("ce-id", &[&record.id]);
        let context = Context {
            event_type: record.event_type.as_deref().unwrap_or(EVENT_TYPE),
            time: record.time.as_deref(),
            subject: &[&record.subject],
            content_type: record.content_type(),
        };
        writer.context(&made.facts, &self.origin, &context);
        let key = writer.text("ce-partitionkey", &[&record.partition_key]);
        writer.extensions(&made.facts, &self.origin);
        for (name, value) in &record.extensions {
            writer.text(format!("ce-{name}"), &[value]);
        }
        let content_type =
            if mode == Mode::Binary { record.content_type() } else { mode.content_type() };
        let body_start = if mode == Mode::Binary { out.len() } else { start };
        put_data(&record.data, mode, out);
        let body = body_start..self.close_data(out);
        let relation = made.relation.map(Arc::clone);
        self.ordered(order);
        events.push(Event {
            body,
            headers,
            content_type,
            id,
            key,
            order,
            relation,
            lsn: made.facts.lsn,
        });
        Ok(())
    }

    fn record<'a>(&self, made: &Made<'a>, partition_key: String) -> Record<'a> {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let data = Fields::parse(&text(made.data));
        let context = [
            ("__debezium.context.connectorLogicalName", self.origin.name.as_str()),
            ("__debezium.context.taskId", "0"),
            ("__debezium.context.connectorName", CONNECTOR),
        ];
        let headers = context.map(|(name, value)| (name.to_owned(), raw(value)));
        Record {
            op: made.facts.op,
            topic: made.topic.to_owned(),
            id: text(made.id),
            event_type: None,
            subject: made.subject.to_owned(),
            partition_key,
            time: None,
            data: data.map_or_else(|| Data::Json(RawValue::NULL.to_owned()), Data::Object),
            headers: Fields(headers.into()),
            extensions: Vec::new(),
            binary: self.options.values.binary,
            columns: made.relation.map_or(&[], |relation| &relation.columns),
        }
    }
}

/// Appends the data: as a member of the event, or in binary mode by itself.
fn put_data(data: &Data, mode: Mode, out: &mut BytesMut) {
    let is_member = mode != Mode::Binary;
    if is_member {
        let name: &[u8] =
            if matches!(data, Data::Base64(_)) { b"\"data_base64\":" } else { b"\"data\":" };
        out.extend_from_slice(name);
    }
    match data {
        Data::Object(fields) => out.extend_from_slice(raw(fields).get().as_bytes()),
        Data::Json(value) => out.extend_from_slice(value.get().as_bytes()),
        Data::Text(text) | Data::Base64(text) if is_member => put_string(text, out),
        Data::Text(text) => out.extend_from_slice(text.as_bytes()),
        // What is no base64 came from another way to show bytes.
        Data::Base64(text) => match STANDARD.decode(text) {
            Ok(bytes) => out.extend_from_slice(&bytes),
            Err(_) => out.extend_from_slice(text.as_bytes()),
        },
    }
}
