//! An event while transforms work on it.

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::envelope::options::BinaryMode;

/// The media type of data that is JSON.
pub(crate) const JSON: &str = "application/json";

/// Members of a JSON object, in their order. Values stay as they are written: no number loses a digit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(pub(crate) Vec<(String, Box<RawValue>)>);

impl Fields {
    /// The members of an object; `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// A member as text: that of a string, or a value as it is written. `None` for null and for what is not there.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let value = self.get(name)?.get();
        match serde_json::from_str::<String>(value) {
            Ok(text) => Some(text),
            Err(_) if value == "null" => None,
            Err(_) => Some(value.to_owned()),
        }
    }

    /// Sets a member, at its place or at the end.
    pub(crate) fn set(&mut self, name: impl Into<String>, value: Box<RawValue>) {
        let name = name.into();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, place)) => *place = value,
            None => self.0.push((name, value)),
        }
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Box<RawValue>> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(at).1)
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Fields;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        from.deserialize_map(Members)
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// JSON of any value; what cannot be written is null.
pub(crate) fn raw(value: &(impl Serialize + ?Sized)) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// What an event carries.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    /// An object.
    Object(Fields),
    /// Any other JSON.
    Json(Box<RawValue>),
    /// Text that is no JSON.
    Text(String),
    /// Bytes, in base64.
    Base64(String),
}

/// An event while transforms work on it.
#[derive(Clone, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) op: &'static str,
    /// Where it would go if there were topics: `<stream>.<schema>.<table>`.
    pub(crate) topic: String,
    pub(crate) id: String,
    /// `None`: that of every event.
    pub(crate) event_type: Option<String>,
    pub(crate) subject: String,
    pub(crate) partition_key: String,
    /// `None`: the time of the commit.
    pub(crate) time: Option<String>,
    pub(crate) data: Data,
    /// What goes along; seen by transforms and predicates.
    pub(crate) headers: Fields,
    /// Attributes beside those that every event has.
    pub(crate) extensions: Vec<(String, String)>,
    /// How bytes are shown in it.
    pub(crate) binary: BinaryMode,
    /// The columns of the table, by name and `pg_type.oid`; none for a message.
    pub(crate) columns: &'a [stream_core::relation::Column],
}

impl Record<'_> {
    /// The media type of the data.
    pub(crate) const fn content_type(&self) -> &'static str {
        match self.data {
            Data::Object(_) | Data::Json(_) => JSON,
            Data::Text(_) => "text/plain; charset=utf-8",
            Data::Base64(_) => "application/octet-stream",
        }
    }

    /// The blocks of an event that no transform has opened yet: `None` when it is no such event.
    pub(crate) fn block(&self, name: &str) -> Option<Fields> {
        match &self.data {
            Data::Object(fields) => Fields::parse(fields.get(name)?.get()),
            Data::Json(_) | Data::Text(_) | Data::Base64(_) => None,
        }
    }
}
