//! Streams one database into another: `migrate SOURCE_URL TARGET_URL NAME [complete]`.

use stream_core::postgres::{ConnectOptions, PostgresSource, PostgresSourceOptions};
use stream_core::{Control, Pipeline};
use stream_sinks::postgres::{Claim, PostgresSink, PostgresSinkOptions};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, source, target, name, rest @ ..] = arguments.as_slice() else {
        return Err("usage: migrate SOURCE_URL TARGET_URL NAME [complete]".into());
    };
    let source: ConnectOptions = source.parse()?;
    let options = PostgresSinkOptions {
        target: target.parse()?,
        source: source.clone(),
        stream: name.clone(),
        import: None,
        index_jobs: 2,
    };
    let (sink, store) = PostgresSink::connect(options, &mut Claim::default()).await?;
    let source = PostgresSource::new(PostgresSourceOptions::new(source, name));
    let (control, commands) = mpsc::channel(1);
    if rest.iter().any(|word| word == "complete") {
        control.send(Control::Complete).await?;
    }
    println!("{:?}", Box::pin(Pipeline::new(source, sink, store).run(commands)).await?);
    Ok(())
}
