//! Prints the rows of `public.orders`, and from then on every change: `embed URL`, until Ctrl-C.

use stream_core::batch::{Batch, Entry};
use stream_core::change::{Change, TupleData};
use stream_core::filter::TableFilter;
use stream_core::postgres::{PostgresSource, PostgresSourceOptions};
use stream_core::{Control, Error, MemoryStore, Outcome, Pipeline, Sink};
use tokio::sync::mpsc;

/// Calls a function with each change. A sink has to write; the rest of the trait has defaults.
struct Each<F>(F);

impl<F: FnMut(String) + Send + 'static> Sink for Each<F> {
    async fn write(&mut self, batch: &Batch) -> Result<(), Error> {
        for entry in &batch.entries {
            let Entry::Change { change, .. } = entry else { continue };
            let (what, row) = match change {
                Change::Read { new, .. } => ("read", new),
                Change::Insert { new, .. } => ("insert", new),
                Change::Update { new, .. } => ("update", new),
                Change::Delete { old, .. } => ("delete", old.tuple()),
                Change::Truncate { .. } | Change::Message { .. } => continue,
            };
            let text = |value| match value {
                TupleData::Text(text) => String::from_utf8_lossy(text).into_owned(),
                other => format!("{other:?}"),
            };
            let values: Vec<_> = row.iter().map(text).collect();
            (self.0)(format!("{what} {}", values.join(" ")));
        }
        Ok(())
    }
}

type AnyError = Box<dyn std::error::Error>;

/// Streams into `each` until it is told to end.
pub(crate) async fn stream(
    url: &str,
    each: impl FnMut(String) + Send + 'static,
    control: mpsc::Receiver<Control>,
) -> Result<Outcome, AnyError> {
    let mut options = PostgresSourceOptions::new(url.parse()?, "embed");
    options.filter = TableFilter::new(&["public\\.orders".to_owned()], &[])?;
    let source = PostgresSource::new(options);
    Ok(Pipeline::new(source, Each(each), MemoryStore::default()).run(control).await?)
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let url = std::env::args().nth(1).ok_or("usage: embed URL")?;
    let (control, commands) = mpsc::channel(1);
    let stop = async {
        tokio::signal::ctrl_c().await?;
        Ok(control.send(Control::Stop).await?)
    };
    tokio::try_join!(stream(&url, |line| println!("{line}"), commands), stop)?;
    Ok(())
}
