//! What events look like: the properties of the source that only targets of events know.

use stream_api::properties::{
    BinaryHandlingMode, DecimalHandlingMode, HstoreHandlingMode, IntervalHandlingMode, Operation,
    SourceProperties, TimePrecisionMode,
};
use stream_api::{Capture, HttpMode, SGStream, names};
use stream_core::filter::TableFilter;
use stream_core::relation::TableName;
use stream_sinks::cloudevent::encoder::{EventOptions, SkippedOperations};
use stream_sinks::cloudevent::event::Mode;
use stream_sinks::envelope::hash::HashVersion;
use stream_sinks::envelope::options::{
    BinaryMode, DecimalMode, HstoreMode, IntervalMode, TimeMode, ValueOptions,
};
use stream_sinks::envelope::rules::{ColumnRules, MessageKeys, MessagePrefixes, RuleError};
use stream_sinks::transform::Transforms;

use super::problem::Found;

/// Translates what `capture` says of events; `None` when something was added to `found`.
pub(super) fn read(
    stream: &SGStream,
    capture: &Capture<'_>,
    mode: HttpMode,
    found: &mut Found,
) -> Option<EventOptions> {
    let transforms = transforms(stream, found);
    let properties = capture.properties;
    let mut found = Properties { path: capture.path, found };
    let columns = columns(properties, &mut found);
    let keys = found.keep("messageKeyColumns", MessageKeys::new(&properties.message_key_columns));
    let prefixes = found.keep(
        "messagePrefixExcludeList",
        MessagePrefixes::new(
            &properties.message_prefix_include_list,
            &properties.message_prefix_exclude_list,
        ),
    );
    let values = values(properties, &mut found);
    let skips = |operation| properties.skipped_operations.contains(&operation);
    Some(EventOptions {
        mode: match mode {
            HttpMode::Structured => Mode::Structured,
            HttpMode::Binary => Mode::Binary,
            HttpMode::Batched => Mode::Batched,
        },
        name: names::identity(stream),
        database: capture.database.to_owned(),
        values: values?,
        columns: columns?,
        keys: keys?,
        prefixes: prefixes?,
        // A pattern that cannot be used is told where the source is read.
        filter: TableFilter::new(capture.includes, capture.excludes).unwrap_or_default(),
        skipped: SkippedOperations {
            create: skips(Operation::Create),
            update: skips(Operation::Update),
            delete: skips(Operation::Delete),
            truncate: skips(Operation::Truncate),
        },
        skip_unchanged: properties.skip_messages_without_change,
        transaction_metadata: properties.provide_transaction_metadata,
        signal_table: properties.signal_data_collection.as_deref().and_then(table),
        transforms: transforms?,
    })
}

fn transforms(stream: &SGStream, found: &mut Found) -> Option<Transforms> {
    let engine = &stream.spec.debezium_engine_properties;
    let transforms: Vec<_> = engine.transforms.clone().into_iter().collect();
    match Transforms::new(&transforms, &engine.predicates) {
        Ok(transforms) => Some(transforms),
        Err(error) => {
            found.add("spec.debeziumEngineProperties", error.to_string());
            None
        }
    }
}

/// The table that is written `schema.table`.
fn table(written: &str) -> Option<TableName> {
    written.split_once('.').map(|(schema, name)| TableName::new(schema, name))
}

/// Adds problems of properties.
struct Properties<'a> {
    path: &'static str,
    found: &'a mut Found,
}

impl Properties<'_> {
    fn keep<T>(&mut self, property: &str, read: Result<T, RuleError>) -> Option<T> {
        let add = |error: RuleError| {
            self.found
                .add(format!("{}.debeziumProperties.{property}", self.path), error.to_string());
        };
        read.map_err(add).ok()
    }
}

fn columns(properties: &SourceProperties, found: &mut Properties<'_>) -> Option<ColumnRules> {
    let mut rules = ColumnRules::default();
    let mut is_well = true;
    for (at, entry) in properties.column_truncate_to_length_chars.iter().enumerate() {
        let name = format!("columnTruncateToLengthChars[{at}]");
        is_well &= found.keep(&name, rules.truncate(entry)).is_some();
    }
    for (at, entry) in properties.column_mask_with_length_chars.iter().enumerate() {
        let name = format!("columnMaskWithLengthChars[{at}]");
        is_well &= found.keep(&name, rules.mask(entry)).is_some();
    }
    for (property, version, hashes) in [
        ("columnMaskHash", HashVersion::V1, &properties.column_mask_hash),
        ("columnMaskHashV2", HashVersion::V2, &properties.column_mask_hash_v2),
    ] {
        for (algorithm, salts) in &hashes.0 {
            // A salt is secret: the path ends before it.
            let name = format!("{property}.{algorithm}");
            for (salt, columns) in salts {
                for columns in columns {
                    let added = rules.hash(version, algorithm, salt, columns);
                    is_well &= found.keep(&name, added).is_some();
                }
            }
        }
    }
    is_well.then_some(rules)
}

fn values(properties: &SourceProperties, found: &mut Properties<'_>) -> Option<ValueOptions> {
    let digits = u8::try_from(properties.money_fraction_digits).ok();
    if digits.is_none() {
        let path = format!("{}.debeziumProperties.moneyFractionDigits", found.path);
        found.found.add(path, "no currency has so many digits: write a number up to 255");
    }
    Some(ValueOptions {
        decimal: match properties.decimal_handling_mode {
            DecimalHandlingMode::Precise => DecimalMode::Precise,
            DecimalHandlingMode::Double => DecimalMode::Double,
            DecimalHandlingMode::String => DecimalMode::String,
        },
        time: match properties.time_precision_mode {
            TimePrecisionMode::Adaptive => TimeMode::Adaptive,
            TimePrecisionMode::AdaptiveTimeMicroseconds => TimeMode::AdaptiveTimeMicroseconds,
            TimePrecisionMode::Connect => TimeMode::Connect,
            TimePrecisionMode::IsoString => TimeMode::IsoString,
            TimePrecisionMode::Microseconds => TimeMode::Microseconds,
            TimePrecisionMode::Nanoseconds => TimeMode::Nanoseconds,
        },
        binary: match properties.binary_handling_mode {
            BinaryHandlingMode::Bytes => BinaryMode::Bytes,
            BinaryHandlingMode::Base64 => BinaryMode::Base64,
            BinaryHandlingMode::Base64UrlSafe => BinaryMode::Base64UrlSafe,
            BinaryHandlingMode::Hex => BinaryMode::Hex,
        },
        hstore: match properties.hstore_handling_mode {
            HstoreHandlingMode::Json => HstoreMode::Json,
            HstoreHandlingMode::Map => HstoreMode::Map,
        },
        interval: match properties.interval_handling_mode {
            IntervalHandlingMode::Numeric => IntervalMode::Numeric,
            IntervalHandlingMode::String => IntervalMode::String,
        },
        money_fraction_digits: digits?,
        include_unknown: properties.include_unknown_datatypes,
        unavailable: properties.unavailable_value_placeholder.clone(),
    })
}
