//! Source and sink put together: the one place that knows every pair of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use stream_core::pipeline::{Control, Outcome, Pipeline};
use stream_core::postgres::slot_problem::SlotProblem;
use stream_core::postgres::{PostgresSource, PostgresSourceOptions};
use stream_core::stats::Stats;
use stream_core::{Error, ErrorKind, FileStore};
use stream_sinks::cloudevent::encoder::EventOptions;
use stream_sinks::cloudevent::options::EndpointOptions;
use stream_sinks::cloudevent::sink::CloudEventSink;
use stream_sinks::postgres::{
    Claim, PostgresSink, PostgresSinkOptions, TargetStore, begin_anew_sql,
};
use tokio::sync::mpsc;

/// A stream that can be opened, any number of times.
#[derive(Debug)]
pub(crate) enum Composition {
    /// From PostgreSQL to PostgreSQL.
    Postgres {
        source: Box<PostgresSourceOptions>,
        sink: Box<PostgresSinkOptions>,
        /// Lasts as long as the process: it must not take the stream back from a worker that came later.
        claim: Claim,
    },
    /// From PostgreSQL to an HTTP endpoint.
    CloudEvent {
        source: Box<PostgresSourceOptions>,
        events: Box<EventOptions>,
        endpoint: Box<EndpointOptions>,
        /// Where the position is kept.
        directory: PathBuf,
    },
}

/// A stream that can run, once.
pub(crate) enum Opened {
    /// From PostgreSQL to PostgreSQL.
    Postgres {
        pipeline: Box<Pipeline<PostgresSource, PostgresSink, TargetStore>>,
        /// The name under which the target keeps the stream's progress.
        stream: String,
    },
    /// From PostgreSQL to an HTTP endpoint.
    CloudEvent {
        pipeline: Box<Pipeline<PostgresSource, CloudEventSink, FileStore>>,
        /// Where the position is kept.
        directory: PathBuf,
    },
}

impl Composition {
    /// Connects to the target. The first time, takes the stream over from any other worker.
    ///
    /// # Errors
    /// When the target cannot be reached or used.
    ///
    /// # Cancel safety
    /// Safe: the session is closed.
    pub(crate) async fn open(&mut self, stats: &Stats) -> Result<Opened, Error> {
        match self {
            Self::Postgres { source, sink, claim } => {
                let (target, store) =
                    PostgresSink::connect(PostgresSinkOptions::clone(sink), claim).await?;
                let source = PostgresSource::new(PostgresSourceOptions::clone(source));
                let mut pipeline = Box::new(Pipeline::new(source, target, store));
                pipeline.stats = stats.clone();
                Ok(Opened::Postgres { pipeline, stream: sink.stream.clone() })
            }
            Self::CloudEvent { source, events, endpoint, directory } => {
                let store = open_store(directory.clone(), events.name.clone()).await?;
                let (events, endpoint) = (EventOptions::clone(events), endpoint.as_ref().clone());
                let generation: Arc<AtomicU64> = store.generation();
                let sink = CloudEventSink::new(events, endpoint, generation, stats.clone())
                    .map_err(|error| error.into_error())?;
                let source = PostgresSource::new(PostgresSourceOptions::clone(source));
                let mut pipeline = Box::new(Pipeline::new(source, sink, store));
                pipeline.stats = stats.clone();
                Ok(Opened::CloudEvent { pipeline, directory: directory.clone() })
            }
        }
    }
}

impl Opened {
    /// Runs until the end that `control` asks for, or the stream's own.
    ///
    /// # Errors
    /// As [`Pipeline::run`].
    ///
    /// # Cancel safety
    /// As [`Pipeline::run`]: like a crash.
    pub(crate) async fn run(self, control: mpsc::Receiver<Control>) -> Result<Outcome, Error> {
        match self {
            Self::Postgres { pipeline, stream } => {
                Box::pin(pipeline.run(control)).await.map_err(|error| {
                    let anew = begin_anew_sql(&stream);
                    with_way_back(
                        error,
                        &format!(
                            "run `{anew}` at the target, and the next start empties the stream's tables there and copies \
                             them again"
                        ),
                    )
                })
            }
            Self::CloudEvent { pipeline, directory } => {
                Box::pin(pipeline.run(control)).await.map_err(|error| {
                    let offsets = directory.join("offsets");
                    with_way_back(
                        error,
                        &format!(
                            "remove `{path}` and `{path}.backup`, and the next start reads the tables again; no event will tell of \
                             rows that were deleted in what is missing",
                            path = offsets.display()
                        ),
                    )
                })
            }
        }
    }
}

/// Opens the file that keeps the position.
async fn open_store(directory: PathBuf, stream: String) -> Result<FileStore, Error> {
    let opened = tokio::task::spawn_blocking(move || FileStore::open(&directory, &stream));
    let opened = opened.await.map_err(|error| Error::new(ErrorKind::Permanent, error))?;
    opened.map_err(|error| error.into_error())
}

/// The slot misses changes (see the messages about replication slots), so that the stream can only begin anew.
///
/// Remedy: what the message says, at the end for this target: the next start empties the stream's tables at the target and copies them again.
fn with_way_back(error: Error, anew: &str) -> Error {
    match error.reason::<SlotProblem>() {
        Some(problem) if problem.needs_snapshot() => {
            Error::new(ErrorKind::Configuration, format!("{problem}: {anew}"))
        }
        _ => error,
    }
}
