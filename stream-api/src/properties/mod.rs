//! The properties of source, sink and engine: one row each in a table.
//!
//! A row says what the property is called, what it means, how its value looks, its default as a user would write it, and what becomes of it
//! here. One with a field is read by the engine, or will be; the others are checked for their shape and kept in [`Other`], so that no name and
//! no type goes unnoticed. From the rows come the structs, the schema, and the reference page.

mod engine;
mod sink;
mod source;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map as Object, Value, json};

pub use engine::{EngineProperties, RecordProcessingOrder};
pub use sink::{InsertMode, PrimaryKeyMode, SchemaEvolution, SinkProperties};
pub use source::{
    BinaryHandlingMode, ColumnHashes, DecimalHandlingMode, FailureHandlingMode, GuardrailAction,
    HstoreHandlingMode, IntervalHandlingMode, NameAdjustmentMode, NotificationChannel, Operation,
    PluginName, PublicationAutocreateMode, SchemaRefreshMode, SignalChannel, SnapshotIsolationMode,
    SnapshotLockingMode, SnapshotMode, SnapshotQueryMode, SourceProperties, TimePrecisionMode,
    WatermarkingStrategy,
};

/// One row of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Property {
    /// Name as it is written, such as `snapshotMode`.
    pub name: &'static str,
    /// What it means: first sentence, details, default, example.
    pub text: &'static str,
    /// Value that counts when it is not set, as a user would write it; none: it counts as not set.
    pub default: Option<&'static str>,
    /// What becomes of it.
    pub support: Support,
    /// What a value has to fulfil beside its type: an expression in CEL, and what is said when it is false.
    pub rule: Option<(&'static str, &'static str)>,
}

impl Property {
    /// Name under which Debezium's own documentation has it: a dot before each capital, which becomes small.
    ///
    /// ```
    /// let property = stream_api::properties::SourceProperties::PROPERTIES[1];
    /// assert_eq!((property.name, property.dotted_name().as_str()), ("slotName", "slot.name"));
    /// ```
    pub fn dotted_name(&self) -> String {
        let mut dotted = String::new();
        for letter in self.name.chars() {
            if letter.is_ascii_uppercase() {
                dotted.push('.');
            }
            dotted.push(letter.to_ascii_lowercase());
        }
        dotted
    }
}

