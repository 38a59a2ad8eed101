//! Transforms of single fields: `ReplaceField`, `MaskField`, `InsertField`, `HeaderToValue`.

use serde_json::value::RawValue;

use super::record::{Data, Record, raw};
use super::settings::Settings;
use super::{Outcome, TransformError};

/// Fields that go, stay or get other names.
#[derive(Clone, Debug)]
pub(crate) struct Replace {
    exclude: Vec<String>,
    include: Vec<String>,
    renames: Vec<(String, String)>,
    /// Where it stands.
    path: String,
}

impl Replace {
    pub(crate) fn new(settings: &mut Settings) -> Result<Self, TransformError> {
        let mut exclude = settings.list("exclude");
        exclude.extend(settings.list("blacklist"));
        let mut include = settings.list("include");
        include.extend(settings.list("whitelist"));
        let renames = settings.list("renames");
        let renames = renames.iter().map(|entry| {
            let pair =
                entry.split_once(':').filter(|(from, to)| !from.is_empty() && !to.is_empty());
            pair.map(|(from, to)| (from.to_owned(), to.to_owned()))
                .ok_or_else(|| settings.invalid("renames", entry, "write `old:new`"))
        });
        let renames = renames.collect::<Result<_, _>>()?;
        Ok(Self { exclude, include, renames, path: settings.path().to_owned() })
    }

    /// The fields that it looks for.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = &str> {
        let renamed = self.renames.iter().map(|(from, _)| from);
        self.exclude.iter().chain(&self.include).chain(renamed).map(String::as_str)
    }

    /// The fields that it makes.
    pub(crate) fn added(&self) -> impl Iterator<Item = &str> {
        self.renames.iter().map(|(_, to)| to.as_str())
    }

    pub(crate) fn apply(&self, record: &mut Record<'_>) -> Outcome {
        let Data::Object(fields) = &mut record.data else { return Outcome::Keep };
        fields.0.retain(|(name, _)| {
            !self.exclude.contains(name) && (self.include.is_empty() || self.include.contains(name))
        });
        let mut renamed = Vec::new();
        for (name, _) in &mut fields.0 {
            if let Some((from, to)) = self.renames.iter().find(|(from, _)| from == name) {
                name.clone_from(to);
                renamed.push((from, to));
            }
        }
        let is_taken = |to: &String| fields.0.iter().filter(|(name, _)| name == to).count() > 1;
        match renamed.into_iter().find(|(_, to)| is_taken(to)) {
            // JSON with a name twice means something else to each reader.
            Some((from, to)) => Outcome::Fail(format!(
                "`{}.renames` gives field `{from}` the name `{to}`, which another field has: choose another name, or exclude that \
                 field",
                self.path
            )),
            None => Outcome::Keep,
        }
    }
}

/// Fields whose values are hidden.
#[derive(Clone, Debug)]
pub(crate) struct Mask {
    fields: Vec<String>,
    replacement: Option<String>,
}

impl Mask {
    pub(crate) fn new(settings: &mut Settings) -> Result<Self, TransformError> {
        settings.required("fields").map(|fields| {
            let fields = fields.split(',').map(|field| field.trim().to_owned()).collect();
            Self { fields, replacement: settings.take("replacement") }
        })
    }

    /// The fields that it looks for.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(String::as_str)
    }

    pub(crate) fn apply(&self, record: &mut Record<'_>) -> Outcome {
        let Data::Object(fields) = &mut record.data else { return Outcome::Keep };
        for (name, value) in &mut fields.0 {
            if self.fields.contains(name) {
                *value = self.hidden(value.get());
            }
        }
        Outcome::Keep
    }

    /// The replacement, or what stands for nothing in values of this kind.
    fn hidden(&self, value: &str) -> Box<RawValue> {
        let first = value.as_bytes().first();
        let is_number = first.is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-');
        match (&self.replacement, first) {
            (_, Some(b'n')) => RawValue::NULL.to_owned(),
            (Some(text), _) if is_number => {
                text.parse::<serde_json::Number>().map_or_else(|_| raw(text), |number| raw(&number))
            }
            (Some(text), _) => raw(text),
            (None, Some(b'"')) => raw(""),
            (None, Some(b't' | b'f')) => raw(&false),
            (None, Some(b'[')) => raw(&[0_u8; 0]),
            (None, Some(b'{')) => raw(&super::record::Fields::default()),
            (None, _) => raw(&0),
        }
    }
}

/// Fields that are added.
#[derive(Clone, Debug)]
pub(crate) struct Insert {
    topic: Option<String>,
    timestamp: Option<String>,
    fixed: Option<(String, String)>,
}

