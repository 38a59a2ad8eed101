//! Applies batches to the target.
//!
//! ```text
//!  BEGIN; own the stream ─► changes, pipelined ─► all as expected? ─► position; COMMIT
//!                                                  │ no
//!                                                  └► ROLLBACK; the same changes one by one (careful)
//! ```
//!
//! Source transactions that share a batch share a target transaction, and a transaction that spans
//! batches spans one target transaction: with a savepoint before each part.

use std::collections::HashMap;
use std::sync::Arc;

use stream_core::batch::{Batch, Entry};
use stream_core::change::{Change, OldTuple, Transaction, Tuple, TupleData};
use stream_core::lsn::Lsn;
use stream_core::relation::{Relation, RelationId};
use stream_core::table::Identity;
use stream_core::{Error, ErrorKind};

use super::encode::{CopyRows, Form, form};
use super::error::{fenced, from_wire, refused};
use super::pipe::{Findings, Pipe, Purpose};
use super::plan::{Key, Plan};
use super::progress::Ownership;
use super::tables::Tables;

/// Fewer inserts than this in a row are not worth a `COPY`.
const COPY_ROWS: usize = 16;
/// Prepared statements that a session keeps.
const MAX_STATEMENTS: usize = 1_000;

/// Applies changes over one session.
pub(super) struct Applier {
    pub(super) pipe: Pipe,
    pub(super) tables: Arc<Tables>,
    ownership: Ownership,
    plans: HashMap<RelationId, Arc<Plan>>,
    statements: HashMap<(RelationId, Shape), String>,
    /// Names are never used twice, so that one left over from a failure is not met.
    names: u64,
    /// The transaction of the entry that is applied.
    pub(super) transaction: Option<Transaction>,
    /// Whether a target transaction is open, for a source transaction that spans batches.
    open: bool,
}

/// What makes two statements of a relation differ.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    Insert,
    InsertIfAbsent,
    /// Sets these columns of the relation; none of them: looks whether the row is there.
    Update(Vec<usize>),
    Delete,
}

impl Applier {
    pub(super) fn new(pipe: Pipe, tables: Arc<Tables>, ownership: Ownership) -> Self {
        Self {
            pipe,
            tables,
            ownership,
            plans: HashMap::new(),
            statements: HashMap::new(),
            names: 0,
            transaction: None,
            open: false,
        }
    }

    /// Applies a batch; with an ack, all up to it is durable when this returns.
    pub(super) async fn apply(&mut self, batch: &Batch) -> Result<(), Error> {
        self.plan(batch).await?;
        let before = self.transaction;
        self.begin().await?;
        self.send(batch).await?;
        let findings = self.pipe.finish().await.map_err(from_wire)?;
        if findings.fenced {
            return Err(fenced());
        }
        if findings.as_expected() {
            self.tables.divergence.missed_deletes(self, batch, &findings.missed_deletes);
        } else {
            self.give_up_on_retryable(&findings)?;
            self.transaction = before;
            self.roll_back().await?;
            self.apply_carefully(batch).await?;
        }
        match batch.ack {
            Some(position) => self.commit(position).await,
            None => {
                self.open = true;
                Ok(())
            }
        }
    }

