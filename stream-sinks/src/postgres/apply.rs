//! Applies batches to the target.
//!
//! ```text
//!  BEGIN; own the stream ─► changes, pipelined ─► all as expected? ─► position; COMMIT
//!                                                  │ no
//!                                                  └► ROLLBACK; the same changes one by one (careful)
//! ```
//!
//! Within a batch, changes are grouped (see `steps`): readers of the target see them all at once or not at all.
//! Source transactions that share a batch share a target transaction, and a transaction that spans
//! batches spans one target transaction: with a savepoint before each part. One by one, each has its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use stream_core::batch::{Batch, Entry};
use stream_core::change::{Change, Transaction};
use stream_core::failpoint::{Step, reached};
use stream_core::lsn::Lsn;
use stream_core::postgres::ServerError;
use stream_core::relation::{Relation, RelationId};
use stream_core::{Error, ErrorKind};

use super::error::{altered, fenced, from_wire, refused, unprepared};
use super::pipe::{Findings, Pipe, Purpose};
use super::plan::Plan;
use super::progress::Ownership;
use super::statements::Statements;
use super::tables::Tables;

/// Applies changes over one session.
pub(super) struct Applier {
    pub(super) pipe: Pipe,
    pub(super) tables: Arc<Tables>,
    ownership: Ownership,
    /// Of each table the last one, and those of the batch: a table may be altered within it, and each row has the columns of its time.
    pub(super) plans: HashMap<RelationId, Vec<Arc<Plan>>>,
    /// By number, the plans of what the open transaction writes.
    written: BTreeMap<u64, Arc<Plan>>,
    /// Plans made so far.
    planned: u64,
    /// Whether changes of different tables may be reordered within a transaction: no trigger fires and no
    /// foreign key is checked.
    pub(super) independent: bool,
    pub(super) statements: Statements,
    /// The transaction of the entry that is applied.
    pub(super) transaction: Option<Transaction>,
    /// Whether a target transaction is open, for a source transaction that spans batches.
    open: bool,
    /// Whether the open transaction has a savepoint.
    savepoint: bool,
}

impl Applier {
    pub(super) fn new(
        pipe: Pipe,
        tables: Arc<Tables>,
        ownership: Ownership,
        independent: bool,
    ) -> Self {
        Self {
            independent,
            pipe,
            tables,
            ownership,
            plans: HashMap::new(),
            written: BTreeMap::new(),
            planned: 0,
            statements: Statements::default(),
            transaction: None,
            open: false,
            savepoint: false,
        }
    }

    /// Applies a batch; with an ack, all up to it is durable when this returns.
    pub(super) async fn apply(&mut self, batch: &Batch) -> Result<(), Error> {
        self.plan(batch).await?;
        let before = self.transaction;
        let has_earlier_parts = self.open;
        self.begin().await?;
        self.send(batch).await?;
        self.ask_for_types()?;
        let findings = self.pipe.finish().await.map_err(from_wire)?;
        if findings.fenced {
            return Err(fenced());
        }
        if let Some(entry) = findings.altered {
            return Err(self.altered(entry));
        }
        let together = findings.as_expected();
        if together {
            self.tables.divergence.missed_deletes(self, batch, &findings.missed_deletes);
            self.tables.divergence.left_out(self, batch, &findings.left_out);
        } else {
            self.give_up_on_retryable(&findings)?;
            let reason = findings.refused.as_ref().map(|(error, _)| error.to_string());
            tracing::warn!(
                reason = reason.unwrap_or_else(|| "a changed row is missing".to_owned()),
                changes = batch.changes(),
                "changes did not go through together: applying them one by one"
            );
            self.transaction = before;
            self.roll_back().await?;
            // What was refused may have been sent in a form that the target has no column for any more.
            self.assert_unaltered().await?;
            self.apply_carefully(batch).await?;
        }
        reached(Step::Applied);
        let Some(position) = batch.ack else {
            self.open = true;
            return Ok(());
        };
        match self.try_commit(position).await? {
            None => Ok(()),
            // Which of the transactions it was, those before it are not to blame for.
            Some(error) if together && !has_earlier_parts && !error.is_retryable() => {
                tracing::warn!(%error, "transactions were refused at their common commit: committing them one by one");
                self.transaction = before;
                self.forget_statements()?;
                self.begin_owned().await?;
                self.apply_carefully(batch).await?;
                self.commit(position).await
            }
            Some(error) => Err(self.refused_at_commit(&error)),
        }
    }

