//! `spec.source` in the engine's words.

use std::path::Path;
use std::time::Duration;

use stream_api::properties::{
    NameAdjustmentMode, Operation, PublicationAutocreateMode, SnapshotMode as WrittenMode,
    SourceProperties,
};
use stream_api::{Capture, SGStream, TargetKind, names};
use stream_core::filter::{FilterError, TableFilter};
use stream_core::postgres::publication::AutoCreate;
use stream_core::postgres::{ConnectOptions, PostgresSourceOptions, SnapshotMode};

use super::parallelism;
use super::plugin::{self, Plugin};
use super::problem::Found;

/// What is captured, and how.
#[derive(Debug)]
pub(crate) struct SourceConfig {
    /// Whether all tables are captured, with all that belongs to a schema.
    pub(crate) everything: bool,
    slot: String,
    failover: bool,
    publication: String,
    auto_create: AutoCreate,
    via_partition_root: bool,
    remove_slot: bool,
    remove_publication: bool,
    filter: TableFilter,
    snapshot: SnapshotMode,
    is_for_events: bool,
    plugin: Plugin,
    readers: usize,
    confirm_interval: Duration,
}

/// How often the source's catalogue is looked at for new tables.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

impl SourceConfig {
    /// The options of a source at `connect`, for a worker that keeps its files in `directory`.
    pub(crate) fn options(
        self,
        connect: ConnectOptions,
        directory: &Path,
    ) -> PostgresSourceOptions {
        let Self {
            everything: _,
            slot,
            failover,
            publication,
            auto_create,
            via_partition_root,
            remove_slot,
            remove_publication,
            filter,
            snapshot,
            is_for_events,
            plugin,
            readers,
            confirm_interval,
        } = self;
        PostgresSourceOptions {
            failover,
            publication,
            auto_create,
            via_partition_root,
            remove_publication,
            remove_slot,
            filter,
            snapshot,
            plugin: plugin.options(directory),
            readers,
            confirm_interval,
            // Events tell which row is the last of all, and nobody computes a column for whoever reads them.
            finds_last_table: is_for_events,
            generated_columns: is_for_events,
            look_interval: LOOK_INTERVAL,
            ..PostgresSourceOptions::new(connect, slot)
        }
    }
}

/// Translates `spec.source`; `None` when something was added to `found`.
pub(crate) fn read(stream: &SGStream, found: &mut Found) -> Option<SourceConfig> {
    let capture = found.keep(stream.spec.source.kind())?.capture();
    let properties = capture.properties;
    refuse(stream, &capture, found);
    let filter = filter(&capture, found);
    let is_for_events = !matches!(stream.spec.target.kind(), Ok(TargetKind::SGCluster(_)));
    let snapshot = snapshot(&capture, is_for_events, found);
    let path = format!("{}.debeziumProperties.slotStreamParams", capture.path);
    let plugin = plugin::read(&properties.slot_stream_params, &path, found);
    let remove = !capture.skip_drop_replication_slot_and_publication_on_tombstone;
    let threads = properties.snapshot_max_threads.and_then(|threads| threads.get().try_into().ok());
    Some(SourceConfig {
        everything: capture.includes.is_empty() && capture.excludes.is_empty(),
        slot: names::slot(stream),
        failover: properties.slot_failover,
        publication: names::publication(stream),
        auto_create: match properties.publication_autocreate_mode {
            PublicationAutocreateMode::AllTables => AutoCreate::AllTables,
            PublicationAutocreateMode::Disabled => AutoCreate::Disabled,
            PublicationAutocreateMode::Filtered => AutoCreate::Filtered,
            PublicationAutocreateMode::NoTables => AutoCreate::NoTables,
        },
        via_partition_root: properties.publish_via_partition_root,
        remove_slot: remove,
        // One that the user named can be the user's own.
        remove_publication: remove && properties.publication_name.is_none(),
        filter: filter?,
        snapshot: snapshot?,
        is_for_events,
        plugin: plugin?,
        // A reader keeps a core of each server busy: on a small machine more of them are in each other's way.
        readers: threads.unwrap_or_else(|| parallelism().div_ceil(2)),
        confirm_interval: properties.status_update_interval.0,
    })
}

