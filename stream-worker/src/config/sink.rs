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

/// Whether a stream that sets the property does not start.
pub(super) fn is_refused(name: &str) -> bool {
    REFUSED.contains(&name)
}

/// Properties of which only the default is known yet.
const REFUSED: [&str; 4] = ["insertMode", "primaryKeyMode", "deleteEnabled", "truncateEnabled"];

/// To ignore these would write what the user did not want.
fn refuse(properties: &SinkProperties, found: &mut Found) {
    let SinkProperties { insert_mode, primary_key_mode, delete_enabled, truncate_enabled, .. } =
        properties;
    let wrong = [
        (*insert_mode != InsertMode::Upsert, "upsert"),
        (*primary_key_mode != PrimaryKeyMode::RecordKey, "record_key"),
        (!delete_enabled, "true"),
        (!truncate_enabled, "true"),
    ];
    let wrong = REFUSED.into_iter().zip(wrong).filter(|(_, (is_wrong, _))| *is_wrong);
    for (name, (_, supported)) in wrong {
        found.add(
            format!("{PROPERTIES}.{name}"),
            format!("only `{supported}` is supported yet: write that, or remove the property"),
        );
    }
}
