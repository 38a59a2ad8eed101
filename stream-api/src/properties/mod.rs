//! The properties of source, sink and engine: one row each in a table.
//!
//! A row is typed where the engine reads it. The others are checked for their shape and kept in [`Other`], so that no name and no type
//! goes unnoticed. To read one more property, give its row a type.

mod engine;
mod sink;
mod source;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::MapAccess;
use serde_json::Value;

pub use engine::EngineProperties;
pub use sink::{InsertMode, PrimaryKeyMode, SchemaEvolution, SinkProperties};
pub use source::{
    BinaryHandlingMode, DecimalHandlingMode, HstoreHandlingMode, IntervalHandlingMode, Operation,
    PublicationAutocreateMode, SnapshotMode, SourceProperties, TimePrecisionMode,
};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(from = "u64")]
pub struct Millis(pub Duration);

impl Millis {
    /// This many milliseconds.
    pub const fn new(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
}

impl From<u64> for Millis {
    fn from(millis: u64) -> Self {
        Self::new(millis)
    }
}

/// What the value of a property without a type of its own looks like.
enum Shape {
    Text,
    Boolean,
    Integer,
    List,
    Map,
    MapTree,
    ListTree,
}

impl Shape {
    /// Reads the value that `map` is at.
    fn read<'de, A: MapAccess<'de>>(self, map: &mut A) -> Result<Value, A::Error> {
        Ok(match self {
            Self::Text => Value::from(map.next_value::<String>()?),
            Self::Boolean => Value::from(map.next_value::<bool>()?),
            Self::Integer => Value::from(map.next_value::<i64>()?),
            Self::List => Value::from(map.next_value::<Vec<String>>()?),
            Self::Map => object(map.next_value::<BTreeMap<String, String>>()?),
            Self::MapTree => tree(map.next_value::<Tree<String>>()?),
            Self::ListTree => tree(map.next_value::<Tree<Vec<String>>>()?),
        })
    }
}

type Tree<T> = BTreeMap<String, BTreeMap<String, T>>;

fn object<T: Into<Value>>(map: BTreeMap<String, T>) -> Value {
    map.into_iter().map(|(name, value)| (name, value.into())).collect()
}

fn tree<T: Into<Value>>(tree: Tree<T>) -> Value {
    tree.into_iter().map(|(name, map)| (name, object(map))).collect()
}

/// Makes the struct of a table: `"name" => field: Type = default;` for a typed row, `"name": Shape,` for another.
macro_rules! properties {
    (
        $(#[$doc:meta])*
        pub struct $name:ident {
            $($(#[$row:meta])* $key:literal => $field:ident: $type:ty = $default:expr;)*
        }
        other {
            $($other:literal: $shape:ident,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[$row])* pub $field: $type,)*
            /// Properties that were set and are not read.
            pub other: super::Other,
        }

        impl $name {
            /// The name of every property, as it is written.
            pub const NAMES: &'static [&'static str] = &[$($key,)* $($other,)*];
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* other: super::Other::default() }
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
                                    let value = super::Shape::$shape.read(&mut map)?;
                                    rows.other.0.insert(key, value);
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
    };
}
use properties;
