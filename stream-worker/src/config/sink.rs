//! `spec.target` in the engine's words.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use stream_api::properties::{InsertMode, PrimaryKeyMode, SinkProperties};
use stream_api::{Http, SGStream, TargetKind, Timeout};
use stream_core::postgres::ConnectOptions;
use stream_sinks::cloudevent::encoder::EventOptions;
use stream_sinks::cloudevent::options::EndpointOptions;
use stream_sinks::postgres::{ImportOptions, PostgresSinkOptions};

use super::events;
use super::problem::Found;

const PROPERTIES: &str = "spec.target.sgCluster.debeziumProperties";
/// How many indexes are built at once. The target does it: what processor the worker has says nothing.
const INDEX_JOBS: usize = 4;
/// Path of the endpoint.
pub(crate) const HTTP: &str = "spec.target.cloudEvent.http";

/// How changes are delivered.
#[derive(Debug)]
pub(crate) enum SinkConfig {
    /// To PostgreSQL.
    Postgres(PostgresConfig),
    /// To an HTTP endpoint.
    CloudEvent(Box<CloudEventConfig>),
}

/// How changes are delivered to PostgreSQL.
#[derive(Debug)]
pub(crate) struct PostgresConfig {
    import_schema: bool,
    index_jobs: usize,
}

/// How changes are delivered to an HTTP endpoint.
#[derive(Debug)]
pub(crate) struct CloudEventConfig {
    /// What events look like.
    pub(crate) events: EventOptions,
    /// How the endpoint is called, but for what Secrets hold.
    pub(crate) endpoint: EndpointOptions,
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

impl PostgresConfig {
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
    match found.keep(stream.spec.target.kind())? {
        TargetKind::SGCluster(block) => {
            refuse(&block.debezium_properties, found);
            let import_schema = !block.skip_ddl_import;
            Some(SinkConfig::Postgres(PostgresConfig { import_schema, index_jobs: INDEX_JOBS }))
        }
        TargetKind::CloudEvent(http) => cloud_event(stream, http, found),
        TargetKind::PgLambda(_) => {
            found.add(
                "spec.target.type",
                "`PgLambda` is not supported yet: this version delivers to `SGCluster` and `CloudEvent`",
            );
            None
        }
    }
}

fn cloud_event(stream: &SGStream, http: &Http, found: &mut Found) -> Option<SinkConfig> {
    let endpoint = endpoint(http);
    if let Err(error) = endpoint.check() {
        found.add(format!("{HTTP}.url"), error.to_string());
    }
    // What is wrong with the source is told where it is read.
    let capture = stream.spec.source.kind().ok()?.capture();
    let events = events::read(stream, &capture, http.mode, found)?;
    Some(SinkConfig::CloudEvent(Box::new(CloudEventConfig { events, endpoint })))
}

/// How an endpoint is called, but for what Secrets hold.
fn endpoint(http: &Http) -> EndpointOptions {
    let Http {
        url,
        headers: _,
        connect_timeout,
        read_timeout,
        retry_limit,
        retry_backoff_delay,
        skip_hostname_verification,
        mode: _,
        max_in_flight,
        batch_size,
        ca_secret: _,
        headers_secret: _,
    } = http;
    let limit = |timeout: &Timeout| match timeout {
        Timeout::Unlimited => None,
        Timeout::After(time) => Some(*time),
    };
    EndpointOptions {
        connect_timeout: limit(connect_timeout),
        read_timeout: limit(read_timeout),
        retry_limit: *retry_limit,
        retry_backoff_delay: Duration::from_secs((*retry_backoff_delay).into()),
        verify_hostname: !skip_hostname_verification,
        max_in_flight: size(*max_in_flight),
        batch_size: batch_size.map_or(EndpointOptions::BATCH_SIZE, size),
        ..EndpointOptions::new(url)
    }
}

fn size(number: NonZeroU32) -> NonZeroUsize {
    NonZeroUsize::try_from(number).unwrap_or(NonZeroUsize::MAX)
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
