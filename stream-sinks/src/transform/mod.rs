//! Transforms: what is done to an event between its making and its sending.
//!
//! In: the names and settings that users of Kafka Connect know, in the author's order. Out: a [`Transforms`] that events go
//! through. Those of Java that have no counterpart here are refused by name. Events that no transform is asked for never
//! come here.

mod absent;
mod fields;
mod outbox;
pub(crate) mod record;
mod settings;
mod unwrap;

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};

use self::fields::{HeaderToValue, Insert, Mask, Replace};
use self::outbox::Outbox;
use self::record::{Data, Record};
use self::settings::Settings;
use self::unwrap::Unwrap;

/// Settings by name, as somebody wrote them; `type` says what they are of.
pub type SettingsMap = BTreeMap<String, String>;

/// The transforms that there are, for messages.
const KNOWN: &str = "io.debezium.transforms.ExtractNewRecordState, io.debezium.transforms.outbox.EventRouter, \
     io.debezium.transforms.HeaderToValue, and of org.apache.kafka.connect.transforms: Filter, RegexRouter, ReplaceField$Value, \
     MaskField$Value, InsertField$Value";
/// The predicates that there are, for messages.
const KNOWN_PREDICATES: &str = "TopicNameMatches, HasHeaderKey and RecordIsTombstone of org.apache.kafka.connect.transforms.predicates";

/// A transform that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransformError {
    /// There is no transform, or predicate, of this name here.
    ///
    /// Remedy: use one of those in the message; Java classes of one's own do not run here.
    #[error("`{path}.type` = `{name}` is not there: use one of {known}")]
    NoSuchType {
        /// Where it stands.
        path: String,
        /// The name as it was written.
        name: String,
        /// Those that there are.
        known: &'static str,
    },
    /// A setting that has no default is missing.
    ///
    /// Remedy: add it.
    #[error("`{path}` is missing: it has no default")]
    Missing {
        /// Where it should stand.
        path: String,
    },
    /// A setting is not known, or not supported.
    ///
    /// Remedy: remove it, or use one of those in the message.
    #[error("`{path}` is not known here: remove it, or use one of {known}")]
    Unknown {
        /// Where it stands.
        path: String,
        /// Those that are.
        known: String,
    },
    /// A setting has a value that it cannot have.
    ///
    /// Remedy: what the message says.
    #[error("`{path}` = `{value}` cannot be used: {remedy}")]
    Value {
        /// Where it stands.
        path: String,
        /// The value as it was written.
        value: String,
        /// What to write instead.
        remedy: String,
    },
    /// A transform names a predicate that is not there.
    ///
    /// Remedy: add it, or correct the name.
    #[error("`{path}.predicate` = `{name}` names no predicate: add `predicates.{name}`")]
    NoSuchPredicate {
        /// Where it stands.
        path: String,
        /// The name as it was written.
        name: String,
    },
}

/// What a transform makes of an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Keep,
    Drop,
    /// It cannot go on, for this reason.
    Fail(String),
}

/// Transforms in their order.
#[derive(Clone, Debug, Default)]
pub struct Transforms(Vec<Step>);

#[derive(Clone, Debug)]
struct Step {
    /// Where it stands.
    path: String,
    transform: Transform,
    condition: Option<(Predicate, bool)>,
}

#[derive(Clone, Debug)]
enum Transform {
    Unwrap(Unwrap),
    Outbox(Box<Outbox>),
    Filter,
    Route { regex: Regex, to: String },
    Replace(Replace),
    Mask(Mask),
    Insert(Insert),
    HeaderToValue(HeaderToValue),
}

#[derive(Clone, Debug)]
enum Predicate {
    Topic(Regex),
    Header(String),
    Tombstone,
}

