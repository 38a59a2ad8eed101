//! Looks a source over for a person, before anything is made.
//!
//! In: what a stream is to be, and how far it is. Out: all that stands in its way or may surprise, at once, and what would be
//! captured. The session is read-only: nothing is changed, and nothing is waited for.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use serde::Deserialize;

use super::blocker::blockers;
use super::capture::{Captured, capture};
use super::catalog::read_tables;
use super::look::{self, Look, System};
use super::measure::measure;
use super::publication_outlook::outlook;
use super::query::json_rows;
use super::slot::{self, drop_sql};
use super::slot_problem::SlotProblem;
use super::source_problem::SourceProblem;
use super::{PostgresSourceOptions, SqlClient, problem, type_problem};
use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::finding::Finding;
use crate::relation::RelationId;
use crate::source::Inspected;

/// Nobody waits longer behind another session's lock on a table.
const READ_ONLY: &str = "SET default_transaction_read_only = on; SET lock_timeout = '5s'";
/// A transaction that ran so long may run on.
const LONG: Duration = Duration::from_secs(60);

/// What a source is like.
#[derive(Clone, Debug)]
pub struct Survey {
    /// What a person should know, in the order in which it was asked for.
    pub findings: Vec<Finding>,
    /// What would be captured.
    pub captured: Captured,
    /// About how many rows the captured tables have, where the server has an idea.
    pub rows: HashMap<RelationId, u64>,
    /// The same in the engine's words, for the look at the target.
    pub inspected: Inspected,
}

/// Looks a source over.
///
/// # Errors
/// When no session can be opened, or the catalogue cannot be read. All else is a finding.
///
/// # Cancel safety
/// Nothing is changed.
pub async fn survey(
    options: &PostgresSourceOptions,
    checkpoint: &Checkpoint,
) -> Result<Survey, Error> {
    let client = SqlClient::connect(&options.connect).await.map_err(problem::from_connect)?;
    client.batch_execute(READ_ONLY).await.map_err(|source| {
        problem::from_query(super::query::QueryError::Failed { what: "begin to look", source })
    })?;
    let looked_at = slot::server_position(&client).await.map_err(problem::from_query)?;
    let catalog = read_tables(&client).await.map_err(problem::from_query)?;
    let mut captured = capture(&catalog, &options.filter);
    let mut findings = Vec::new();
    if let Err(error) = measure(&client, &mut captured).await {
        findings.push(Finding::warning(format!("{error}: sizes are those of the last VACUUM")));
    }
    let rows = estimate(&client, &captured).await?;
    let Look { log, tables, types, publication, problems } =
        look::look(&client, options, &captured, looked_at).await?;

    let can_replicate = !problems.iter().any(keeps_replication_out);
    findings.extend(problems.iter().map(from_problem));
    let mut system = System::default();
    if can_replicate {
        match look::system(&options.connect, checkpoint).await {
            Ok(found) => system = found,
            Err(error) => findings.push(error.context("replication connection").into()),
        }
    }
    let (slot, slot_problem) = look::slot(&client, options, checkpoint, &system).await?;
    // Whatever the slot has still to give was written without a publication, and one that is made now does not count for it.
    let slot_problem = slot_problem.or_else(|| {
        (slot.is_some() && publication.is_none()).then(|| SlotProblem::Unpublished {
            slot: options.slot.clone(),
            publication: options.publication.clone(),
            drop: drop_sql(&options.slot),
        })
    });
    findings.extend(slot_problem.map(from_slot));
    findings.extend(outlook(&client, options, &captured, publication.as_ref()).await?);
    if slot.is_none() {
        findings.extend(holding_up(&client).await?);
    }
    findings.extend(type_problem::problems(&captured));
    findings.extend(about_the_choice(options, &captured));
    client.close().await;

    let inspected = Inspected {
        identity: system.identity(&options.slot),
        unlogged: BTreeSet::new(),
        to_copy: super::tables::to_copy(options.snapshot, &tables, checkpoint),
        partitioned: captured.partitioned.iter().map(|root| root.name.clone()).collect(),
        parts: log.parts,
        filter: options.filter.clone(),
        tables,
        types,
    };
    Ok(Survey { findings, captured, rows, inspected })
}

