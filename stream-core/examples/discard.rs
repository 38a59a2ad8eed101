//! Reads a database's changes as a stream does, and throws them away:
//! `discard URL SLOT PUBLICATION`. Ends where the log ended when it began.
//!
//! What is left of a stream's time when the target costs nothing: `cargo xtask bench decode` holds it
//! against `pg_recvlogical`.

use stream_core::Error;
use stream_core::batch::Batch;
use stream_core::checkpoint::MemoryStore;
use stream_core::copy::CopyFormat;
use stream_core::pipeline::{Control, Pipeline};
use stream_core::postgres::publication::AutoCreate;
use stream_core::postgres::{PostgresSource, PostgresSourceOptions, SnapshotMode};
use stream_core::sink::Sink;
use tokio::sync::mpsc;

/// A target that takes everything and keeps nothing.
struct Discard;

impl Sink for Discard {
    fn stream_format(&self) -> CopyFormat {
        CopyFormat::Binary
    }

    async fn write(&mut self, _batch: &Batch) -> Result<(), Error> {
        Ok(())
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, url, slot, publication] = arguments.as_slice() else {
        return Err("usage: discard URL SLOT PUBLICATION".into());
    };
    let mut options = PostgresSourceOptions::new(url.parse()?, slot);
    options.publication.clone_from(publication);
    options.auto_create = AutoCreate::Disabled;
    options.snapshot = SnapshotMode::Never;
    options.remove_publication = false;
    options.remove_slot = false;
    let source = PostgresSource::new(options);
    let (control, commands) = mpsc::channel(1);
    control.send(Control::Complete).await?;
    Pipeline::new(source, Discard, MemoryStore::default()).run(commands).await?;
    Ok(())
}