impl Insert {
    pub(crate) fn new(settings: &mut Settings) -> Result<Self, TransformError> {
        // Whether a schema must have the field does not matter here.
        let name = |text: String| text.trim_end_matches(['!', '?']).to_owned();
        let topic = settings.take("topic.field").map(name);
        let timestamp = settings.take("timestamp.field").map(name);
        let fixed = match settings.take("static.field") {
            Some(field) => Some((name(field), settings.required("static.value")?)),
            None => None,
        };
        Ok(Self { topic, timestamp, fixed })
    }

    /// The fields that it makes.
    pub(crate) fn added(&self) -> impl Iterator<Item = &str> {
        let fixed = self.fixed.as_ref().map(|(name, _)| name);
        [&self.topic, &self.timestamp].into_iter().flatten().chain(fixed).map(String::as_str)
    }

    pub(crate) fn apply(&self, record: &mut Record<'_>, time_ms: i64) -> Outcome {
        let Data::Object(fields) = &mut record.data else { return Outcome::Keep };
        if let Some(name) = &self.topic {
            fields.set(name, raw(&record.topic));
        }
        if let Some(name) = &self.timestamp {
            fields.set(name, raw(&time_ms));
        }
        if let Some((name, value)) = &self.fixed {
            fields.set(name, raw(value));
        }
        Outcome::Keep
    }
}

/// Headers that become fields.
#[derive(Clone, Debug)]
pub(crate) struct HeaderToValue {
    pairs: Vec<(String, String)>,
    moves: bool,
}

impl HeaderToValue {
    pub(crate) fn new(settings: &mut Settings) -> Result<Self, TransformError> {
        let (headers, fields) = (settings.list("headers"), settings.list("fields"));
        if headers.len() != fields.len() || headers.is_empty() {
            let remedy = "name as many `fields` as `headers`";
            return Err(settings.invalid("fields", &fields.join(","), remedy));
        }
        let operation = settings.required("operation")?;
        let moves = settings.word("operation", &operation, &[("move", true), ("copy", false)])?;
        Ok(Self { pairs: headers.into_iter().zip(fields).collect(), moves })
    }

    /// The fields that it makes.
    pub(crate) fn added(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|(_, field)| field.as_str())
    }

    pub(crate) fn apply(&self, record: &mut Record<'_>) -> Outcome {
        let Data::Object(fields) = &mut record.data else { return Outcome::Keep };
        for (header, field) in &self.pairs {
            let value = if self.moves {
                record.headers.remove(header)
            } else {
                record.headers.get(header).map(ToOwned::to_owned)
            };
            if let Some(value) = value {
                fields.set(field, value);
            }
        }
        Outcome::Keep
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::record::Fields;
    use super::*;
    use crate::envelope::options::BinaryMode;

    /// What renames make of `{"a":1,"b":2,"c":3}`.
    fn renamed(renames: &str, exclude: &str) -> Result<String, String> {
        let settings = BTreeMap::from(
            [("renames", renames), ("exclude", exclude)]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let mut settings = Settings::new("transforms.short".to_owned(), &settings);
        let replace = Replace::new(&mut settings).unwrap();
        let mut record = Record {
            op: "c",
            topic: String::new(),
            id: String::new(),
            event_type: None,
            subject: String::new(),
            partition_key: String::new(),
            time: None,
            data: Data::Object(Fields::parse(r#"{"a":1,"b":2,"c":3}"#).unwrap()),
            headers: Fields::default(),
            extensions: Vec::new(),
            binary: BinaryMode::default(),
            columns: &[],
        };
        match (replace.apply(&mut record), record.data) {
            (Outcome::Keep, Data::Object(fields)) => Ok(raw(&fields).get().to_owned()),
            (Outcome::Fail(reason), _) => Err(reason),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_field_gets_the_name_of_another() {
        assert_eq!(renamed("a:x", ""), Ok(r#"{"x":1,"b":2,"c":3}"#.to_owned()));
        assert_eq!(renamed("a:b,b:a", ""), Ok(r#"{"b":1,"a":2,"c":3}"#.to_owned()));
        assert_eq!(renamed("a:b", "b"), Ok(r#"{"b":1,"c":3}"#.to_owned()));
        assert_eq!(renamed("a:a", ""), Ok(r#"{"a":1,"b":2,"c":3}"#.to_owned()));
        for (renames, from, to) in [("a:b", "a", "b"), ("c:b", "c", "b"), ("a:x,c:x", "a", "x")] {
            let message = format!(
                "`transforms.short.renames` gives field `{from}` the name `{to}`, which another field has: choose another name, or \
                 exclude that field"
            );
            assert_eq!(renamed(renames, ""), Err(message));
        }
    }
}