    /// A deadlock, a lost server: the whole stream starts again, there is nothing to find out.
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
        if self.statements.len() > MAX_STATEMENTS {
            self.forget_statements()?;
        }
        if self.open {
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
            self.begin().await?;
        }
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
        let save = self.ownership.save_sql(position);
        self.pipe.query(&save, Purpose::Own, 0).map_err(from_wire)?;
        self.pipe.query("COMMIT", Purpose::Control, 0).map_err(from_wire)?;
        self.open = false;
        let findings = self.pipe.finish().await.map_err(from_wire)?;
        match findings.refused {
            Some((error, _)) => Err(refused("commit changes", &error)),
            None if findings.fenced => Err(fenced()),
            None => Ok(()),
        }
    }

    /// Makes sure that every relation of the batch has a plan.
    async fn plan(&mut self, batch: &Batch) -> Result<(), Error> {
        for entry in &batch.entries {
            let Entry::Change { change, .. } = entry else { continue };
            match change {
                Change::Read { relation, .. }
                | Change::Insert { relation, .. }
                | Change::Update { relation, .. }
                | Change::Delete { relation, .. } => self.plan_relation(relation).await?,
                Change::Truncate { .. } | Change::Message { .. } => {}
            }
        }
        Ok(())
    }

    async fn plan_relation(&mut self, relation: &Arc<Relation>) -> Result<(), Error> {
        let known = self.plans.get(&relation.id);
        if known.is_some_and(|plan| Arc::ptr_eq(&plan.relation, relation)) {
            return Ok(());
        }
        if known.is_some() {
            // The table was altered at the source; at the target too, if all is well.
            self.tables.refresh(&relation.name).await?;
            self.statements.retain(|(id, _), _| *id != relation.id);
        }
        let plan = self.tables.plan(relation)?;
        self.plans.insert(relation.id, Arc::new(plan));
        Ok(())
    }

    pub(super) fn plan_of(&self, relation: &Relation) -> Result<Arc<Plan>, Error> {
        self.plans.get(&relation.id).map(Arc::clone).ok_or_else(|| {
            Error::new(ErrorKind::Permanent, format!("table `{}` was not planned", relation.name))
        })
    }

    /// Sends the changes of a batch, without looking at what becomes of them.
    async fn send(&mut self, batch: &Batch) -> Result<(), Error> {
        let mut at = 0;
        while let Some(entry) = batch.entries.get(at) {
            let run = insert_run(batch.entries.get(at..).unwrap_or_default());
            if let Some(run) = run {
                self.send_run(batch.entries.get(at..at + run).unwrap_or_default(), at).await?;
                at += run;
                continue;
            }
            match entry {
                Entry::Begin(transaction) => self.transaction = Some(*transaction),
                Entry::Commit { .. } => {}
                Entry::Change { change, .. } => self.send_change(change, at)?,
            }
            self.pipe.send_when_much().await.map_err(from_wire)?;
            at += 1;
        }
        Ok(())
    }

    /// Sends a run of inserts into one table as a `COPY`.
    async fn send_run(&mut self, run: &[Entry], at: usize) -> Result<(), Error> {
        let mut copy: Option<(Arc<Plan>, CopyRows)> = None;
        for entry in run {
            let (relation, new) = match entry {
                Entry::Begin(transaction) => {
                    self.transaction = Some(*transaction);
                    continue;
                }
                Entry::Change { change: Change::Insert { relation, new }, .. } => (relation, new),
                _ => continue,
            };
            if copy.is_none() {
                let plan = self.plan_of(relation)?;
                let binary = form(new, Form::Text) == Form::Binary;
                check_binary(&plan, binary)?;
                let columns = i16::try_from(plan.written().count())
                    .map_err(|error| Error::new(ErrorKind::Permanent, error))?;
                self.pipe.begin_copy(&plan.copy_sql(binary), at).map_err(from_wire)?;
                let mut rows = CopyRows::new(binary, columns);
                self.pipe
                    .copy_rows(&mut rows, |rows, buffer| {
                        rows.begin(buffer);
                        Ok(())
                    })
                    .map_err(from_wire)?;
                copy = Some((plan, rows));
            }
            let Some((plan, rows)) = &mut copy else { continue };
            let written = plan.columns.iter().map(Option::is_some);
            self.pipe
                .copy_rows(rows, |rows, buffer| rows.row(new, written, buffer))
                .map_err(from_wire)?;
            self.pipe.send_rows_when_much(rows).await.map_err(from_wire)?;
        }
        if let Some((_, mut rows)) = copy {
            self.pipe
                .copy_rows(&mut rows, |rows, buffer| rows.finish(buffer))
                .map_err(from_wire)?;
        }
        Ok(())
    }

    pub(super) fn send_change(&mut self, change: &Change, at: usize) -> Result<(), Error> {
        match change {
            Change::Read { relation, new } | Change::Insert { relation, new } => {
                self.send_insert(relation, new, Shape::Insert, at)
            }
            Change::Update { relation, old, new } => {
                self.send_update(relation, old.as_ref(), new, at)
            }
            Change::Delete { relation, old } => self.send_delete(relation, old.tuple(), at),
            Change::Truncate { relations, restart_identity, .. } => {
                let sql = self.tables.truncate_sql(relations, *restart_identity)?;
                match sql {
                    Some(sql) => self.pipe.query(&sql, Purpose::Control, at).map_err(from_wire),
                    None => Ok(()),
                }
            }
            Change::Message { .. } => Ok(()),
        }
    }

    pub(super) fn send_insert(
        &mut self,
        relation: &Relation,
        new: &Tuple,
        shape: Shape,
        at: usize,
    ) -> Result<(), Error> {
        let plan = self.plan_of(relation)?;
        let values: Vec<_> = written_values(&plan, new).collect();
        self.execute(&plan, shape, &values, Purpose::Insert, at)
    }

    fn send_update(
        &mut self,
        relation: &Relation,
        old: Option<&OldTuple>,
        new: &Tuple,
        at: usize,
    ) -> Result<(), Error> {
        let plan = self.plan_of(relation)?;
        if old.is_some_and(|old| changes_identity_always(&plan, old.tuple(), new)) {
            self.send_delete(relation, old.map_or(new, OldTuple::tuple), at)?;
            return self.send_insert(relation, new, Shape::Insert, at);
        }
        let new_values: Vec<_> = new.iter().collect();
        let set: Vec<usize> = plan
            .written()
            .filter(|(at, column)| {
                column.identity != Identity::Always
                    && new_values.get(*at) != Some(&TupleData::UnchangedToast)
            })
            .map(|(at, _)| at)
            .collect();
        let mut values: Vec<_> = set.iter().filter_map(|&at| new_values.get(at).copied()).collect();
        let found_by = old.map_or(new, OldTuple::tuple);
        push_key(&plan, found_by, &mut values);
        self.execute(&plan, Shape::Update(set), &values, Purpose::Update, at)
    }

    fn send_delete(&mut self, relation: &Relation, old: &Tuple, at: usize) -> Result<(), Error> {
        let plan = self.plan_of(relation)?;
        let mut values = Vec::new();
        push_key(&plan, old, &mut values);
        self.execute(&plan, Shape::Delete, &values, Purpose::Delete, at)
    }

    fn execute(
        &mut self,
        plan: &Arc<Plan>,
        shape: Shape,
        values: &[TupleData<'_>],
        purpose: Purpose,
        at: usize,
    ) -> Result<(), Error> {
        let binary = values.iter().any(|value| matches!(value, TupleData::Binary(_)));
        check_binary(plan, binary)?;
        let key = (plan.relation.id, shape);
        if let Some(name) = self.statements.get(&key) {
            return self.pipe.execute(name, values.iter().copied(), purpose, at).map_err(from_wire);
        }
        let (sql, types) = statement(plan, &key.1);
        self.names += 1;
        let name = format!("s{}", self.names);
        self.pipe.prepare(&name, &sql, &types).map_err(from_wire)?;
        self.pipe.execute(&name, values.iter().copied(), purpose, at).map_err(from_wire)?;
        self.statements.insert(key, name);
        Ok(())
    }
}

