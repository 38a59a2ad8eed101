//! Reads a type from a tree of YAML, and finds every mistake on the way.
//!
//! A deserializer stops at the first mistake. So the node at fault is set aside and reading starts again, until nothing is at fault or the
//! whole document is. What is missing only because it was set aside is not reported.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::node::{Data, Node};
use crate::problem::{Problem, advice, list};

/// Most fields of an object that a message lists.
const FIELDS_SHOWN: usize = 4;

/// Reads a `T`; adds what is wrong to `problems`. The result is complete only if nothing was added.
pub(crate) fn read<T: DeserializeOwned>(node: &Node, problems: &mut Vec<Problem>) -> Option<T> {
    loop {
        let fault = match T::deserialize(node) {
            Ok(value) => return Some(value),
            Err(fault) => fault,
        };
        let (at, exact) = node.nearest(&fault.path);
        if !(exact && at.done.get()) {
            let line = Some(at.line);
            problems.push(Problem { line, ..Problem::at(&fault.path, fault.message) });
        }
        let culprit = match fault.path.rsplit_once('.') {
            Some((parent, _)) if fault.is_missing => node.nearest(parent).0,
            None if fault.is_missing => node,
            _ => at,
        };
        if std::ptr::eq(culprit, node) || culprit.done.replace(true) {
            return None;
        }
    }
}

/// Why a type could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {message}")]
pub(crate) struct Fault {
    path: String,
    message: String,
    /// A required field is not there: its parent is at fault.
    is_missing: bool,
}

impl Fault {
    fn new(message: String) -> Self {
        Self { path: String::new(), message, is_missing: false }
    }

    /// The fault as seen from the parent, of which `step` is the key or `[index]`.
    fn inside(mut self, step: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{step}{dot}{}", self.path);
        self
    }
}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
            Unexpected::Float(_) => "a number",
            Unexpected::Str(_) => "a string",
            Unexpected::Seq => "a list",
            Unexpected::Map => "an object",
            _ => "nothing",
        };
        Self::new(format!("expected {expected}, found {found}"))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        // The library's words for a type of Rust.
        let expected = match expected.to_string().as_str() {
            "a nonzero u32" => format!("an integer from 1 to {}", u32::MAX),
            other => other.to_owned(),
        };
        match found {
            Unexpected::Unsigned(number) => {
                Self::new(format!("expected {expected}, found `{number}`"))
            }
            other => Self::invalid_type(other, &expected.as_str()),
        }
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        Self::new(format!("unknown value `{word}`, {}", advice(word, known)))
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self::new(format!("unknown field `{name}`, {}", advice(name, known))).inside(name)
    }

    fn missing_field(name: &'static str) -> Self {
        let fault = Self::new("required field is missing".to_owned());
        Self { is_missing: true, ..fault }.inside(name)
    }
}

impl Node {
    fn expected(&self, expected: &str) -> Fault {
        let found = match &self.data {
            Data::Null => "nothing",
            Data::Boolean(_) => "a boolean",
            Data::Integer(_) => "an integer",
            Data::Number(_) => "a number",
            Data::Text(_) => "a string",
            Data::List(_) => "a list",
            Data::Map(_) => "an object",
        };
        let remedy = match &self.data {
            Data::Boolean(_) | Data::Integer(_) | Data::Number(_) if expected == "a string" => {
                ": put it in quotes"
            }
            Data::Text(text) if expected == "a boolean" && text.parse::<bool>().is_ok() => {
                ": remove the quotes"
            }
            Data::Text(text) if expected == "an integer" && text.parse::<i128>().is_ok() => {
                ": remove the quotes"
            }
            _ => "",
        };
        Fault::new(format!("expected {expected}, found {found}{remedy}"))
    }

    /// The integer, if it is one between the bounds.
    fn integer<T: TryFrom<i128> + fmt::Display>(&self, min: T, max: T) -> Result<T, Fault> {
        let Data::Integer(value) = self.data else { return Err(self.expected("an integer")) };
        T::try_from(value).map_err(|_| {
            Fault::new(format!("expected an integer from {min} to {max}, found `{value}`"))
        })
    }
}

/// The methods for integers: `method => type, visit;`.
macro_rules! integers {
    ($($method:ident => $type:ty, $visit:ident;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            visitor.$visit(self.integer(<$type>::MIN, <$type>::MAX)?)
        })*
    };
}

impl<'de> Deserializer<'de> for &Node {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.data {
            Data::Null => visitor.visit_unit(),
            Data::Boolean(value) => visitor.visit_bool(*value),
            Data::Integer(value) => match (u64::try_from(*value), i64::try_from(*value)) {
                (Ok(value), _) => visitor.visit_u64(value),
                (_, Ok(value)) => visitor.visit_i64(value),
                _ => visitor.visit_i128(*value),
            },
            Data::Number(value) => visitor.visit_f64(*value),
            Data::Text(value) => visitor.visit_str(value),
            Data::List(items) => visitor.visit_seq(Items { items: items.iter().enumerate() }),
            Data::Map(entries) => visitor.visit_map(Entries::new(entries)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Data::Boolean(value) = self.data else { return Err(self.expected("a boolean")) };
        visitor.visit_bool(value)
    }

    integers! {
        deserialize_u16 => u16, visit_u16;
        deserialize_u32 => u32, visit_u32;
        deserialize_u64 => u64, visit_u64;
        deserialize_i32 => i32, visit_i32;
        deserialize_i64 => i64, visit_i64;
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Data::Text(value) = &self.data else { return Err(self.expected("a string")) };
        visitor.visit_str(value)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.data {
            Data::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Data::List(items) = &self.data else { return Err(self.expected("a list")) };
        visitor.visit_seq(Items { items: items.iter().enumerate() })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Data::Map(entries) = &self.data else { return Err(self.expected("an object")) };
        visitor.visit_map(Entries::new(entries))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.data {
            Data::Map(entries) => visitor.visit_map(Entries::new(entries)),
            _ if fields.len() > FIELDS_SHOWN => Err(self.expected("an object")),
            _ => {
                let fields = list(fields.iter().copied());
                Err(self.expected(&format!("an object with {fields}")))
            }
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let Data::Text(word) = &self.data else { return Err(self.expected("a string")) };
        visitor.visit_enum(word.as_str().into_deserializer())
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u8 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

/// The items of a list that are not done.
struct Items<I> {
    items: I,
}

impl<'de, 'a, I: Iterator<Item = (usize, &'a Node)>> SeqAccess<'de> for Items<I> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let next = self.items.by_ref().find(|(_, node)| !node.done.get());
        next.map(|(index, node)| {
            seed.deserialize(node).map_err(|fault| fault.inside(&format!("[{index}]")))
        })
        .transpose()
    }
}

/// The entries of an object that are not done. One without a value counts as left out, as for the API server.
struct Entries<'a> {
    entries: std::slice::Iter<'a, (String, Node)>,
    value: Option<&'a (String, Node)>,
}

impl<'a> Entries<'a> {
    fn new(entries: &'a [(String, Node)]) -> Self {
        Self { entries: entries.iter(), value: None }
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        let is_skipped = |node: &Node| node.done.get() || matches!(node.data, Data::Null);
        self.value = self.entries.find(|(_, node)| !is_skipped(node));
        let Some((key, _)) = self.value else { return Ok(None) };
        seed.deserialize(StrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let Some((key, node)) = self.value.take() else {
            return Err(de::Error::custom("a value was read before its key"));
        };
        seed.deserialize(node).map_err(|fault| fault.inside(key))
    }
}
