//! Takes away what a stream has made at its source.

use super::{PostgresSourceOptions, SqlClient, problem, publication, slot};
use crate::error::Error;
use crate::sql::Ident;

/// Drops slot and publication, as far as they are to go.
pub(super) async fn remove(
    client: &SqlClient,
    options: &PostgresSourceOptions,
) -> Result<(), Error> {
    if options.remove_slot {
        slot::drop_released(client, &options.slot).await.map_err(problem::from_query)?;
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
