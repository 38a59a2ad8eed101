//! `EventRouter`: rows of an outbox table become the events that they hold.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use regex::Regex;
use serde_json::value::RawValue;

use super::record::{Data, Fields, Record, raw};
use super::settings::Settings;
use super::{Outcome, TransformError, java_replacement, whole};
use crate::envelope::json::nibble;
use crate::envelope::options::BinaryMode;

/// `pg_type.oid` of `bytea`, `json` and `jsonb`.
const BYTEA: u32 = 17;
const JSON_TYPES: [u32; 2] = [114, 3802];

/// Attributes that every event has.
const RESERVED: [&str; 9] = [
    "id",
    "source",
    "specversion",
    "type",
    "time",
    "subject",
    "datacontenttype",
    "data",
    "partitionkey",
];

/// What an update of an outbox row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Invalid {
    Warn,
    Fail,
}

/// Where a column of the row goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Attribute,
    Envelope,
}

/// Rows of an outbox table.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    id: String,
    key: String,
    event_type: String,
    timestamp: Option<String>,
    payload: String,
    placement: Vec<(String, Place, String)>,
    route_by: String,
    route_regex: Regex,
    route_to: String,
    expands_json: bool,
    invalid: Invalid,
}

impl Outbox {
    pub(crate) fn new(settings: &mut Settings) -> Result<Self, TransformError> {
        let mut field =
            |name, default: &str| settings.take(name).unwrap_or_else(|| default.to_owned());
        let id = field("table.field.event.id", "id");
        let key = field("table.field.event.key", "aggregateid");
        let event_type = field("table.field.event.type", "type");
        let payload = field("table.field.event.payload", "payload");
        let route_by = field("route.by.field", "aggregatetype");
        let regex = field("route.topic.regex", "(?<routedByValue>.*)");
        let route_to = field("route.topic.replacement", "outbox.event.${routedByValue}");
        let invalid = field("table.op.invalid.behavior", "warn");
        let timestamp = settings.take("table.field.event.timestamp");
        let words = [("warn", Invalid::Warn), ("error", Invalid::Fail), ("fatal", Invalid::Fail)];
        let invalid = settings.word("table.op.invalid.behavior", &invalid, &words)?;
        let route_regex = whole(settings, "route.topic.regex", &regex)?;
        let placement = settings
            .list("table.fields.additional.placement")
            .iter()
            .map(|entry| placed(settings, entry))
            .collect::<Result<_, _>>()?;
        let expands_json = settings.flag("table.expand.json.payload")?;
        settings.flag("route.tombstone.on.empty.payload")?;
        let route_to = java_replacement(&route_to);
        Ok(Self {
            id,
            key,
            event_type,
            timestamp,
            payload,
            placement,
            route_by,
            route_regex,
            route_to,
            expands_json,
            invalid,
        })
    }

    pub(crate) fn apply(&self, record: &mut Record<'_>) -> Outcome {
        if !self.is_outbox(record) {
            return Outcome::Keep;
        }
        match (record.op, self.invalid) {
            ("c" | "r", _) => {}
            // The outbox is emptied: nothing happened.
            ("d" | "t", _) => return Outcome::Drop,
            ("u", Invalid::Warn) => {
                tracing::warn!(id = record.id, "an outbox row was updated: no event is made of it");
                return Outcome::Drop;
            }
            ("u", Invalid::Fail) => {
                return Outcome::Fail(
                    "an outbox row was updated, which `table.op.invalid.behavior` forbids"
                        .to_owned(),
                );
            }
            _ => return Outcome::Keep,
        }
        let Some(row) = record.block("after") else { return Outcome::Keep };
        let Some(id) = row.text(&self.id) else {
            return Outcome::Fail(format!(
                "the outbox row has no value in column `{}`, which is to be the event's id",
                self.id
            ));
        };
        record.id = id;
        if let Some(event_type) = row.text(&self.event_type).filter(|text| !text.is_empty()) {
            record.event_type = Some(event_type);
        }
        if let Some(key) = row.text(&self.key) {
            record.partition_key.clone_from(&key);
            record.subject = key;
        }
        if let Some(time) = self.timestamp.as_ref().and_then(|column| row.text(column)) {
            record.time = time_text(&time);
        }
        if let Some(value) = row.text(&self.route_by) {
            record.topic = self.route_regex.replace(&value, &self.route_to).into_owned();
        }
        record.data = self.data(&row, record);
        for (column, _, name) in
            self.placement.iter().filter(|(_, place, _)| *place == Place::Attribute)
        {
            if let Some(value) = row.get(column) {
                record.headers.set(name.clone(), value.to_owned());
            }
            if let Some(text) = row.text(column) {
                record.extensions.push((attribute_name(name), text));
            }
        }
        Outcome::Keep
    }

