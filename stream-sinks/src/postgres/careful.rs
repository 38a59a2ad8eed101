//! Applies the changes of a batch one by one, after they did not go through together.
//!
//! Slow, and exact: it knows which row the target refuses, and mends what differs because somebody else
//! wrote to the target. The source wins. Each source transaction is committed by itself: all that come before a refused row are at the
//! target, and nothing after it.

use std::fmt::Write as _;

use stream_core::batch::{Batch, Entry};
use stream_core::change::{Change, OldTuple, Tuple, TupleData};
use stream_core::lsn::Lsn;
use stream_core::postgres::ServerError;
use stream_core::relation::{Relation, TableName};
use stream_core::table::Identity;
use stream_core::{Error, ErrorKind};

use super::apply::Applier;
use super::error::from_wire;
use super::pipe::Purpose;
use super::plan::{Key, Plan};
use super::statements::Shape;

impl Applier {
    pub(super) async fn apply_carefully(&mut self, batch: &Batch) -> Result<(), Error> {
        for (at, entry) in batch.entries.iter().enumerate() {
            match entry {
                Entry::Begin(transaction) => self.transaction = Some(*transaction),
                Entry::Commit { end, .. } => self.commit_and_go_on(*end).await?,
                Entry::Change { change, .. } => self.change_carefully(change, at).await?,
            }
        }
        self.assert_unaltered().await
    }

    async fn change_carefully(&mut self, change: &Change, at: usize) -> Result<(), Error> {
        if let Change::Read { relation, new } | Change::Insert { relation, new } = change {
            return self.insert_over(relation, new, at).await;
        }
        self.send_change(change, at)?;
        let findings = self.pipe.finish().await.map_err(from_wire)?;
        if let Some((error, _)) = findings.refused {
            return Err(self.row_refused(change, &error));
        }
        match change {
            Change::Update { relation, new: row, .. } if findings.found_many.is_some() => {
                Err(self.found_many(&*self.plan_of(relation)?, row))
            }
            Change::Delete { relation, old } if findings.found_many.is_some() => {
                Err(self.found_many(&*self.plan_of(relation)?, old.tuple()))
            }
            Change::Update { relation, old, new } if findings.missed_update.is_some() => {
                let found_by = old.as_ref().map_or(new, OldTuple::tuple);
                self.update_missed(relation, found_by, new, at).await
            }
            Change::Delete { relation, old } if !findings.missed_deletes.is_empty() => {
                self.differs(relation, old.tuple(), "a deleted row was not there")
            }
            _ => Ok(()),
        }
    }

    /// Inserts a row; one that is there with the same key gets its values.
    async fn insert_over(
        &mut self,
        relation: &Relation,
        new: &Tuple,
        at: usize,
    ) -> Result<(), Error> {
        self.send_insert(relation, new, Shape::InsertIfAbsent, at)?;
        let findings = self.pipe.finish().await.map_err(from_wire)?;
        if let Some((error, _)) = findings.refused {
            return Err(self.refused_at(relation, new, &error));
        }
        if findings.rows > 0 {
            return Ok(());
        }
        let plan = self.plan_of(relation)?;
        if plan.conflict.is_empty() {
            // Without a key to meet there was nothing in its way.
            self.tables.divergence.left_out_at(&relation.name, 1, self.lsn());
            return Ok(());
        }
        self.differs(relation, new, "an inserted row was there already: overwritten")?;
        if !plan.guards.is_empty() {
            self.replace(relation, new, new, at).await?;
            return Ok(());
        }
        let key = Key::Columns(plan.conflict.clone());
        let set: Vec<usize> = plan
            .written()
            .filter(|(at, column)| {
                !plan.conflict.contains(at) && column.identity != Identity::Always
            })
            .map(|(at, _)| at)
            .collect();
        if set.is_empty() {
            return Ok(());
        }
        let values: Vec<_> =
            set.iter().chain(&plan.conflict).filter_map(|&at| new.get(at)).collect();
        let types = plan.types(set.iter().chain(&plan.conflict).copied());
        self.pipe.prepare("", &plan.update_by_sql(&set, &key), &types).map_err(from_wire)?;
        self.pipe.execute("", values.iter().copied(), Purpose::Update, at).map_err(from_wire)?;
        let findings = self.pipe.finish().await.map_err(from_wire)?;
        if let Some((error, _)) = findings.refused {
            return Err(self.refused_at(relation, new, &error));
        }
        if findings.rows == 0 {
            self.tables.divergence.left_out_at(&relation.name, 1, self.lsn());
        }
        Ok(())
    }

