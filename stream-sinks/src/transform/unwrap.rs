//! `ExtractNewRecordState`: the row alone, in place of the envelope.

use serde_json::value::RawValue;

use super::record::{Data, Fields, Record, raw};
use super::settings::Settings;
use super::{Outcome, TransformError};

/// What becomes of a deleted row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deleted {
    /// No event.
    Drop,
    /// An event without data.
    Null,
    /// The row before, marked.
    Rewrite,
}

/// The row alone.
#[derive(Clone, Debug)]
pub(crate) struct Unwrap {
    deleted: Deleted,
    fields: Vec<Added>,
    headers: Vec<Added>,
}

/// Something of the envelope that goes along.
#[derive(Clone, Debug)]
struct Added {
    /// The block, if it is named.
    block: Option<String>,
    field: String,
    name: String,
}

impl Unwrap {
    pub(crate) fn new(settings: &mut Settings) -> Result<Self, TransformError> {
        let mode = settings.take("delete.tombstone.handling.mode");
        let older = settings.take("delete.handling.mode");
        settings.flag("drop.tombstones")?;
        settings.flag("drop.fields.keep.schema.compatible")?;
        let deleted = if let Some(older) = older {
            let words =
                [("drop", Deleted::Drop), ("rewrite", Deleted::Rewrite), ("none", Deleted::Null)];
            settings.word("delete.handling.mode", &older, &words)?
        } else {
            let words = [
                ("drop", Deleted::Drop),
                ("tombstone", Deleted::Null),
                ("delete-to-tombstone", Deleted::Null),
                ("rewrite", Deleted::Rewrite),
                ("rewrite-with-tombstone", Deleted::Rewrite),
            ];
            let mode = mode.as_deref().unwrap_or("tombstone");
            settings.word("delete.tombstone.handling.mode", mode, &words)?
        };
        let prefix = settings.take("add.fields.prefix").unwrap_or_else(|| "__".to_owned());
        let fields = added(&settings.list("add.fields"), &prefix);
        let prefix = settings.take("add.headers.prefix").unwrap_or_else(|| "__".to_owned());
        let headers = added(&settings.list("add.headers"), &prefix);
        Ok(Self { deleted, fields, headers })
    }

    /// The fields that it adds to a row.
    pub(crate) fn added(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|added| added.name.as_str()).chain(["__deleted"])
    }

    pub(crate) fn apply(&self, record: &mut Record<'_>) -> Outcome {
        let Data::Object(envelope) = &record.data else { return Outcome::Keep };
        // A message has no rows.
        let (Some(before), Some(after)) = (envelope.get("before"), envelope.get("after")) else {
            return Outcome::Keep;
        };
        let row = match (Fields::parse(after.get()), self.deleted) {
            (Some(row), _) => Some((row, "false")),
            (None, Deleted::Drop) if record.op == "d" => return Outcome::Drop,
            (None, Deleted::Rewrite) => Fields::parse(before.get()).map(|row| (row, "true")),
            (None, Deleted::Drop | Deleted::Null) => None,
        };
        for added in &self.headers {
            record.headers.set(added.name.clone(), added.value(envelope));
        }
        record.data = match row {
            Some((mut row, is_deleted)) => {
                if self.deleted == Deleted::Rewrite {
                    row.set("__deleted", raw(is_deleted));
                }
                for added in &self.fields {
                    row.set(added.name.clone(), added.value(envelope));
                }
                Data::Object(row)
            }
            None => Data::Json(RawValue::NULL.to_owned()),
        };
        Outcome::Keep
    }
}

/// `op`, `source.ts_ms`, `table:name`.
fn added(entries: &[String], prefix: &str) -> Vec<Added> {
    let one = |entry: &String| {
        let (path, name) =
            entry.split_once(':').map_or((entry.as_str(), None), |(path, name)| (path, Some(name)));
        let (block, field) =
            path.split_once('.').map_or((None, path), |(block, field)| (Some(block), field));
        let name = name.map_or_else(|| path.replace('.', "_"), str::to_owned);
        Added {
            block: block.map(str::to_owned),
            field: field.to_owned(),
            name: format!("{prefix}{name}"),
        }
    };
    entries.iter().map(one).collect()
}

impl Added {
    /// The value, of the named block or of the envelope itself and then its source.
    fn value(&self, envelope: &Fields) -> Box<RawValue> {
        let of_block = |block: &str| {
            Fields::parse(envelope.get(block)?.get())?.get(&self.field).map(ToOwned::to_owned)
        };
        let value = match &self.block {
            Some(block) => of_block(block),
            None => envelope.get(&self.field).map(ToOwned::to_owned).or_else(|| of_block("source")),
        };
        value.unwrap_or_else(|| RawValue::NULL.to_owned())
    }
}
