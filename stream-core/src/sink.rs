//! The contract of a target.

use std::sync::Arc;

use futures_util::StreamExt;

use crate::batch::{Batch, Entry};
use crate::change::{Change, Tuple};
use crate::checkpoint::Checkpoint;
use crate::copy::{CopyFormat, Rows, TableCopy};
use crate::error::{Error, ErrorKind};
use crate::lsn::Lsn;
use crate::relation::Relation;
use crate::source::{Inspected, Snapshot};
use crate::table::Table;

/// Bytes of decoded rows that go to a sink at once.
const READ_BATCH_BYTES: usize = 1 << 20;

/// A target of changes. Only `write` must be written; the rest has a meaning to override.
pub trait Sink: Send + 'static {
    /// Makes the target ready for what the source has. `checkpoint` says which tables are complete.
    ///
    /// # Errors
    /// When the target cannot take the tables; nothing has been written then.
    fn prepare(
        &mut self,
        source: &Inspected,
        checkpoint: &Checkpoint,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        let _ = (source, checkpoint);
        async { Ok(()) }
    }

    /// Whether rows of a copy that was interrupted stay, because nothing empties the target. What has become of them since is delivered
    /// then, before they are copied again.
    fn keeps_copied_rows(&self) -> bool {
        false
    }

    /// Makes the snapshot's tables empty at the target, because their copy begins.
    ///
    /// # Errors
    /// When it could not be done.
    fn begin_copy(
        &mut self,
        snapshot: &Snapshot,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        let _ = snapshot;
        async { Ok(()) }
    }

    /// The form in which the sink wants a table's snapshot.
    fn copy_format(&self, table: &Table) -> CopyFormat {
        let _ = table;
        CopyFormat::Text
    }

    /// The form in which the sink wants the values of changes. Asked after the tables are ready.
    fn stream_format(&self) -> CopyFormat {
        CopyFormat::Text
    }

    /// Another sink for the same target that copies at the same time; `None` when one is enough.
    ///
    /// # Errors
    /// When the target cannot be reached.
    fn fork(&self) -> impl Future<Output = Result<Option<Self>, Error>> + Send
    where
        Self: Sized,
    {
        async { Ok(None) }
    }

    /// Writes a chunk of a snapshot; returns the number of rows. `Ok` means that it is durable; after an
    /// error none of it may be visible. The default decodes the rows and gives them to `write` as
    /// [`Change::Read`], for sinks to which the same row may come twice.
    ///
    /// # Errors
    /// When source or target fail.
    fn copy(&mut self, copy: TableCopy<'_>) -> impl Future<Output = Result<u64, Error>> + Send {
        copy_decoded(self, copy)
    }

    /// Every table has its snapshot. They were taken at different positions when a copy was interrupted: then
    /// the target is consistent once an ack has reached `consistent_at`; `None`: it is now.
    ///
    /// # Errors
    /// When the target cannot be finished.
    fn snapshot_completed(
        &mut self,
        consistent_at: Option<Lsn>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        let _ = consistent_at;
        async { Ok(()) }
    }

    /// Writes a batch; one without entries only moves the position. `Ok` means that all up to `batch.ack` is durable at the target, and all that belongs to
    /// no transaction; parts of a transaction whose end has not come are durable with its end. May see a
    /// batch again after a restart.
    ///
    /// # Errors
    /// When the target refuses it or cannot be reached. The stream then starts again from the checkpoint, or
    /// stops: the sink is not used any more.
    fn write(&mut self, batch: &Batch) -> impl Future<Output = Result<(), Error>> + Send;

    /// The stream is complete: nothing will follow.
    ///
    /// # Errors
    /// When the target cannot be finished.
    fn finish(&mut self) -> impl Future<Output = Result<(), Error>> + Send {
        async { Ok(()) }
    }
}

async fn copy_decoded<S: Sink + ?Sized>(
    sink: &mut S,
    mut copy: TableCopy<'_>,
) -> Result<u64, Error> {
    let relation = Arc::new(copy.table.relation());
    let is_placed = copy.format == CopyFormat::PlacedText;
    let columns = u16::try_from(relation.columns.len() + usize::from(is_placed))
        .map_err(|error| Error::new(ErrorKind::Permanent, error))?;
    let mut rows = Rows::new(columns);
    let mut batch = Batch::default();
    let mut bytes = 0;
    let mut count = 0;
    while let Some(piece) = copy.data.next().await {
        rows.push(&piece?.bytes);
        while let Some(mut new) = rows.next_row()? {
            if is_placed {
                new = new.split_first().1;
            }
            bytes += read(&mut batch, &relation, new);
            count += 1;
            if bytes >= READ_BATCH_BYTES {
                sink.write(&std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
        }
    }
    rows.finish()?;
    if !batch.entries.is_empty() {
        sink.write(&batch).await?;
    }
    Ok(count)
}

/// Adds a row to a batch; returns the bytes that it takes.
fn read(batch: &mut Batch, relation: &Arc<Relation>, new: Tuple) -> usize {
    let change = Change::Read { relation: Arc::clone(relation), new };
    let bytes = change.size_bytes();
    batch.entries.push(Entry::Change { ordinal: 0, lsn: Lsn::default(), change });
    bytes
}