/// Refuses properties that change what arrives at the target, and that it does not know: to ignore them would deliver what the user
/// did not want.
fn refuse(stream: &SGStream, capture: &Capture<'_>, found: &mut Found) {
    let properties = capture.properties;
    let add = |name: &str, message: &str, found: &mut Found| {
        found.add(format!("{}.debeziumProperties.{name}", capture.path), message);
    };
    let unknown =
        "not supported yet, and without it other data would arrive at the target: remove it";
    for (name, is_set) in [
        (
            "fieldNameAdjustmentMode",
            properties.field_name_adjustment_mode != NameAdjustmentMode::None,
        ),
        ("snapshotIncludeCollectionList", !properties.snapshot_include_collection_list.is_empty()),
        (
            "snapshotSelectStatementOverrides",
            !properties.snapshot_select_statement_overrides.is_empty(),
        ),
    ] {
        if is_set {
            add(name, unknown, found);
        }
    }
    if !matches!(stream.spec.target.kind(), Ok(TargetKind::SGCluster(_))) {
        return;
    }
    if properties.skipped_operations.iter().any(|operation| *operation != Operation::None) {
        add(
            "skippedOperations",
            "skipping operations is not supported yet: remove it, or name a publication of your own (`publicationName`) that leaves them out",
            found,
        );
    }
    if !stream.spec.debezium_engine_properties.transforms.is_empty() {
        found.add("spec.debeziumEngineProperties.transforms", unknown);
    }
    for (name, is_set) in of_events(properties) {
        if is_set {
            add(name, unknown, found);
        }
    }
}

/// Properties that only targets of events know.
fn of_events(properties: &SourceProperties) -> [(&'static str, bool); 7] {
    let SourceProperties {
        column_truncate_to_length_chars,
        column_mask_with_length_chars,
        column_mask_hash,
        column_mask_hash_v2,
        message_key_columns,
        message_prefix_include_list,
        message_prefix_exclude_list,
        ..
    } = properties;
    [
        ("columnTruncateToLengthChars", !column_truncate_to_length_chars.is_empty()),
        ("columnMaskWithLengthChars", !column_mask_with_length_chars.is_empty()),
        ("columnMaskHash", !column_mask_hash.0.is_empty()),
        ("columnMaskHashV2", !column_mask_hash_v2.0.is_empty()),
        ("messageKeyColumns", !message_key_columns.is_empty()),
        ("messagePrefixIncludeList", !message_prefix_include_list.is_empty()),
        ("messagePrefixExcludeList", !message_prefix_exclude_list.is_empty()),
    ]
}

/// Whether a stream that sets the property does not start.
pub(super) fn is_refused(name: &str) -> bool {
    let whole = [
        "fieldNameAdjustmentMode",
        "skippedOperations",
        "snapshotIncludeCollectionList",
        "snapshotSelectStatementOverrides",
    ];
    let of_events = of_events(&SourceProperties::default());
    whole.contains(&name) || of_events.iter().any(|(refused, _)| *refused == name)
}

fn filter(capture: &Capture<'_>, found: &mut Found) -> Option<TableFilter> {
    for (list, patterns) in [("includes", capture.includes), ("excludes", capture.excludes)] {
        for (index, pattern) in patterns.iter().enumerate() {
            if let Err(FilterError::Pattern { reason, remedy, .. }) =
                TableFilter::new(std::slice::from_ref(pattern), &[])
            {
                let path = format!("{}.{list}[{index}]", capture.path);
                found.add(path, format!("`{pattern}` cannot be used: {reason}; {remedy}"));
            }
        }
    }
    TableFilter::new(capture.includes, capture.excludes).ok()
}

/// The patterns of `stream` that are none.
pub(super) fn patterns(stream: &SGStream) -> Found {
    let mut found = Found::default();
    if let Ok(kind) = stream.spec.source.kind() {
        filter(&kind.capture(), &mut found);
    }
    found
}

fn snapshot(capture: &Capture<'_>, is_for_events: bool, found: &mut Found) -> Option<SnapshotMode> {
    let refused = match capture.properties.snapshot_mode {
        // What `when_needed` does beyond `initial` is a new snapshot after a lost slot; that is said, never done unasked.
        WrittenMode::Initial | WrittenMode::WhenNeeded => return Some(SnapshotMode::Initial),
        // A row that was sent stays sent: tables need not be brought to the same moment.
        WrittenMode::InitialOnly if is_for_events => return Some(SnapshotMode::RowsOnly),
        WrittenMode::InitialOnly => return Some(SnapshotMode::InitialOnly),
        WrittenMode::NoData | WrittenMode::Never => return Some(SnapshotMode::Never),
        WrittenMode::Always => return Some(SnapshotMode::Always),
        WrittenMode::ConfigurationBased => "configuration_based",
        WrittenMode::Custom => "custom",
    };
    found.add(
        format!("{}.debeziumProperties.snapshotMode", capture.path),
        format!(
            "`{refused}` is not supported: write `initial`, `initial_only`, `no_data` or `always`"
        ),
    );
    None
}