impl Transforms {
    /// Transforms in the order in which they are to work, and the predicates that they name.
    ///
    /// # Errors
    /// [`TransformError`] for the first that cannot be used.
    pub fn new(
        transforms: &[(String, SettingsMap)],
        predicates: &BTreeMap<String, SettingsMap>,
    ) -> Result<Self, TransformError> {
        let mut known = BTreeMap::new();
        for (name, settings) in predicates {
            known.insert(name.as_str(), predicate(name, settings)?);
        }
        let steps = transforms.iter().map(|(name, settings)| step(name, settings, &known));
        steps.collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Leads an event through. `time_ms`: its commit's time.
    pub(crate) fn apply(&self, record: &mut Record<'_>, time_ms: i64) -> Outcome {
        for step in &self.0 {
            let applies = step
                .condition
                .as_ref()
                .is_none_or(|(predicate, is_negated)| predicate.is_true(record) != *is_negated);
            if !applies {
                continue;
            }
            let outcome = match &step.transform {
                Transform::Unwrap(unwrap) => unwrap.apply(record),
                Transform::Outbox(outbox) => outbox.apply(record),
                Transform::Filter => Outcome::Drop,
                Transform::Route { regex, to } => {
                    if regex.is_match(&record.topic) {
                        record.topic = regex.replace(&record.topic, to).into_owned();
                        record.subject.clone_from(&record.topic);
                    }
                    Outcome::Keep
                }
                Transform::Replace(replace) => replace.apply(record),
                Transform::Mask(mask) => mask.apply(record),
                Transform::Insert(insert) => insert.apply(record, time_ms),
                Transform::HeaderToValue(header) => header.apply(record),
            };
            if outcome != Outcome::Keep {
                return outcome;
            }
        }
        Outcome::Keep
    }
}

fn step(
    name: &str,
    settings: &SettingsMap,
    predicates: &BTreeMap<&str, Predicate>,
) -> Result<Step, TransformError> {
    let mut settings = Settings::new(format!("transforms.{name}"), settings);
    let class = settings.required("type")?;
    let condition = condition(&mut settings, predicates)?;
    let transform = match class.as_str() {
        "io.debezium.transforms.ExtractNewRecordState" => {
            Transform::Unwrap(Unwrap::new(&mut settings)?)
        }
        "io.debezium.transforms.outbox.EventRouter" => {
            Transform::Outbox(Box::new(Outbox::new(&mut settings)?))
        }
        "io.debezium.transforms.HeaderToValue" => {
            Transform::HeaderToValue(HeaderToValue::new(&mut settings)?)
        }
        "org.apache.kafka.connect.transforms.Filter" => Transform::Filter,
        "org.apache.kafka.connect.transforms.RegexRouter" => {
            let regex = settings.required("regex")?;
            let regex = whole(&settings, "regex", &regex)?;
            let to = java_replacement(&settings.required("replacement")?);
            Transform::Route { regex, to }
        }
        "org.apache.kafka.connect.transforms.ReplaceField$Value" => {
            Transform::Replace(Replace::new(&mut settings)?)
        }
        "org.apache.kafka.connect.transforms.MaskField$Value" => {
            Transform::Mask(Mask::new(&mut settings)?)
        }
        "org.apache.kafka.connect.transforms.InsertField$Value" => {
            Transform::Insert(Insert::new(&mut settings)?)
        }
        _ => {
            let path = settings.path().to_owned();
            return Err(TransformError::NoSuchType { path, name: class, known: KNOWN });
        }
    };
    let path = settings.path().to_owned();
    settings.finish()?;
    Ok(Step { path, transform, condition })
}

/// The predicate that a transform names, and whether it is turned round.
fn condition(
    settings: &mut Settings,
    predicates: &BTreeMap<&str, Predicate>,
) -> Result<Option<(Predicate, bool)>, TransformError> {
    let is_negated = settings.flag("negate")?;
    let Some(name) = settings.take("predicate") else { return Ok(None) };
    match predicates.get(name.as_str()) {
        Some(predicate) => Ok(Some((predicate.clone(), is_negated))),
        None => Err(TransformError::NoSuchPredicate { path: settings.path().to_owned(), name }),
    }
}

fn predicate(name: &str, settings: &SettingsMap) -> Result<Predicate, TransformError> {
    let mut settings = Settings::new(format!("predicates.{name}"), settings);
    let class = settings.required("type")?;
    let predicate = match class.strip_prefix("org.apache.kafka.connect.transforms.predicates.") {
        Some("TopicNameMatches") => {
            let pattern = settings.required("pattern")?;
            Predicate::Topic(whole(&settings, "pattern", &pattern)?)
        }
        Some("HasHeaderKey") => Predicate::Header(settings.required("name")?),
        Some("RecordIsTombstone") => Predicate::Tombstone,
        _ => {
            let path = settings.path().to_owned();
            return Err(TransformError::NoSuchType { path, name: class, known: KNOWN_PREDICATES });
        }
    };
    settings.finish()?;
    Ok(predicate)
}

impl Predicate {
    fn is_true(&self, record: &Record<'_>) -> bool {
        match self {
            Self::Topic(pattern) => pattern.is_match(&record.topic),
            Self::Header(name) => record.headers.get(name).is_some(),
            Self::Tombstone => matches!(&record.data, Data::Json(value) if value.get() == "null"),
        }
    }
}

/// A pattern that must match a whole text.
fn whole(settings: &Settings, name: &str, pattern: &str) -> Result<Regex, TransformError> {
    let remedy = "write a regular expression without look-around and back-references";
    RegexBuilder::new(&format!("^(?:{pattern})$"))
        .build()
        .map_err(|_| settings.invalid(name, pattern, remedy))
}

/// A replacement as Java spells it: there `$1x` is the first group and an `x`.
fn java_replacement(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, after) = rest.split_at(at);
        written.push_str(before);
        let after = after.get(1..).unwrap_or_default();
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits > 0 {
            let (group, after) = after.split_at(digits);
            written.push_str(&format!("${{{group}}}"));
            rest = after;
        } else {
            written.push('$');
            rest = after;
        }
    }
    written.push_str(rest);
    written
}