    /// The columns that make a table an outbox.
    pub(crate) fn columns(&self) -> [&str; 2] {
        [&self.id, &self.payload]
    }

    /// Whether the event is of a table that has the columns.
    fn is_outbox(&self, record: &Record<'_>) -> bool {
        let mut wanted = self.columns().into_iter();
        wanted.all(|name| record.columns.iter().any(|column| column.name == name))
    }

    /// The payload, with the columns that are placed beside it.
    fn data(&self, row: &Fields, record: &Record<'_>) -> Data {
        let payload = self.payload(row, record);
        let beside: Vec<_> =
            self.placement.iter().filter(|(_, place, _)| *place == Place::Envelope).collect();
        if beside.is_empty() {
            return payload;
        }
        let mut fields = Fields::default();
        fields.set(
            "payload",
            match payload {
                Data::Object(fields) => raw(&fields),
                Data::Json(value) => value,
                Data::Text(text) | Data::Base64(text) => raw(&text),
            },
        );
        for (column, _, name) in beside {
            let value =
                row.get(column).map_or_else(|| RawValue::NULL.to_owned(), ToOwned::to_owned);
            fields.set(name.clone(), value);
        }
        Data::Object(fields)
    }

    fn payload(&self, row: &Fields, record: &Record<'_>) -> Data {
        let Some(text) = row.text(&self.payload) else {
            return Data::Json(RawValue::NULL.to_owned());
        };
        let type_oid = record
            .columns
            .iter()
            .find(|column| column.name == self.payload)
            .map(|column| column.type_oid);
        if type_oid == Some(BYTEA) {
            return match bytes(&text, record.binary) {
                Some(bytes) => Data::Base64(STANDARD.encode(bytes)),
                // The placeholder for what the log does not hold.
                None => Data::Text(text),
            };
        }
        if let Some(fields) = Fields::parse(&text) {
            return Data::Object(fields);
        }
        let is_json = type_oid.is_some_and(|oid| JSON_TYPES.contains(&oid));
        match serde_json::from_str::<Box<RawValue>>(&text) {
            Ok(value) if is_json || self.expands_json || value.get().starts_with('[') => {
                Data::Json(value)
            }
            _ => Data::Text(text),
        }
    }
}

/// The bytes of a `bytea` as events show it.
fn bytes(text: &str, mode: BinaryMode) -> Option<Vec<u8>> {
    match mode {
        BinaryMode::Bytes | BinaryMode::Base64 => STANDARD.decode(text).ok(),
        BinaryMode::Base64UrlSafe => URL_SAFE.decode(text).ok(),
        BinaryMode::Hex => {
            let (pairs, _) = text.as_bytes().as_chunks::<2>();
            let bytes =
                pairs.iter().map(|[high, low]| Some(nibble(*high).ok()? << 4 | nibble(*low).ok()?));
            bytes.collect()
        }
    }
}

/// `column:header:alias` or `column:envelope`.
fn placed(settings: &Settings, entry: &str) -> Result<(String, Place, String), TransformError> {
    let name = "table.fields.additional.placement";
    let mut parts = entry.split(':');
    let (column, place, alias) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let words = [("header", Place::Attribute), ("envelope", Place::Envelope)];
    let place = settings.word(name, place.unwrap_or_default(), &words)?;
    let alias = alias.unwrap_or(column);
    let attribute = attribute_name(alias);
    let is_taken = RESERVED.contains(&attribute.as_str()) || attribute.starts_with("iodebezium");
    if place == Place::Attribute && (attribute.is_empty() || is_taken) {
        let remedy = "an event has this attribute already: add another name, `column:header:alias`";
        return Err(settings.invalid(name, entry, remedy));
    }
    Ok((column.to_owned(), place, alias.to_owned()))
}

/// A name in the alphabet of attributes.
fn attribute_name(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

/// A time as RFC 3339: text as it is, a number by its size as milliseconds, microseconds or nanoseconds since 1970.
fn time_text(value: &str) -> Option<String> {
    let Ok(number) = value.parse::<i64>() else {
        return value.ends_with('Z').then(|| value.to_owned());
    };
    let us = match number.unsigned_abs() {
        0..100_000_000_000_000 => number.checked_mul(1000)?,
        100_000_000_000_000..100_000_000_000_000_000 => number,
        _ => number / 1000,
    };
    let mut text = bytes::BytesMut::new();
    crate::envelope::time::put_attribute_time(us, &mut text);
    String::from_utf8(text.to_vec()).ok()
}
