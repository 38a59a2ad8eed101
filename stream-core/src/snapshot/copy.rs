//! Copies a snapshot: several readers and writers, chunk by chunk.
//!
//! A chunk is data (table, range) and its result is a message, so nothing here needs to know where it is
//! copied. A table is recorded as complete when its last chunk is durable.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::checkpoint::{OffsetStore, TableSync};
use crate::copy::{Chunk, TableCopy};
use crate::error::{Error, ErrorKind};
use crate::failpoint::{Step, reached};
use crate::relation::TableName;
use crate::sink::Sink;

use crate::source::{ChunkReader, Snapshot, Source};
use crate::stats::{Stats, TableProgress};
use crate::table::Table;

/// Copies every table of `snapshot`, and records each as it is complete.
///
/// # Errors
/// The first failure of source, sink or store; the tables not recorded by then are to be copied again.
pub async fn run<S: Source, K: Sink, O: OffsetStore>(
    source: &mut S,
    sink: &mut K,
    offsets: &mut O,
    snapshot: &Snapshot,
    stats: &Stats,
) -> Result<(), Error> {
    let copying = snapshot.tables.iter().map(|table| {
        let relation = Some(table.id);
        (table.name.clone(), TableSync::Copying { lsn: snapshot.lsn, relation })
    });
    let copying: Vec<_> = copying.collect();
    offsets.save_tables(&copying).await?;
    sink.begin_copy(snapshot).await?;
    stats.update(|stats| {
        stats.tables.extend(snapshot.tables.iter().map(|table| {
            (table.name.clone(), TableProgress { source_bytes: table.bytes, ..Default::default() })
        }));
    });

    let (finished, mut done) = mpsc::channel(snapshot.readers.max(1));
    let queue = Arc::new(Queue::new(snapshot));
    let mut others = JoinSet::new();
    let wanted = snapshot.readers.min(snapshot.chunks.len());
    for _ in 1..wanted {
        let Some(mut sink) = sink.fork().await? else { break };
        let mut reader = source.reader().await?;
        let (queue, finished, stats) = (Arc::clone(&queue), finished.clone(), stats.clone());
        others.spawn(async move {
            copy_chunks(&mut reader, &mut sink, &queue, &finished, &stats).await
        });
    }
    let mut reader = source.reader().await?;
    let record = async {
        let mut left = chunks_per_table(snapshot);
        let tables: HashMap<_, _> =
            snapshot.tables.iter().map(|table| (&table.name, table)).collect();
        while let Some(table) = done.recv().await {
            let Some(count) = left.get_mut(&table) else { continue };
            *count -= 1;
            if *count == 0 {
                let synced = tables.get(&table).map(|table| TableSync::synced(table, snapshot.lsn));
                offsets.save_tables(&synced.unwrap_or_default()).await?;
                reached(Step::TableSaved);
                stats.update_table(&table, |progress| progress.done = true);
                left.remove(&table);
            }
        }
        Ok(left)
    };
    let copy = async {
        let own = async {
            copy_chunks(&mut reader, sink, &queue, &finished, stats).await?;
            drop(finished);
            Ok(())
        };
        let rest = async {
            while let Some(ended) = others.join_next().await {
                ended.map_err(|error| Error::new(ErrorKind::Permanent, error))??;
            }
            Ok(())
        };
        let ended = tokio::try_join!(own, rest);
        // After a failure the others may be in the middle of a chunk: the next run must not meet them.
        others.shutdown().await;
        Ok(ended)
    };
    // What is complete is recorded, whatever becomes of the rest.
    let ended = tokio::try_join!(copy, record);
    // Where nothing can be recorded, they are still at work.
    others.shutdown().await;
    let (ended, left) = ended?;
    ended?;
    match left.into_iter().next() {
        None => Ok(()),
        Some((table, count)) => Err(incomplete(&table, count)),
    }
}

/// The snapshot ended before every part of a table was copied. The table is not taken for complete, and is copied again.
///
/// Remedy: report it, and start the stream again.
fn incomplete(table: &TableName, count: usize) -> Error {
    Error::new(
        ErrorKind::Permanent,
        format!(
            "the snapshot ended, but table `{table}` is not complete, {count} parts are missing: the plan of its parts is wrong, \
             report it"
        ),
    )
}

/// Chunks that nobody has taken yet.
struct Queue {
    tables: HashMap<TableName, Arc<Table>>,
    chunks: Mutex<VecDeque<Chunk>>,
}

impl Queue {
    fn new(snapshot: &Snapshot) -> Self {
        let tables =
            snapshot.tables.iter().map(|table| (table.name.clone(), Arc::clone(table))).collect();
        Self { tables, chunks: Mutex::new(snapshot.chunks.iter().cloned().collect()) }
    }

    fn take(&self) -> Option<(Arc<Table>, Chunk)> {
        let chunk = self.chunks.lock().unwrap_or_else(PoisonError::into_inner).pop_front()?;
        let table = Arc::clone(self.tables.get(&chunk.table)?);
        Some((table, chunk))
    }
}

fn chunks_per_table(snapshot: &Snapshot) -> HashMap<TableName, usize> {
    let mut left: HashMap<_, _> =
        snapshot.tables.iter().map(|table| (table.name.clone(), 0)).collect();
    for chunk in &snapshot.chunks {
        *left.entry(chunk.table.clone()).or_insert(0) += 1;
    }
    left
}

async fn copy_chunks<R: ChunkReader, K: Sink>(
    reader: &mut R,
    sink: &mut K,
    queue: &Queue,
    finished: &mpsc::Sender<TableName>,
    stats: &Stats,
) -> Result<(), Error> {
    while let Some((table, chunk)) = queue.take() {
        let format = sink.copy_format(&table);
        let doing = || format!("cannot copy table `{}`", table.name);
        let data = reader.read(&table, &chunk, format).await.map_err(|e| e.context(doing()))?;
        let data = data.inspect(|piece| {
            if let Ok(piece) = piece {
                stats.update_table(&table.name, |progress| {
                    progress.bytes += u64::try_from(piece.bytes.len()).unwrap_or(0);
                    progress.rows += piece.rows;
                });
            }
        });
        let copy = TableCopy {
            table: Arc::clone(&table),
            chunk: chunk.clone(),
            format,
            data: Box::pin(data),
        };
        sink.copy(copy).await.map_err(|error| error.context(doing()))?;
        reached(Step::ChunkCommitted);
        if finished.send(table.name.clone()).await.is_err() {
            // The recorder failed; its error is the one that counts.
            return Ok(());
        }
    }
    Ok(())
}