/// The text of a statement and the types of its parameters.
fn statement(plan: &Plan, shape: &Shape) -> (String, Vec<u32>) {
    let written = || plan.written().map(|(at, _)| at);
    match shape {
        Shape::Insert => (plan.insert_sql(), plan.types(written())),
        Shape::InsertIfAbsent => (plan.insert_if_absent_sql(), plan.types(written())),
        Shape::Update(set) if set.is_empty() => {
            (plan.exists_sql(&plan.key), plan.types(plan.key_columns(&plan.key)))
        }
        Shape::Update(set) => {
            let parameters = set.iter().copied().chain(plan.key_columns(&plan.key));
            (plan.update_sql(set, &plan.key), plan.types(parameters))
        }
        Shape::Delete => (plan.delete_sql(&plan.key), plan.types(plan.key_columns(&plan.key))),
    }
}

/// How many entries from the front are inserts into one table, enough for a `COPY`; `None` otherwise.
fn insert_run(entries: &[Entry]) -> Option<usize> {
    let Some(Entry::Change { change: Change::Insert { relation, new }, .. }) = entries.first()
    else {
        return None;
    };
    let shape = form(new, Form::Text);
    if shape == Form::Mixed {
        return None;
    }
    let (mut rows, mut end) = (0, 0);
    for (at, entry) in entries.iter().enumerate() {
        match entry {
            Entry::Begin(_) | Entry::Commit { .. } => {}
            Entry::Change { change: Change::Insert { relation: other, new }, .. }
                if Arc::ptr_eq(relation, other) && form(new, shape) == shape =>
            {
                rows += 1;
                end = at + 1;
            }
            Entry::Change { .. } => break,
        }
    }
    (rows >= COPY_ROWS).then_some(end)
}

fn check_binary(plan: &Plan, binary: bool) -> Result<(), Error> {
    if binary && !plan.takes_binary {
        return Err(Error::new(
            ErrorKind::Transient,
            format!(
                "a column of `{}` has another type at the target than at the source: starting again with \
                 values in text form",
                plan.relation.name
            ),
        ));
    }
    Ok(())
}

fn written_values<'a>(plan: &'a Plan, tuple: &'a Tuple) -> impl Iterator<Item = TupleData<'a>> {
    tuple.iter().zip(&plan.columns).filter_map(|(data, column)| column.is_some().then_some(data))
}

/// Appends the values by which a row is found.
fn push_key<'a>(plan: &Plan, found_by: &'a Tuple, values: &mut Vec<TupleData<'a>>) {
    match &plan.key {
        Key::Columns(columns) => {
            values.extend(columns.iter().filter_map(|&at| found_by.get(at)));
        }
        Key::Image => values.extend(
            found_by
                .iter()
                .zip(&plan.columns)
                .filter_map(|(data, column)| column.is_some().then_some(data)),
        ),
        Key::Nothing => {}
    }
}

/// Whether a GENERATED ALWAYS identity column gets another value, which no UPDATE can give it.
fn changes_identity_always(plan: &Plan, old: &Tuple, new: &Tuple) -> bool {
    plan.columns.iter().zip(old.iter().zip(new)).any(|(column, (old, new))| {
        column.as_ref().is_some_and(|column| column.identity == Identity::Always)
            && old != TupleData::Null
            && new != TupleData::UnchangedToast
            && old != new
    })
}
