//! Takes away what a stream has made at its source.

use super::{PostgresSourceOptions, SqlClient, problem, publication, slot};
use crate::error::{Error, ErrorKind};
use crate::lsn::Lsn;
use crate::sql::Ident;

/// Drops slot and publication, as far as they are to go, unless the slot is not the one of which all up to `delivered` was delivered.
pub(super) async fn remove(
    client: &SqlClient,
    options: &PostgresSourceOptions,
    delivered: Lsn,
) -> Result<(), Error> {
    if options.remove_slot {
        let name = &options.slot;
        slot::drop_released(client, name, delivered).await.map_err(problem::from_query)?;
        if let Some(slot) = slot::state(client, name).await.map_err(problem::from_query)? {
            return Err(another(name, slot.confirmed_flush.unwrap_or_default(), delivered));
        }
    }
    if options.remove_publication {
        let name = &options.publication;
        match publication::drop(client, name).await {
            Err(error) if error.is_of_standby() => tracing::warn!(
                statement = format!("DROP PUBLICATION {}", Ident(name)),
                "the publication stays, because the source is a standby: drop it on the primary"
            ),
            dropped => dropped.map_err(problem::from_query)?,
        }
    }
    Ok(())
}

/// The stream is delivered, and the slot of its name is not the one that it read: that was dropped while this worker was away, and another made,
/// most likely because the stream was begun anew. Slot and publication stay.
///
/// Remedy: nothing, if the stream was begun anew. If nobody needs the slot, run the statement of the message, and start the stream again.
fn another(slot: &str, confirmed: Lsn, delivered: Lsn) -> Error {
    Error::new(
        ErrorKind::Fenced,
        format!(
            "replication slot `{slot}` stands at {confirmed}, beyond {delivered}, to where this stream was delivered: it was made since, \
             and stays, and so does the publication; if nobody needs it, run `{}` at the source",
            slot::drop_sql(slot)
        ),
    )
}
