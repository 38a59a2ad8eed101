//! Sends the steps of a batch.

use std::sync::Arc;

use stream_core::batch::{Batch, Entry};
use stream_core::change::{Change, OldTuple, Tuple, TupleData};
use stream_core::relation::Relation;
use stream_core::{Error, ErrorKind};

use super::apply::{Applier, plan_among};
use super::change::check_binary;
use super::encode::{CopyRows, Form, form};
use super::error::from_wire;
use super::pipe::Purpose;
use super::plan::Key;
use super::statements::Shape;
use super::steps::{Step, steps};

impl Applier {
    /// Sends the changes of a batch, without looking at what becomes of them.
    pub(super) async fn send(&mut self, batch: &Batch) -> Result<(), Error> {
        let steps =
            steps(&batch.entries, |relation| plan_among(&self.plans, relation), self.independent);
        for step in steps {
            match step {
                Step::One(at) => {
                    if let Some(change) = change_at(batch, at) {
                        self.send_change(change, at)?;
                    }
                }
                Step::Copy(entries) => self.send_copy(batch, &entries).await?,
                Step::Updates { set, entries } => self.send_updates(batch, set, &entries)?,
                Step::Deletes(entries) => self.send_deletes(batch, &entries)?,
            }
            self.pipe.send_when_much().await.map_err(from_wire)?;
        }
        let begun = batch.entries.iter().rev().find_map(|entry| match entry {
            Entry::Begin(transaction) => Some(*transaction),
            Entry::Change { .. } | Entry::Commit { .. } => None,
        });
        self.transaction = begun.or(self.transaction);
        Ok(())
    }

    async fn send_copy(&mut self, batch: &Batch, entries: &[usize]) -> Result<(), Error> {
        let rows = || entries.iter().filter_map(|&at| Some((at, inserted(change_at(batch, at)?)?)));
        let Some((first, (relation, new))) = rows().next() else { return Ok(()) };
        let plan = self.plan_of(relation)?;
        let binary = form(new, Form::Text) == Form::Binary;
        check_binary(&plan, binary)?;
        let columns = i16::try_from(plan.written().count())
            .map_err(|error| Error::new(ErrorKind::Permanent, error))?;
        let rows_sent = Purpose::Insert(u64::try_from(entries.len()).unwrap_or(u64::MAX));
        self.pipe.query(&plan.copy_sql(binary), rows_sent, first).map_err(from_wire)?;
        let mut copy = CopyRows::new(binary, columns);
        copy.begin(self.pipe.buffer());
        for (_, (_, new)) in rows() {
            let written = plan.columns.iter().map(Option::is_some);
            copy.row(new, written, self.pipe.buffer()).map_err(too_large)?;
            self.pipe.send_rows_when_much(&mut copy).await.map_err(from_wire)?;
        }
        copy.finish(self.pipe.buffer()).map_err(too_large)
    }

    fn send_updates(
        &mut self,
        batch: &Batch,
        set: Vec<usize>,
        entries: &[usize],
    ) -> Result<(), Error> {
        let mut values = Vec::with_capacity(entries.len() * (set.len() + 1));
        let mut relation = None;
        for &at in entries {
            let Some(Change::Update { relation: this, old, new }) = change_at(batch, at) else {
                continue;
            };
            let plan = self.plan_of(relation.get_or_insert(this))?;
            let new_values: Vec<_> = new.iter().collect();
            values.extend(set.iter().filter_map(|&at| new_values.get(at).copied()));
            push_key(&plan.key, old.as_ref().map_or(new, OldTuple::tuple), &mut values);
        }
        self.send_arrays(relation, Shape::UpdateMany(set), &values, entries)
    }

    fn send_deletes(&mut self, batch: &Batch, entries: &[usize]) -> Result<(), Error> {
        let mut values = Vec::with_capacity(entries.len());
        let mut relation = None;
        for &at in entries {
            let Some(Change::Delete { relation: this, old }) = change_at(batch, at) else {
                continue;
            };
            let plan = self.plan_of(relation.get_or_insert(this))?;
            push_key(&plan.key, old.tuple(), &mut values);
        }
        self.send_arrays(relation, Shape::DeleteMany, &values, entries)
    }

    /// Executes a statement whose parameters are arrays; `values` come row by row.
    fn send_arrays(
        &mut self,
        relation: Option<&Arc<Relation>>,
        shape: Shape,
        values: &[TupleData<'_>],
        entries: &[usize],
    ) -> Result<(), Error> {
        let (Some(relation), Some(&first)) = (relation, entries.first()) else { return Ok(()) };
        let plan = self.plan_of(relation)?;
        let elements = plan.element_types(&shape);
        let name = self.prepared(&plan, shape)?;
        self.pipe.execute_arrays(&name, &elements, values, entries.len(), first).map_err(from_wire)
    }
}

fn change_at(batch: &Batch, at: usize) -> Option<&Change> {
    match batch.entries.get(at) {
        Some(Entry::Change { change, .. }) => Some(change),
        _ => None,
    }
}

fn inserted(change: &Change) -> Option<(&Arc<Relation>, &Tuple)> {
    match change {
        Change::Read { relation, new } | Change::Insert { relation, new } => Some((relation, new)),
        _ => None,
    }
}

fn push_key<'a>(key: &Key, row: &'a Tuple, values: &mut Vec<TupleData<'a>>) {
    if let Key::Columns(columns) = key {
        values.extend(columns.iter().filter_map(|&at| row.get(at)));
    }
}

/// A row has more bytes than a message of PostgreSQL's protocol: 1 GiB.
///
/// Remedy: exclude the column, or make the value smaller.
fn too_large(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Permanent, format!("a row is too large for the protocol: {error}"))
}
