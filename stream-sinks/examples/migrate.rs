//! Streams one database into another: `migrate SOURCE_URL TARGET_URL NAME [complete]`.

use std::time::Duration;

use stream_core::filter::TableFilter;
use stream_core::pipeline::{Control, Pipeline};
use stream_core::postgres::publication::AutoCreate;
use stream_core::postgres::{ConnectOptions, PostgresSource, PostgresSourceOptions, SnapshotMode};
use stream_sinks::postgres::{PostgresSink, PostgresSinkOptions};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, source, target, name, rest @ ..] = arguments.as_slice() else {
        return Err("usage: migrate SOURCE_URL TARGET_URL NAME [complete]".into());
    };
    let connect: ConnectOptions = source.parse()?;
    let source = PostgresSource::new(PostgresSourceOptions {
        connect: connect.clone(),
        slot: name.clone(),
        publication: name.clone(),
        auto_create: AutoCreate::Filtered,
        remove_publication: true,
        remove_slot: true,
        filter: TableFilter::new(&[], &[])?,
        snapshot: SnapshotMode::Initial,
        readers: std::env::var("READERS").map_or(Ok(2), |n| n.parse())?,
        confirm_interval: Duration::from_secs(10),
        look_interval: Duration::from_secs(30),
    });
    let (sink, store) = PostgresSink::connect(PostgresSinkOptions {
        target: target.parse()?,
        source: connect,
        stream: name.clone(),
        import: None,
        index_jobs: 2,
    })
    .await?;
    let (control, commands) = mpsc::channel(1);
    if rest.iter().any(|word| word == "complete") {
        control.send(Control::Complete).await?;
    }
    let outcome = Pipeline::new(source, sink, store).run(commands).await?;
    println!("{outcome:?}");
    Ok(())
}
