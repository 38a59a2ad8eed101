//! What cannot happen unless somebody else writes to the target: counted, and said a few times a minute.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use stream_core::batch::{Batch, Entry};
use stream_core::change::Change;
use stream_core::lsn::Lsn;
use stream_core::relation::TableName;

use super::apply::Applier;
use super::careful::key_text;

const LINES_A_MINUTE: u32 = 10;

/// Counts the rows that were not as the source's changes expect them.
#[derive(Debug, Default)]
pub(super) struct Divergence {
    count: AtomicU64,
    said: Mutex<Option<(Instant, u32)>>,
}

impl Divergence {
    /// Counts one, and says so unless that was said too often lately.
    pub(super) fn found(&self, table: &TableName, key: &str, lsn: Lsn, what: &'static str) {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        if self.may_speak() {
            tracing::warn!(%table, key, %lsn, what, count, "the target differs from the source");
        }
    }

    /// Deletes of rows that were gone already.
    pub(super) fn missed_deletes(&self, applier: &Applier, batch: &Batch, entries: &[usize]) {
        for &at in entries {
            let Some(Entry::Change { change, .. }) = batch.entries.get(at) else { continue };
            let (relation, row) = match change {
                Change::Delete { relation, old } => (relation, old.tuple()),
                Change::Update { relation, new, .. } => (relation, new),
                _ => continue,
            };
            let Ok(plan) = applier.plan_of(relation) else { continue };
            let lsn = applier.transaction.map_or_else(Lsn::default, |t| t.commit_lsn);
            self.found(&relation.name, &key_text(&plan, row), lsn, "a deleted row was not there");
        }
    }

    /// Inserts of which a trigger or a rule of the target left rows out.
    pub(super) fn left_out(&self, applier: &Applier, batch: &Batch, inserts: &[(usize, u64)]) {
        for &(at, rows) in inserts {
            let Some(Entry::Change { change, .. }) = batch.entries.get(at) else { continue };
            let (Change::Read { relation, .. } | Change::Insert { relation, .. }) = change else {
                continue;
            };
            let lsn = applier.transaction.map_or_else(Lsn::default, |t| t.commit_lsn);
            self.left_out_at(&relation.name, rows, lsn);
        }
    }

    /// Counts `rows` that a trigger or a rule of the target left out, and says so unless that was said too often lately.
    pub(super) fn left_out_at(&self, table: &TableName, rows: u64, lsn: Lsn) {
        let count = self.count.fetch_add(rows, Ordering::Relaxed) + rows;
        if self.may_speak() {
            tracing::warn!(%table, rows, %lsn, count, "a trigger or rule of the target left inserted rows out");
        }
    }

    fn may_speak(&self) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match &mut *said {
            Some((since, lines)) if now.duration_since(*since) < Duration::from_secs(60) => {
                *lines += 1;
                *lines <= LINES_A_MINUTE
            }
            other => {
                *other = Some((now, 1));
                true
            }
        }
    }
}
