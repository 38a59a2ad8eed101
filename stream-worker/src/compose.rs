//! Source and sink put together: the one place that knows every pair of them.

use stream_core::Error;
use stream_core::pipeline::{Control, Outcome, Pipeline};
use stream_core::postgres::slot_problem::SlotProblem;
use stream_core::postgres::{PostgresSource, PostgresSourceOptions};
use stream_core::stats::Stats;
use stream_sinks::postgres::{PostgresSink, PostgresSinkOptions, TargetStore, begin_anew_sql};
use tokio::sync::mpsc;

/// A stream that can be opened, any number of times.
#[derive(Debug)]
pub(crate) enum Composition {
    /// From PostgreSQL to PostgreSQL.
    Postgres { source: PostgresSourceOptions, sink: PostgresSinkOptions },
}

/// A stream that can run, once.
pub(crate) enum Opened {
    /// From PostgreSQL to PostgreSQL.
    Postgres {
        pipeline: Box<Pipeline<PostgresSource, PostgresSink, TargetStore>>,
        /// The name under which the target keeps the stream's progress.
        stream: String,
    },
}

impl Composition {
    /// Connects to the target and takes the stream over from any other worker.
    ///
    /// # Errors
    /// When the target cannot be reached or used.
    ///
    /// # Cancel safety
    /// Safe: the session is closed.
    pub(crate) async fn open(&self, stats: &Stats) -> Result<Opened, Error> {
        match self {
            Self::Postgres { source, sink } => {
                let (target, store) = PostgresSink::connect(sink.clone()).await?;
                let source = PostgresSource::new(source.clone());
                let mut pipeline = Box::new(Pipeline::new(source, target, store));
                pipeline.stats = stats.clone();
                Ok(Opened::Postgres { pipeline, stream: sink.stream.clone() })
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
                Box::pin(pipeline.run(control)).await.map_err(|error| with_way_back(error, &stream))
            }
        }
    }
}

/// Adds to the error of a slot that misses changes how the stream begins anew.
fn with_way_back(error: Error, stream: &str) -> Error {
    match error.reason::<SlotProblem>() {
        Some(problem) if problem.needs_snapshot() => {
            let anew = begin_anew_sql(stream);
            Error::new(
                error.kind(),
                format!(
                    "{problem}: run `{anew}` at the target, and the next start empties the stream's tables there and \
                     copies them again"
                ),
            )
        }
        _ => error,
    }
}