/// Whether the login of a replication connection would only fail for the same reason.
const fn keeps_replication_out(problem: &SourceProblem) -> bool {
    matches!(
        problem,
        SourceProblem::NoReplicationRight { .. }
            | SourceProblem::NoFreeSender { .. }
            | SourceProblem::ServerTooOld { .. }
    )
}

fn from_problem(problem: &SourceProblem) -> Finding {
    if problem.is_blocking() { Finding::blocking(problem) } else { Finding::warning(problem) }
}

fn from_slot(problem: SlotProblem) -> Finding {
    // A stream that runs already uses its slot.
    if problem.is_retryable() { Finding::warning(problem) } else { Finding::blocking(problem) }
}

/// What of `includes` and `excludes` does not come as somebody may expect.
fn about_the_choice(options: &PostgresSourceOptions, captured: &Captured) -> Vec<Finding> {
    let left_out = captured.left_out.iter().map(Finding::warning);
    let unmatched = captured.unmatched.iter().map(|unmatched| {
        Finding::warning(format!("{unmatched}: correct its spelling, or remove it"))
    });
    let nothing = captured.all().next().is_none().then(|| {
        let database = &options.connect.database;
        Finding::blocking(format!(
            "database `{database}` has no table to capture: create it, or correct `includes` and `excludes`"
        ))
    });
    left_out.chain(unmatched).chain(nothing).collect()
}

/// Old transactions, which the creation of a slot waits for.
async fn holding_up(client: &SqlClient) -> Result<Vec<Finding>, Error> {
    // No process is number 0: every transaction that has written something counts.
    let all = blockers(client, 0).await.map_err(problem::from_query)?;
    let old = all.iter().filter(|blocker| blocker.age.is_none_or(|age| age >= LONG));
    Ok(old
        .map(|blocker| {
            Finding::warning(format!(
                "the stream cannot begin before an old transaction ends: {blocker}; commit it, or end its session"
            ))
        })
        .collect())
}

/// About how many rows the tables have: what the last ANALYZE found, in proportion to the pages of now; else what was counted
/// since the server's statistics began.
async fn estimate(
    client: &SqlClient,
    captured: &Captured,
) -> Result<HashMap<RelationId, u64>, Error> {
    #[derive(Deserialize)]
    struct Row {
        id: u32,
        density: Option<f64>,
        counted: Option<u64>,
    }
    let ids: Vec<u32> = captured.tables.iter().map(|table| table.id.0).collect();
    let sql = "SELECT row_to_json(t)::text FROM (
         SELECT c.oid::bigint AS id, pg_stat_get_live_tuples(c.oid) AS counted,
                CASE WHEN c.reltuples >= 0 AND c.relpages > 0 THEN c.reltuples / c.relpages END::float8 AS density
           FROM pg_class c WHERE c.oid = ANY ($1::oid[])) t";
    let rows: Vec<Row> = json_rows(client, "estimate the number of rows", sql, &[&ids])
        .await
        .map_err(problem::from_query)?;
    let rows: HashMap<u32, Row> = rows.into_iter().map(|row| (row.id, row)).collect();
    let estimated = captured.tables.iter().filter_map(|table| {
        let row = rows.get(&table.id.0)?;
        let by_pages = row.density.map(|density| whole(density * f64::from(table.pages)));
        Some((table.id, by_pages.or(row.counted)?))
    });
    Ok(estimated.collect())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate: what is too large becomes the largest number, what is no number becomes 0"
)]
fn whole(rows: f64) -> u64 {
    rows.round() as u64
}
