//! What a stream waits for a person to do: a table to capture, a publication by its owner.
//!
//! Each wait is said once, with its remedy, and ends by itself when the thing was done.

use std::time::Duration;

use super::capture::{Captured, capture};
use super::catalog::read_tables;
use super::measure::measure;
use super::publication::{self, Ensured, PublicationError};
use super::{PostgresSourceOptions, SqlClient, problem, slot, tables};
use crate::error::Error;
use crate::lsn::Lsn;
use crate::stats::Stats;

/// How often something that a person must do is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Reads the catalogue until there is something to capture; tells where the log stood just before.
pub(super) async fn for_tables(
    client: &SqlClient,
    options: &PostgresSourceOptions,
    stats: &Stats,
) -> Result<(Lsn, Captured), Error> {
    let mut waiting = Waiting::new(stats);
    loop {
        let position = slot::server_position(client).await.map_err(problem::from_query)?;
        let catalog = read_tables(client).await.map_err(problem::from_query)?;
        let mut captured = capture(&catalog, &options.filter);
        if !captured.tables.is_empty() || !captured.partitioned.is_empty() {
            measure(client, &mut captured).await.map_err(problem::from_query)?;
            return Ok((position, captured));
        }
        let unmatched: Vec<_> = captured.unmatched.iter().map(ToString::to_string).collect();
        waiting
            .say(format!(
                "database `{}` has no table to capture{}{}: waiting until there is one; create it, or stop and \
                 correct `includes` and `excludes`",
                options.connect.database,
                if unmatched.is_empty() { "" } else { "; " },
                unmatched.join("; ")
            ))
            .await;
    }
}

/// Makes the publication hold the captured tables, waiting for its owner where that is needed; gives it as it stands then, with what was done.
pub(super) async fn for_publication(
    client: &SqlClient,
    options: &PostgresSourceOptions,
    captured: &Captured,
    stats: &Stats,
) -> Result<Ensured, Error> {
    let mut waiting = Waiting::new(stats);
    loop {
        let name = &options.publication;
        let via_root = options.via_partition_root;
        match publication::ensure(client, name, captured, via_root, options.auto_create).await {
            Ok(ensured) => {
                tables::check_publication(&ensured)?;
                return Ok(ensured);
            }
            Err(PublicationError::Query { source, .. }) => return Err(problem::from_query(source)),
            Err(PublicationError::Refused { source, .. }) => {
                return Err(problem::from_change(source));
            }
            Err(error) => waiting.say(error.to_string()).await,
        }
    }
}

/// Tells what is waited for, in the log and the numbers, until it is dropped.
struct Waiting<'a> {
    stats: &'a Stats,
    said: String,
}

impl<'a> Waiting<'a> {
    const fn new(stats: &'a Stats) -> Self {
        Self { stats, said: String::new() }
    }

    /// Says what is waited for, unless it was said last, and waits a little.
    async fn say(&mut self, waiting: String) {
        if waiting != self.said {
            tracing::warn!("{waiting}");
            self.stats.update(|stats| stats.waiting_for = Some(waiting.clone()));
            self.said = waiting;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.said.is_empty() {
            self.stats.update(|stats| stats.waiting_for = None);
        }
    }
}
