//! `spec.target` in the engine's words.

use std::path::PathBuf;

use stream_api::properties::{InsertMode, PrimaryKeyMode, SinkProperties};
use stream_api::{SGStream, TargetKind};
use stream_core::postgres::ConnectOptions;
use stream_sinks::postgres::{ImportOptions, PostgresSinkOptions};

use super::parallelism;
use super::problem::Found;

const PROPERTIES: &str = "spec.target.sgCluster.debeziumProperties";

/// How changes are delivered.
#[derive(Debug)]
pub(crate) struct SinkConfig {
    import_schema: bool,
    index_jobs: usize,
}

/// What a sink must know that stands elsewhere in the resource, or outside of it.
pub(crate) struct Surroundings {
    pub(crate) target: ConnectOptions,
    pub(crate) source: ConnectOptions,
    pub(crate) stream: String,
    /// Whether the source's schema comes whole.
    pub(crate) everything: bool,
    /// Where `pg_dump` is looked for.
    pub(crate) program_directories: Vec<PathBuf>,
}

impl SinkConfig {
    /// The options of a sink among `surroundings`.
    pub(crate) fn options(self, surroundings: Surroundings) -> PostgresSinkOptions {
        let Self { import_schema, index_jobs } = self;
        let Surroundings { target, source, stream, everything, program_directories } = surroundings;
        let import = import_schema.then_some(ImportOptions { program_directories, everything });
        PostgresSinkOptions { target, source, stream, import, index_jobs }
    }
}

/// Translates `spec.target`; `None` when something was added to `found`.
pub(crate) fn read(stream: &SGStream, found: &mut Found) -> Option<SinkConfig> {
    let (kind, supported) = match found.keep(stream.spec.target.kind())? {
        TargetKind::SGCluster(block) => {
            refuse(&block.debezium_properties, found);
            ("SGCluster", Some(!block.skip_ddl_import))
        }
        TargetKind::CloudEvent(_) => ("CloudEvent", None),
        TargetKind::PgLambda(_) => ("PgLambda", None),
    };
    if supported.is_none() {
        found.add(
            "spec.target.type",
            format!("`{kind}` is not supported yet: this version delivers to `SGCluster` only"),
        );
    }
    Some(SinkConfig { import_schema: supported?, index_jobs: parallelism() })
}

/// Properties of the target that are accepted and have no effect.
pub(super) fn without_effect(stream: &SGStream) -> Vec<String> {
    let Ok(TargetKind::SGCluster(block)) = stream.spec.target.kind() else { return Vec::new() };
    let other = block.debezium_properties.other.iter();
    other.map(|(name, _)| format!("{PROPERTIES}.{name}")).collect()
}

/// To ignore these would write what the user did not want.
fn refuse(properties: &SinkProperties, found: &mut Found) {
    let SinkProperties {
        insert_mode,
        primary_key_mode,
        delete_enabled,
        truncate_enabled,
        // Tables are made by the import of the schema, and one that differs is an error.
        schema_evolution: _,
        other: _,
    } = properties;
    let wrong = [
        ("insertMode", *insert_mode != InsertMode::Upsert, "upsert"),
        ("primaryKeyMode", *primary_key_mode != PrimaryKeyMode::RecordKey, "record_key"),
        ("deleteEnabled", !delete_enabled, "true"),
        ("truncateEnabled", !truncate_enabled, "true"),
    ];
    for (name, _, supported) in wrong.into_iter().filter(|(_, is_wrong, _)| *is_wrong) {
        found.add(
            format!("{PROPERTIES}.{name}"),
            format!("only `{supported}` is supported yet: write that, or remove the property"),
        );
    }
}