/// What becomes of a property that is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It does what its text says.
    Honoured,
    /// It does nothing, for this reason.
    Ignored(&'static str),
    /// The API server refuses it, for this reason and with this remedy.
    Rejected(&'static str),
}

/// Properties that were set and are not read by the engine. `Debug` shows their names only: a value may hold a password.
#[derive(Clone, Default, PartialEq)]
pub struct Other(BTreeMap<String, Value>);

impl Other {
    /// The value of a property, if it was set.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The properties that were set, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl fmt::Debug for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A duration that is written as a number of milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(from = "u64", into = "u64")]
#[schemars(with = "u64")]
pub struct Millis(pub Duration);

impl Millis {
    /// This many milliseconds.
    pub const fn new(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
}

impl From<Millis> for u64 {
    fn from(millis: Millis) -> Self {
        Self::try_from(millis.0.as_millis()).unwrap_or(Self::MAX)
    }
}

impl From<u64> for Millis {
    fn from(millis: u64) -> Self {
        Self::new(millis)
    }
}

// Shapes of the properties that have no type of their own.
type Text = String;
type Boolean = bool;
type Integer = i64;
type List = Vec<String>;
type Map = BTreeMap<String, String>;
type MapTree = BTreeMap<String, Map>;

/// A row's default, parsed as the type of its field.
#[expect(clippy::expect_used, reason = "a default is part of the program, and a test parses each")]
fn parsed<T: DeserializeOwned>(default: &'static str) -> T {
    serde_json::from_str(default)
        .or_else(|_| serde_json::from_value(Value::from(default)))
        .expect("a default has the type of its row")
}

/// A row's default, as a value: JSON, or a text as it is.
fn parsed_default(default: &str) -> Value {
    serde_json::from_str(default).unwrap_or_else(|_| default.into())
}

/// The rows that have no effect although they are set. A value that is the default counts as not set.
fn without_effect(
    rows: &'static [Property],
    set: &impl Serialize,
    default: &impl Serialize,
) -> Vec<&'static Property> {
    // A table is an object of plain values, which can always be told as JSON.
    let values = |table: serde_json::Result<Value>| table.unwrap_or_default();
    let (set, default) = (values(serde_json::to_value(set)), values(serde_json::to_value(default)));
    rows.iter()
        .filter(|row| row.support != Support::Honoured)
        .filter(|row| {
            let written = || row.default.map(parsed_default);
            set.get(row.name).is_some_and(|value| {
                Some(value) != default.get(row.name) && Some(value) != written().as_ref()
            })
        })
        .collect()
}

/// The schema of a table: an object with a value for each row, and a rule for each row that is rejected.
fn object<const N: usize>(rows: &[Property], values: [Schema; N]) -> Schema {
    let mut properties = Object::new();
    let mut rules = Vec::new();
    for (Property { name, text, default: _, support, rule }, mut value) in rows.iter().zip(values) {
        let effect = match support {
            Support::Honoured => String::new(),
            Support::Ignored(reason) => format!("\n\nHas no effect: {reason}."),
            Support::Rejected(reason) => {
                rules.push(json!({
                    "rule": format!("!has(self.{name})"),
                    "message": format!("`{name}` can not be used: {reason}"),
                    "fieldPath": format!(".{name}"),
                    "reason": "FieldValueForbidden",
                }));
                format!("\n\nRefused: {reason}.")
            }
        };
        value.insert("description".to_owned(), format!("{}{effect}", text.trim()).into());
        if let Some((rule, message)) = rule {
            let rules = json!([{"rule": rule, "message": message}]);
            value.insert("x-kubernetes-validations".to_owned(), rules);
        }
        properties.insert((*name).to_owned(), value.to_value());
    }
    let mut schema = json_schema!({"type": "object", "properties": properties});
    if !rules.is_empty() {
        schema.insert("x-kubernetes-validations".to_owned(), rules.into());
    }
    schema
}

/// Makes the struct of a table from its rows:
///
/// - `"name" => field: Type = "default", Support;` has a field; `= none` is unset by default, and `Type` is an `Option`.
/// - `"name": Shape = "default", Support;` has none, and is kept in `other`.
///
/// `Support, Rule("CEL", "message");` says what a value has to fulfil beside its type.
macro_rules! properties {
    // All rows are sorted: those with a field, those without, and all in the order of the table.
    (@rows $head:tt [$($with:tt)*] [$($without:tt)*] [$($all:tt)*]
        $(#[doc = $text:literal])* $key:literal => $field:ident: $type:ty = $default:tt, $support:ident $(($why:literal))? $(, Rule($rule:literal, $said:literal))?; $($rest:tt)*) => {
        properties! { @rows $head
            [$($with)* { [$(#[doc = $text])*] $key $field [$type] $default }]
            [$($without)*]
            [$($all)* { [$($text)*] $key [$type] $default $support [$($why)?] [$($rule, $said)?] }]
            $($rest)* }
    };
    (@rows $head:tt [$($with:tt)*] [$($without:tt)*] [$($all:tt)*]
        $(#[doc = $text:literal])* $key:literal: $type:ty = $default:tt, $support:ident $(($why:literal))? $(, Rule($rule:literal, $said:literal))?; $($rest:tt)*) => {
        properties! { @rows $head
            [$($with)*]
            [$($without)* { $key [$type] }]
            [$($all)* { [$($text)*] $key [$type] $default $support [$($why)?] [$($rule, $said)?] }]
            $($rest)* }
    };
    (@rows { $(#[$doc:meta])* $name:ident }
        [$({ [$(#[$row:meta])*] $key:literal $field:ident [$type:ty] $default:tt })*]
        [$({ $other:literal [$shape:ty] })*]
        [$({ [$($text:literal)*] $any:literal [$any_type:ty] $any_default:tt $support:ident [$($why:literal)?] [$($rule:literal, $said:literal)?] })*]) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[$row])* pub $field: $type,)*
            /// Properties that were set and have no field.
            pub other: super::Other,
        }

        impl $name {
            /// The name of every property, as it is written.
            pub const NAMES: &'static [&'static str] = &[$($any,)*];

            /// The rows of the table.
            pub const PROPERTIES: &'static [super::Property] = &[$(super::Property {
                name: $any,
                text: concat!($($text, "\n",)*),
                default: properties!(@text $any_default),
                support: super::Support::$support $(($why))?,
                rule: properties!(@rule $($rule, $said)?),
            },)*];

            /// The properties that are set and have no effect. One that is set to its default counts as not set.
            pub fn without_effect(&self) -> Vec<&'static super::Property> {
                super::without_effect(Self::PROPERTIES, self, &Self::default())
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: properties!(@value $default),)* other: super::Other::default() }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Rows;
                impl<'de> serde::de::Visitor<'de> for Rows {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        let mut rows = $name::default();
                        while let Some(key) = map.next_key::<String>()? {
                            match key.as_str() {
                                $($key => rows.$field = map.next_value()?,)*
                                $($other => {
                                    let value = serde_json::to_value(map.next_value::<$shape>()?);
                                    rows.other.0.insert(key, value.map_err(serde::de::Error::custom)?);
                                })*
                                _ => return Err(serde::de::Error::unknown_field(&key, $name::NAMES)),
                            }
                        }
                        Ok(rows)
                    }
                }
                deserializer.deserialize_struct(stringify!($name), $name::NAMES, Rows)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap;
                let mut map = serializer.serialize_map(None)?;
                $(properties!(@entry map $key self.$field, $default);)*
                for (name, value) in self.other.iter() {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let values = [$(generator.subschema_for::<$any_type>(),)*];
                super::object(Self::PROPERTIES, values)
            }
        }
    };
    (@rule) => { None };
    (@rule $rule:literal, $said:literal) => { Some(($rule, $said)) };
    (@text none) => { None };
    (@text $default:literal) => { Some($default) };
    (@value none) => { None };
    (@value $default:literal) => { super::parsed($default) };
    (@entry $map:ident $key:literal $value:expr, none) => {
        if let Some(value) = &$value {
            $map.serialize_entry($key, value)?;
        }
    };
    (@entry $map:ident $key:literal $value:expr, $default:literal) => {
        $map.serialize_entry($key, &$value)?;
    };
    ($(#[$doc:meta])* pub struct $name:ident { $($rows:tt)* }) => {
        properties! { @rows { $(#[$doc])* $name } [] [] [] $($rows)* }
    };
}
use properties;
