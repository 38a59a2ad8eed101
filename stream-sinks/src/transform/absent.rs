//! Fields that transforms name and that no event has when it comes to them: a misspelt name hides nothing, and says nothing.
//!
//! In: transforms, and the columns of all captured tables. Out: the names that lead nowhere. A column can be added later, so that they
//! are no reason to refuse a stream. Pure.

use std::collections::BTreeSet;
use std::fmt;

use super::{Transform, Transforms};

/// What an event has before any transform.
const ENVELOPE: [&str; 9] =
    ["before", "after", "source", "transaction", "op", "ts_ms", "ts_us", "ts_ns", "message"];

/// A field that no event has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Absent {
    /// The transform's path.
    path: String,
    field: String,
    /// Whether events are still whole there, and a captured table has such a column.
    is_wrapped: bool,
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, field, is_wrapped } = self;
        write!(
            f,
            "`{path}` names field `{field}`, which no event has there, so that nothing is done: "
        )?;
        match is_wrapped {
            true => write!(
                f,
                "it is a column, and columns are fields only behind `io.debezium.transforms.ExtractNewRecordState`; put that \
                 before it"
            ),
            false => {
                write!(f, "correct the name, or remove it; no captured table has such a column")
            }
        }
    }
}

impl Transforms {
    /// The fields that are named and not there. `columns`: those of the captured tables.
    pub(crate) fn absent<'a>(&'a self, columns: impl Iterator<Item = &'a str>) -> Vec<Absent> {
        let columns: BTreeSet<&str> = columns.collect();
        let mut known: BTreeSet<&str> = ENVELOPE.into_iter().collect();
        let mut is_wrapped = true;
        let mut absent = Vec::new();
        for step in &self.0 {
            let wanted: Vec<&str> = match &step.transform {
                Transform::Replace(replace) => replace.wanted().collect(),
                Transform::Mask(mask) => mask.wanted().collect(),
                Transform::Outbox(outbox) => outbox.columns().to_vec(),
                Transform::Unwrap(_)
                | Transform::Filter
                | Transform::Route { .. }
                | Transform::Insert(_)
                | Transform::HeaderToValue(_) => Vec::new(),
            };
            // An outbox looks for its columns in the envelope.
            let is_outbox = matches!(step.transform, Transform::Outbox(_));
            let has = |field: &str| match is_outbox {
                true => columns.contains(field),
                false => known.contains(field),
            };
            absent.extend(wanted.into_iter().filter(|field| !has(field)).map(|field| Absent {
                path: step.path.clone(),
                field: field.to_owned(),
                is_wrapped: is_wrapped && columns.contains(field),
            }));
            match &step.transform {
                Transform::Unwrap(unwrap) => {
                    known.extend(&columns);
                    known.extend(unwrap.added());
                    is_wrapped = false;
                }
                Transform::Replace(replace) => known.extend(replace.added()),
                Transform::Insert(insert) => known.extend(insert.added()),
                Transform::HeaderToValue(header) => known.extend(header.added()),
                // Its payload can have any fields.
                Transform::Outbox(_) => break,
                Transform::Filter | Transform::Route { .. } | Transform::Mask(_) => {}
            }
        }
        absent
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const KAFKA: &str = "org.apache.kafka.connect.transforms";

    fn absent(steps: &[(&str, &[(&str, &str)])]) -> Vec<(String, String, bool)> {
        let steps: Vec<_> = steps
            .iter()
            .map(|(class, settings)| {
                let class_setting = [("type", *class)];
                let settings = settings.iter().chain(&class_setting);
                let settings =
                    settings.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
                (class.rsplit('.').next().unwrap().to_owned(), settings.collect::<BTreeMap<_, _>>())
            })
            .collect();
        let transforms = Transforms::new(&steps, &BTreeMap::new()).unwrap();
        let absent = transforms.absent(["id", "email"].into_iter());
        absent.into_iter().map(|one| (one.path, one.field, one.is_wrapped)).collect()
    }

    fn found(path: &str, field: &str, is_wrapped: bool) -> (String, String, bool) {
        (format!("transforms.{path}"), field.to_owned(), is_wrapped)
    }

    #[test]
    fn a_field_that_no_event_has_is_named_with_its_transform() {
        let mask = format!("{KAFKA}.MaskField$Value");
        let replace = format!("{KAFKA}.ReplaceField$Value");
        let insert = format!("{KAFKA}.InsertField$Value");
        let unwrap = "io.debezium.transforms.ExtractNewRecordState";
        let outbox = "io.debezium.transforms.outbox.EventRouter";
        let hides = |fields| (mask.as_str(), [("fields", fields)]);
        let (email, emial, source) = (hides("email"), hides("emial"), hides("source,op"));
        assert_eq!(absent(&[(source.0, &source.1)]), []);
        // The mistake that shows what was to be hidden.
        assert_eq!(absent(&[(email.0, &email.1)]), [found("MaskField$Value", "email", true)]);
        assert_eq!(absent(&[(unwrap, &[]), (email.0, &email.1)]), []);
        let misspelt = [(unwrap, &[][..]), (emial.0, &emial.1)];
        assert_eq!(absent(&misspelt), [found("MaskField$Value", "emial", false)]);
        let renames = [("renames", "email:emial,mail:post"), ("exclude", "gone")];
        let in_turn = [
            (unwrap, &[("add.fields", "op")][..]),
            (&replace, &renames),
            (&insert, &[("static.field", "kind"), ("static.value", "x")]),
            (&mask, &[("fields", "emial,post,kind,__op,__deleted")]),
        ];
        assert_eq!(
            absent(&in_turn),
            [
                found("ReplaceField$Value", "gone", false),
                found("ReplaceField$Value", "mail", false),
            ]
        );
        let routed = absent(&[(outbox, &[]), (emial.0, &emial.1)]);
        assert!(routed.contains(&found("EventRouter", "payload", false)), "{routed:?}");
        assert!(routed.iter().all(|(path, ..)| path == "transforms.EventRouter"), "{routed:?}");
    }
}
