//! Source and sink put together: the one place that knows every pair of them.

use stream_core::Error;
use stream_core::pipeline::{Control, Outcome, Pipeline};
use stream_core::postgres::{PostgresSource, PostgresSourceOptions};
use stream_core::stats::Stats;
use stream_sinks::postgres::{PostgresSink, PostgresSinkOptions, TargetStore};
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
    Postgres(Box<Pipeline<PostgresSource, PostgresSink, TargetStore>>),
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
                let (sink, store) = PostgresSink::connect(sink.clone()).await?;
                let source = PostgresSource::new(source.clone());
                let mut pipeline = Box::new(Pipeline::new(source, sink, store));
                pipeline.stats = stats.clone();
                Ok(Opened::Postgres(pipeline))
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
            Self::Postgres(pipeline) => pipeline.run(control).await,
        }
    }
}