    /// Replaces a row, which changes what no UPDATE can change; `false` when it was not there.
    async fn replace(
        &mut self,
        relation: &Relation,
        found_by: &Tuple,
        new: &Tuple,
        at: usize,
    ) -> Result<bool, Error> {
        self.send_replace(relation, found_by, new, at)?;
        let findings = self.pipe.finish().await.map_err(from_wire)?;
        match findings.refused {
            Some((error, _)) => Err(self.refused_at(relation, new, &error)),
            None => Ok(findings.missed_update.is_none() && findings.missed_deletes.is_empty()),
        }
    }

    /// The row of an update was not there: it is inserted when all of it is known.
    async fn update_missed(
        &mut self,
        relation: &Relation,
        found_by: &Tuple,
        new: &Tuple,
        at: usize,
    ) -> Result<(), Error> {
        // A guard that differs is no missing row.
        let guarded = !self.plan_of(relation)?.guards.is_empty();
        if guarded && self.replace(relation, found_by, new, at).await? {
            return Ok(());
        }
        if new.iter().any(|data| data == TupleData::UnchangedToast) {
            let plan = self.plan_of(relation)?;
            return Err(row_missing(&key_text(&plan, new), &relation.name, self.lsn()));
        }
        self.differs(relation, new, "an updated row was not there: inserted")?;
        if guarded { Ok(()) } else { self.insert_over(relation, new, at).await }
    }

    fn differs(&self, relation: &Relation, row: &Tuple, what: &'static str) -> Result<(), Error> {
        let plan = self.plan_of(relation)?;
        self.tables.divergence.found(&relation.name, &key_text(&plan, row), self.lsn(), what);
        Ok(())
    }

    fn lsn(&self) -> Lsn {
        self.transaction.map_or_else(Lsn::default, |transaction| transaction.commit_lsn)
    }

    /// The target refuses to empty a table: a foreign key of a table that is not captured, or that was copied again since, or a missing right.
    /// Nothing after it was written.
    ///
    /// Message: the target refuses a TRUNCATE at `<lsn>`: `<the server's words>`
    ///
    /// Remedy: drop the foreign key at the target, or mend what else is the cause, and start the stream again; make the key again once it has
    /// passed. Or set `truncateEnabled: false` where the table's rows are to stay.
    fn row_refused(&self, change: &Change, error: &ServerError) -> Error {
        match change {
            Change::Read { relation, new }
            | Change::Insert { relation, new }
            | Change::Update { relation, new, .. } => self.refused_at(relation, new, error),
            Change::Delete { relation, old } => self.refused_at(relation, old.tuple(), error),
            Change::Truncate { .. } | Change::Message { .. } => Error::new(
                kind_of(error),
                format!("the target refuses a TRUNCATE at {}: {error}", self.lsn()),
            ),
        }
    }

    /// The key of a changed row is that of several rows at the target, and one of them was meant: the target has rows of several partitions in one
    /// table, each with a key of its own, or takes values for equal that the source tells apart. Nothing after it was written.
    ///
    /// Message: row (`<key>`) of `<table>` is changed at `<lsn>`, and `<place>` at the target has more than one with this key
    ///
    /// Remedy: create the partitions at the target as they are at the source, or give the source's table `REPLICA IDENTITY FULL`, or the target's
    /// column the collation of the source's; where rows were doubled by somebody else, remove them. Then start the stream again.
    fn found_many(&self, plan: &Plan, row: &Tuple) -> Error {
        Error::new(
            ErrorKind::Permanent,
            format!(
                "row ({}) of `{}` is changed at {}, and `{}` at the target has more than one with this key: create its partitions there as they are at \
                 the source, give the source's table `REPLICA IDENTITY FULL`, or remove rows that are there twice; then start the stream again, it \
                 goes on from there",
                key_text(plan, row),
                plan.relation.name,
                self.lsn(),
                plan.table.name
            ),
        )
    }

