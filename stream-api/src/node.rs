//! YAML as a tree that remembers its lines.

use std::cell::Cell;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Error, MessageFormatter, Spanned, UserMessageFormatter};

use crate::problem::Problem;

/// A value, and the line of its key.
pub(crate) struct Node {
    pub(crate) line: usize,
    /// Read already, or reported: not looked at again.
    pub(crate) done: Cell<bool>,
    pub(crate) data: Data,
}

pub(crate) enum Data {
    Null,
    Boolean(bool),
    Integer(i128),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// The documents in `text`, without the empty ones.
///
/// # Errors
/// The text is not YAML, or gives a key twice.
pub(crate) fn documents(text: &str) -> Result<Vec<Node>, Problem> {
    serde_saphyr::from_multiple(text).map_err(|error| {
        let message = match error.without_snippet() {
            Error::DuplicateMappingKey { key: Some(key), .. } => {
                format!("`{key}` is given twice: keep one")
            }
            other => UserMessageFormatter.format_message(other).into_owned(),
        };
        let line = error.location().map(|location| line(location.line()));
        // A problem is one line, whatever the text has in it.
        let message = message.replace(char::is_control, " ");
        Problem { line, ..Problem::at("", format!("not valid YAML: {message}")) }
    })
}

impl Node {
    fn new(spanned: Spanned<Data>) -> Self {
        let line = line(spanned.referenced.line());
        Self { line, done: Cell::new(false), data: spanned.value }
    }

    /// The node at `path`, and `true`; or the nearest one above it, and `false`.
    pub(crate) fn nearest(&self, path: &str) -> (&Self, bool) {
        if path.is_empty() {
            return (self, true);
        }
        let found = match &self.data {
            // A key may have dots of its own, and another one may be the first part of it.
            Data::Map(entries) => entries
                .iter()
                .filter_map(|(key, child)| {
                    let rest = path.strip_prefix(key.as_str())?;
                    let rest = if rest.starts_with('[') { rest } else { after_dot(rest)? };
                    Some((child.nearest(rest), key.len()))
                })
                .max_by_key(|((_, exact), length)| (*exact, *length))
                .map(|(found, _)| found),
            Data::List(items) => path.strip_prefix('[').and_then(|path| {
                let (index, rest) = path.split_once(']')?;
                Some(items.get(index.parse::<usize>().ok()?)?.nearest(after_dot(rest)?))
            }),
            _ => None,
        };
        found.unwrap_or((self, false))
    }
}

/// What follows the dot; nothing when nothing follows at all.
fn after_dot(rest: &str) -> Option<&str> {
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
}

fn line(line: u64) -> usize {
    usize::try_from(line).unwrap_or(usize::MAX)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::<Data>::deserialize(deserializer).map(Self::new)
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Data, E> {
        Ok(Data::Null)
    }

    fn visit_none<E>(self) -> Result<Data, E> {
        Ok(Data::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Data, D::Error> {
        Data::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Data, E> {
        Ok(Data::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Data, E> {
        Ok(Data::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Data, E> {
        Ok(Data::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Data, E> {
        Ok(Data::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Data, E> {
        Ok(Data::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Data, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Data::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Data, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            // The line of the key: that of a block is where its first entry stands.
            let line = line(key.referenced.line());
            entries.push((key.value, Node { line, ..map.next_value()? }));
        }
        Ok(Data::Map(entries))
    }
}