    /// The target could not apply changes for the moment: a deadlock, a full disk, a server that stops. Nothing of the batch was written.
    ///
    /// Remedy: nothing, unless it comes often: then see who else writes to the target's tables, and its log.
    fn give_up_on_retryable(&self, findings: &Findings) -> Result<(), Error> {
        match &findings.refused {
            Some((error, _)) if error.is_retryable() => Err(Error::new(
                ErrorKind::Transient,
                format!("the target could not apply changes now: {error}"),
            )),
            _ => Ok(()),
        }
    }

    async fn begin(&mut self) -> Result<(), Error> {
        if self.statements.are_many() {
            self.forget_statements()?;
        }
        if self.open {
            // Released before the next one: savepoints that pile up make every row dearer.
            if std::mem::replace(&mut self.savepoint, true) {
                self.pipe
                    .query("RELEASE SAVEPOINT part", Purpose::Control, 0)
                    .map_err(from_wire)?;
            }
            return self.pipe.query("SAVEPOINT part", Purpose::Control, 0).map_err(from_wire);
        }
        self.pipe.query("BEGIN", Purpose::Control, 0).map_err(from_wire)?;
        self.pipe.query(&self.ownership.lock_sql(), Purpose::Own, 0).map_err(from_wire)
    }

    /// Back to before the batch, to apply it again.
    async fn roll_back(&mut self) -> Result<(), Error> {
        if self.open {
            self.pipe
                .query("ROLLBACK TO SAVEPOINT part", Purpose::Control, 0)
                .map_err(from_wire)?;
            self.forget_statements()?;
        } else {
            self.pipe.query("ROLLBACK", Purpose::Control, 0).map_err(from_wire)?;
            self.forget_statements()?;
            return self.begin_owned().await;
        }
        self.begun().await
    }

    /// As [`Self::begin`], and sees whose the stream is: between the last commit and this another worker may have taken it, and what is found
    /// with the first change, one by one, is too late.
    async fn begin_owned(&mut self) -> Result<(), Error> {
        self.begin().await?;
        self.begun().await
    }

    async fn begun(&mut self) -> Result<(), Error> {
        let findings = self.pipe.finish().await.map_err(from_wire)?;
        match findings.refused {
            Some((error, _)) => Err(refused("start the changes again", &error)),
            None if findings.fenced => Err(fenced()),
            None => Ok(()),
        }
    }

    /// Prepared statements may be missing after a failure: all are made anew.
    fn forget_statements(&mut self) -> Result<(), Error> {
        self.statements.clear();
        self.pipe.query("DEALLOCATE ALL", Purpose::Control, 0).map_err(from_wire)
    }

    async fn commit(&mut self, position: Lsn) -> Result<(), Error> {
        let refused = self.try_commit(position).await?;
        refused.map_or(Ok(()), |error| Err(self.refused_at_commit(&error)))
    }

    /// Commits what is open, with the position; why it was refused, if it was: nothing of it is there then.
    async fn try_commit(&mut self, position: Lsn) -> Result<Option<ServerError>, Error> {
        let save = self.ownership.save_sql(position);
        self.pipe.query(&save, Purpose::Own, 0).map_err(from_wire)?;
        self.pipe.query("COMMIT", Purpose::Control, 0).map_err(from_wire)?;
        self.open = false;
        self.savepoint = false;
        let findings = self.pipe.finish().await.map_err(from_wire)?;
        if findings.fenced {
            return Err(fenced());
        }
        let refused = findings.refused.map(|(error, _)| error);
        if refused.is_none() {
            // What was refused is written again, and its tables may have been altered since.
            self.written.clear();
        }
        Ok(refused)
    }