    /// A deferred constraint or a constraint trigger of the target, which fires for a replica's changes too, refuses a transaction when it is
    /// committed. All transactions before it are there.
    ///
    /// Message: the target refuses the transaction at `<lsn>` when it is committed: `<the server's words>`; nothing of it, and nothing after it, was
    /// written: mend the cause at the target and start the stream again, it goes on from there
    ///
    /// Remedy: drop or relax the constraint or trigger at the target, or mend the row that it names. Then start the stream again: it goes on with
    /// this transaction.
    pub(super) fn refused_at_commit(&self, error: &ServerError) -> Error {
        Error::new(
            kind_of(error),
            format!(
                "the target refuses the transaction at {} when it is committed: {error}; nothing of it, and nothing after it, was written: mend \
                 the cause at the target and start the stream again, it goes on from there",
                self.lsn()
            ),
        )
    }

    /// A constraint, a type or a trigger of the target refuses a row, which the source has. Nothing after it was written.
    ///
    /// Message: the target refuses row (`<key>`) of `<table>` at `<lsn>`: `<the server's words>`; nothing after it was written: mend the cause at the
    /// target and start the stream again, it goes on from there
    ///
    /// Remedy: find the row by its key at the target: drop or relax the constraint there, or remove the row that is in its way, if somebody else
    /// wrote it. Then start the stream again: it goes on with this row.
    fn refused_at(&self, relation: &Relation, row: &Tuple, error: &ServerError) -> Error {
        let key =
            self.plan_of(relation).map_or_else(|_| String::new(), |plan| key_text(&plan, row));
        Error::new(
            kind_of(error),
            format!(
                "the target refuses row ({key}) of `{}` at {}: {error}; nothing after it was written: mend the \
                 cause at the target and start the stream again, it goes on from there",
                relation.name,
                self.lsn()
            ),
        )
    }
}

fn kind_of(error: &ServerError) -> ErrorKind {
    if error.is_retryable() { ErrorKind::Transient } else { ErrorKind::Permanent }
}

/// An updated row is not at the target: somebody else removed it there. The log has its large values only where they changed, so that it
/// cannot be made from the log. Nothing after it was written.
///
/// Remedy: copy the row from the source to the target and start the stream again; and see that nobody else writes there. With `REPLICA IDENTITY
/// FULL` the log holds all of a row.
fn row_missing(key: &str, table: &TableName, at: Lsn) -> Error {
    Error::new(
        ErrorKind::Permanent,
        format!(
            "row ({key}) of `{table}` is updated at {at}, but is not at the target, and the log does not hold all of it: copy the \
             row from the source to the target, and start the stream again"
        ),
    )
}

/// The key of a row for people: `id=5, region=eu`.
pub(super) fn key_text(plan: &Plan, row: &Tuple) -> String {
    let Key::Columns(columns) = &plan.key else { return "no key".to_owned() };
    let mut text = String::new();
    for &at in columns {
        let (Some(column), Some(data)) = (plan.relation.columns.get(at), row.get(at)) else {
            continue;
        };
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{separator}{}={}", column.name, value_text(data, column.type_oid));
    }
    text
}

fn value_text(data: TupleData<'_>, type_oid: u32) -> String {
    match data {
        TupleData::Null => "NULL".to_owned(),
        TupleData::UnchangedToast => "(unchanged)".to_owned(),
        TupleData::Text(value) => String::from_utf8_lossy(value).into_owned(),
        TupleData::Binary(value) => match (type_oid, value) {
            (21, &[a, b]) => i16::from_be_bytes([a, b]).to_string(),
            (23, &[a, b, c, d]) => i32::from_be_bytes([a, b, c, d]).to_string(),
            (20, &[a, b, c, d, e, f, g, h]) => {
                i64::from_be_bytes([a, b, c, d, e, f, g, h]).to_string()
            }
            (25 | 1042 | 1043, value) => String::from_utf8_lossy(value).into_owned(),
            (_, value) => value.iter().fold("\\x".to_owned(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            }),
        },
    }
}