    /// Asks whether the columns at the target are still what the plans say of them. From a table's first change to the transaction's end nobody can
    /// alter it.
    fn ask_for_types(&mut self) -> Result<(), Error> {
        for plan in self.written.values() {
            let Some(sql) = &plan.unaltered_sql else { continue };
            let number = usize::try_from(plan.number).unwrap_or_default();
            self.pipe.query(sql, Purpose::Unaltered, number).map_err(from_wire)?;
        }
        Ok(())
    }

    fn altered(&self, plan: usize) -> Error {
        let number = u64::try_from(plan).unwrap_or_default();
        self.written.get(&number).map_or_else(unprepared, |plan| altered(&plan.table.name))
    }

    /// Commits within a batch. Nothing waits for the disk: the position is committed along, and told to nobody before the batch's own commit.
    pub(super) async fn commit_and_go_on(&mut self, position: Lsn) -> Result<(), Error> {
        self.assert_unaltered().await?;
        self.pipe
            .query("SET LOCAL synchronous_commit = off", Purpose::Control, 0)
            .map_err(from_wire)?;
        // What the rest of the batch writes is in the next transaction.
        let written = self.written.clone();
        self.commit(position).await?;
        self.written = written;
        self.begin_owned().await
    }

    /// As [`Self::ask_for_types`], and waits for the answer.
    pub(super) async fn assert_unaltered(&mut self) -> Result<(), Error> {
        self.ask_for_types()?;
        let findings = self.pipe.finish().await.map_err(from_wire)?;
        findings.altered.map_or(Ok(()), |plan| Err(self.altered(plan)))
    }

    /// Makes sure that every relation of the batch has a plan.
    async fn plan(&mut self, batch: &Batch) -> Result<(), Error> {
        for plans in self.plans.values_mut() {
            let older = plans.len().saturating_sub(1);
            for plan in plans.drain(..older) {
                self.statements.forget_plan(plan.number);
            }
        }
        let mut transaction = self.transaction;
        for entry in &batch.entries {
            let change = match entry {
                Entry::Begin(begun) => {
                    transaction = Some(*begun);
                    continue;
                }
                Entry::Commit { .. } => continue,
                Entry::Change { change, .. } => change,
            };
            match change {
                Change::Read { relation, .. }
                | Change::Insert { relation, .. }
                | Change::Update { relation, .. }
                | Change::Delete { relation, .. } => {
                    let commit = transaction.map(|transaction| transaction.commit_lsn);
                    self.plan_relation(relation, commit.unwrap_or_default()).await?;
                }
                Change::Truncate { .. } | Change::Message { .. } => {}
            }
        }
        Ok(())
    }

    async fn plan_relation(&mut self, relation: &Arc<Relation>, commit: Lsn) -> Result<(), Error> {
        if let Some(plan) = plan_among(&self.plans, relation) {
            self.written.entry(plan.number).or_insert_with(|| Arc::clone(plan));
            return Ok(());
        }
        // The table may have been altered since the start, before its first change even; at the target too, if
        // all is well.
        self.tables.refresh(&relation.name).await?;
        let mut plan = self.tables.plan(relation, commit).await?;
        self.planned += 1;
        plan.number = self.planned;
        let plan = Arc::new(plan);
        self.written.insert(plan.number, Arc::clone(&plan));
        self.plans.entry(relation.id).or_default().push(plan);
        Ok(())
    }

    pub(super) fn plan_of(&self, relation: &Relation) -> Result<Arc<Plan>, Error> {
        plan_among(&self.plans, relation).map(Arc::clone).ok_or_else(|| {
            tracing::error!(table = %relation.name, "not planned");
            unprepared()
        })
    }
}

/// The plan of just this description of a table.
pub(super) fn plan_among<'a>(
    plans: &'a HashMap<RelationId, Vec<Arc<Plan>>>,
    relation: &Relation,
) -> Option<&'a Arc<Plan>> {
    plans.get(&relation.id)?.iter().find(|plan| std::ptr::eq(&*plan.relation, relation))
}
