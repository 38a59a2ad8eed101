//! What comes before the stream: the look at both ends, and the copy.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Pipeline, Started};
use crate::checkpoint::{Checkpoint, Completion, OffsetStore, SourceIdentity, TableSync};
use crate::error::{Error, ErrorKind};
use crate::failpoint::{Step, reached};
use crate::lsn::Lsn;
use crate::relation::{RelationId, TableName};
use crate::sink::Sink;
use crate::snapshot;
use crate::source::{Beginning, CountsFrom, Inspected, Source};
use crate::stats::Phase;
use crate::table::{Table, TableOrigin};

impl<S: Source, K: Sink, O: OffsetStore> Pipeline<S, K, O> {
    /// Everything before the copy.
    pub(super) async fn begin(&mut self) -> Result<StartUp, Error> {
        let mut checkpoint = self.offsets.load().await?;
        match checkpoint.completion {
            Completion::Open => {}
            Completion::Delivered => return Ok(StartUp::Remove),
            Completion::Completed => return Ok(StartUp::Nothing),
        }
        let inspected = match self.source.inspect(&checkpoint, &self.stats).await {
            Ok(inspected) => inspected,
            // Another worker may have gone on with the stream since, or completed it and removed what is looked for.
            Err(error) => {
                let now = self.offsets.load().await?;
                return match now.completion {
                    Completion::Open if now.position == checkpoint.position => Err(error),
                    Completion::Completed => Ok(StartUp::Nothing),
                    Completion::Open | Completion::Delivered => Err(taken_over()),
                };
            }
        };
        check_identity(&checkpoint, &inspected.identity)?;
        self.sink.prepare(&inspected, &checkpoint).await?;
        reached(Step::Prepared);
        let mut noted = noted(&inspected, &checkpoint);
        noted.extend(gone(&inspected, &checkpoint));
        if !noted.is_empty() {
            self.offsets.save_tables(&noted).await?;
            checkpoint.tables.extend(noted);
        }
        let beginning = self.source.begin(&checkpoint, &self.stats).await;
        let now = self.offsets.load().await;
        if let Ok(now) = &now
            && now.completion != Completion::Open
        {
            // Another worker has delivered the stream since, and nobody but this one would remove what it has made after that.
            self.source.remove(now.position.unwrap_or(Lsn::new(u64::MAX))).await?;
            return Err(taken_over());
        }
        let beginning = beginning?;
        now?;
        reached(Step::SlotMade);
        let unsettled = unsettled(&self.sink, &beginning, &checkpoint);
        if !unsettled.is_empty() {
            // Before the start is: from then on a table without a state is one that came later, of which nobody was told anything.
            self.offsets.save_tables(&unsettled).await?;
            checkpoint.tables.extend(unsettled);
        }
        if checkpoint.position.is_none() || checkpoint.source.as_ref() != Some(&inspected.identity)
        {
            let position = checkpoint.position.unwrap_or(beginning.start);
            self.offsets.save_start(&inspected.identity, position).await?;
        }
        reached(Step::StartSaved);
        let republished = republished(&beginning, &checkpoint);
        if !republished.is_empty() {
            self.offsets.save_tables(&republished).await?;
            checkpoint.tables.extend(republished);
        }
        let taken_up = self.take_up(&beginning).await?;
        checkpoint.tables.extend(taken_up);
        Ok(StartUp::Begun(Box::new(Begun { checkpoint, beginning })))
    }

    /// Copies, and starts the stream; `None`: there is none after the snapshot.
    pub(super) async fn copy(&mut self, begun: Begun) -> Result<Option<Started>, Error> {
        let Begun { mut checkpoint, beginning } = begun;
        if let Some(snapshot) = &beginning.snapshot {
            self.stats.update(|stats| stats.phase = Phase::Snapshot);
            snapshot::copy::run(
                &mut self.source,
                &mut self.sink,
                &mut self.offsets,
                snapshot,
                &self.stats,
            )
            .await?;
            let synced =
                snapshot.tables.iter().flat_map(|table| TableSync::synced(table, snapshot.lsn));
            checkpoint.tables.extend(synced);
        }
        let synced = synced(&checkpoint);
        let consistent_at = synced.values().copied().max().unwrap_or(beginning.start);
        let consistent_at = (consistent_at > beginning.start).then_some(consistent_at);
        self.stats.update(|stats| stats.phase = Phase::Finishing);
        self.sink.snapshot_completed(consistent_at).await?;
        // Tables copied at different positions are brought to the last of them first.
        let complete_at = consistent_at.filter(|_| beginning.snapshot_only);
        if beginning.snapshot_only && complete_at.is_none() {
            return Ok(None);
        }
        let mut names = synced;
        if self.sink.keeps_copied_rows() {
            // Whose copy was interrupted, and which are not captured any more: what the log has of them until then.
            names.extend(copying(&checkpoint));
        }
        let (owners, roots) = (owners(&checkpoint), checkpoint.roots());
        let counts_from = CountsFrom { names, owners, roots, ..CountsFrom::default() };
        self.source.start(beginning.start, counts_from, self.sink.stream_format(), None).await?;
        reached(Step::Started);
        Ok(Some(Started { start: beginning.start, consistent_at, complete_at }))
    }

    async fn take_up(
        &mut self,
        beginning: &Beginning,
    ) -> Result<Vec<(TableName, TableSync)>, Error> {
        let taken_up = beginning.taken_up.iter();
        let tables: Vec<_> =
            taken_up.flat_map(|table| TableSync::synced(table, beginning.start)).collect();
        if !tables.is_empty() {
            self.offsets.save_tables(&tables).await?;
        }
        Ok(tables)
    }
}

/// What the look at the source says of tables that were copied: known as worthless before the source forgets why; or with columns that came,
/// whose names may stand for others later.
fn noted(inspected: &Inspected, checkpoint: &Checkpoint) -> Vec<(TableName, TableSync)> {
    let noted = inspected.tables.iter().filter_map(|table| {
        let TableSync::Synced { lsn, origin } = checkpoint.tables.get(&table.name)? else {
            return None;
        };
        let sync = if inspected.to_copy.contains(&table.name) {
            TableSync::Copying { lsn: *lsn, relation: Some(origin.relation) }
        } else {
            let now = table.origin();
            let columns = origin.columns.with_new(&now.columns, &table.attributes.dropped);
            let columns = columns.unwrap_or_else(|| origin.columns.clone());
            // Nothing is missing, or it would be copied.
            let published_as = now.published_as.or_else(|| origin.published_as.clone());
            // Patterns and rules for it hold for what the log has of a partition that is gone.
            let root = now.root.or_else(|| origin.root.clone());
            let noted = TableOrigin { columns, published_as, root, ..origin.clone() };
            if noted == *origin {
                return None;
            }
            TableSync::Synced { lsn: *lsn, origin: noted }
        };
        Some((table.name.clone(), sync))
    });
    let unlogged = inspected.unlogged.iter().filter_map(|name| {
        let TableSync::Synced { lsn, origin } = checkpoint.tables.get(name)? else { return None };
        let relation = Some(origin.relation);
        Some((name.clone(), TableSync::Copying { lsn: *lsn, relation }))
    });
    noted.chain(unlogged).collect()
}

/// Tables that were copied under a name that no captured table has now. Where the table is captured under another one, what was copied is
/// worthless if the name is given back. Otherwise it was dropped, called something that nobody captures, or excluded: what becomes of its rows
/// from now on, nobody tells.
fn gone(inspected: &Inspected, checkpoint: &Checkpoint) -> Vec<(TableName, TableSync)> {
    let names: HashSet<_> = inspected.tables.iter().map(|table| &table.name).collect();
    let relations: HashSet<_> = inspected.tables.iter().map(|table| table.id).collect();
    let is_followed = |name: &TableName| {
        names.contains(name)
            || inspected.parts.contains_key(name)
            || inspected.unlogged.contains(name)
    };
    let gone = checkpoint.tables.iter().filter(|(name, _)| !is_followed(name));
    let noted = gone.filter_map(|(name, sync)| {
        let TableSync::Synced { lsn, origin } = sync else { return None };
        let sync = if relations.contains(&origin.relation) {
            TableSync::Copying { lsn: *lsn, relation: Some(origin.relation) }
        } else if origin.has_left() {
            return None;
        } else {
            let origin = TableOrigin { published_by: TableOrigin::LEFT, ..origin.clone() };
            TableSync::Synced { lsn: *lsn, origin }
        };
        Some((name.clone(), sync))
    });
    noted.collect()
}

/// Tables of which the endpoint may know more than the checkpoint does: this slot was there before, and nobody knows what was delivered. Their log
/// counts from its position on.
fn unsettled(
    sink: &impl Sink,
    beginning: &Beginning,
    checkpoint: &Checkpoint,
) -> Vec<(TableName, TableSync)> {
    if checkpoint.source.is_some() || settles_until(sink, beginning).is_none() {
        return Vec::new();
    }
    let tables = beginning.snapshot.iter().flat_map(|snapshot| &snapshot.tables);
    let unknown = tables.filter(|table| !checkpoint.tables.contains_key(&table.name));
    let copying = |relation| TableSync::Copying { lsn: beginning.start, relation: Some(relation) };
    unknown.map(|table| (table.name.clone(), copying(table.id))).collect()
}

/// Up to where the log can be delivered before the copy. A slot that was made with the snapshot begins there.
fn settles_until(sink: &impl Sink, beginning: &Beginning) -> Option<Lsn> {
    let snapshot = beginning.snapshot.as_ref()?;
    // Without a stream nothing has kept the log.
    let can_settle = sink.keeps_copied_rows() && !beginning.snapshot_only;
    (can_settle && beginning.start < snapshot.lsn).then_some(snapshot.lsn)
}

/// Tables that the source itself has had published otherwise, and that keep their rows.
fn republished(beginning: &Beginning, checkpoint: &Checkpoint) -> Vec<(TableName, TableSync)> {
    let noted = beginning.republished.iter().filter_map(|table| {
        let TableSync::Synced { lsn, origin } = checkpoint.tables.get(&table.name)? else {
            return None;
        };
        let published_as = table.published_as.clone();
        let origin = TableOrigin { published_as, ..origin.clone() };
        Some((table.name.clone(), TableSync::Synced { lsn: *lsn, origin }))
    });
    noted.collect()
}

/// Another worker took the stream over while this one began. What the source keeps is that one's.
///
/// Remedy: nothing, if the other worker is wanted; otherwise stop it.
fn taken_over() -> Error {
    Error::new(
        ErrorKind::Fenced,
        "another worker has taken over the stream while this one began: this one ends",
    )
}

/// What is to be done after the start.
pub(super) enum StartUp {
    Begun(Box<Begun>),
    /// All was delivered by an earlier run, which did not come to remove what the source keeps.
    Remove,
    Nothing,
}

/// What the source has begun with.
pub(super) struct Begun {
    checkpoint: Checkpoint,
    pub(super) beginning: Beginning,
}

/// Where the last copy of a table was taken that was not completed, and what the table was called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Copied<'a> {
    lsn: Lsn,
    name: &'a TableName,
    /// Whether it was of this table, and not of one that had its name before.
    is_its_own: bool,
}

impl Begun {
    /// Tables whose copy began before and was not completed, under their name or an older one, each with the last.
    fn interrupted(&self) -> impl Iterator<Item = (&Table, Copied<'_>)> {
        let mut relations = HashMap::new();
        for (name, sync) in &self.checkpoint.tables {
            if let TableSync::Copying { lsn, relation: Some(relation) } = sync {
                let copied = Copied { lsn: *lsn, name, is_its_own: true };
                let last = relations.entry(*relation).or_insert(copied);
                *last = copied.max(*last);
            }
        }
        let tables = self.beginning.snapshot.iter().flat_map(|snapshot| &snapshot.tables);
        tables.filter_map(move |table| {
            let of_name = || match self.checkpoint.tables.get_key_value(&table.name)? {
                (name, TableSync::Copying { lsn, relation }) => {
                    Some(Copied { lsn: *lsn, name, is_its_own: relation.is_none() })
                }
                (_, TableSync::Synced { .. }) => None,
            };
            Some((&**table, relations.get(&table.id).copied().or_else(of_name)?))
        })
    }

    /// Up to where the log is delivered before the copy: a row that was removed since an earlier one is not in the next, and nothing else would
    /// tell of it.
    pub(super) fn settles_until(&self, sink: &impl Sink) -> Option<Lsn> {
        let until = settles_until(sink, &self.beginning)?;
        self.interrupted().next().is_some().then_some(until)
    }

    /// What comes before the copy that was interrupted is in it: told after it, it would be older than what was told.
    pub(super) fn counts_from_while_settling(&self) -> CountsFrom {
        let mut names = synced(&self.checkpoint);
        names.extend(copying(&self.checkpoint));
        let relations = self.interrupted().map(|(table, last)| (table.id, last.lsn)).collect();
        let last_names =
            self.interrupted().filter(|(table, last)| last.is_its_own && last.name == &table.name);
        let as_called_now = last_names.map(|(table, _)| table.id).collect();
        let (owners, roots) = (owners(&self.checkpoint), self.checkpoint.roots());
        CountsFrom { names, owners, roots, relations, as_called_now }
    }
}

/// The saved position belongs to another server or slot: a restored one, another address, or another `slotName`. Going on
/// would skip what is in between.
///
/// Remedy: give the stream its old source back. If the new one is right, begin anew: `DELETE FROM sgstream.progress WHERE stream = …` at a
/// PostgreSQL target, whose tables have to be emptied then, or remove `offsets` and `offsets.backup` in the data directory: an endpoint is not
/// told then of rows that it knows from the old source or slot and that the new one does not have.
fn check_identity(checkpoint: &Checkpoint, found: &SourceIdentity) -> Result<(), Error> {
    match &checkpoint.source {
        Some(saved) if (&saved.system_id, &saved.slot) != (&found.system_id, &found.slot) => {
            Err(Error::new(
                ErrorKind::Permanent,
                format!(
                    "the saved position belongs to slot `{}` of server `{}`, but the source is slot `{}` of server `{}`: \
                 point the stream at its old source, or remove its progress at the target to begin anew",
                    saved.slot, saved.system_id, found.slot, found.system_id
                ),
            ))
        }
        _ => Ok(()),
    }
}

fn synced(checkpoint: &Checkpoint) -> BTreeMap<TableName, Lsn> {
    checkpoint
        .tables
        .iter()
        .filter_map(|(name, sync)| match sync {
            TableSync::Synced { lsn, .. } => Some((name.clone(), *lsn)),
            TableSync::Copying { .. } => None,
        })
        .collect()
}

fn copying(checkpoint: &Checkpoint) -> impl Iterator<Item = (TableName, Lsn)> {
    checkpoint.tables.iter().filter_map(|(name, sync)| match sync {
        TableSync::Copying { lsn, .. } => Some((name.clone(), *lsn)),
        TableSync::Synced { .. } => None,
    })
}

/// What was copied under each name. An older version did not always note it.
fn owners(checkpoint: &Checkpoint) -> BTreeMap<TableName, RelationId> {
    let owner = |sync: &TableSync| match sync {
        TableSync::Synced { origin, .. } => Some(origin.relation),
        TableSync::Copying { relation, .. } => *relation,
    };
    let owners = checkpoint.tables.iter().filter_map(|(name, sync)| {
        let relation = owner(sync).filter(|relation| *relation != RelationId::default())?;
        Some((name.clone(), relation))
    });
    owners.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::source::Snapshot;
    use crate::testing::reader::table;

    fn begun(tables: Vec<(TableName, TableSync)>, copied: &str) -> Begun {
        let snapshot = Snapshot {
            lsn: Lsn::new(90),
            tables: vec![Arc::new(table(copied))],
            chunks: Vec::new(),
            last: None,
            taken_at: UNIX_EPOCH,
            readers: 1,
        };
        Begun {
            checkpoint: Checkpoint {
                tables: tables.into_iter().collect(),
                ..Checkpoint::default()
            },
            beginning: Beginning {
                start: Lsn::new(10),
                snapshot: Some(snapshot),
                taken_up: Vec::new(),
                republished: Vec::new(),
                snapshot_only: false,
            },
        }
    }

    fn inspected(table: Table) -> Inspected {
        let (system_id, slot) = ("7".to_owned(), "s".to_owned());
        Inspected {
            identity: SourceIdentity { system_id, slot, timeline: None },
            tables: vec![Arc::new(table)],
            ..Inspected::default()
        }
    }

    fn copying(name: &str, lsn: u64, relation: Option<RelationId>) -> (TableName, TableSync) {
        (table(name).name, TableSync::Copying { lsn: Lsn::new(lsn), relation })
    }

    /// Older versions noted none, and a table can be attached later. One that is detached was a partition, which is to be known once it is gone.
    #[test]
    fn the_root_of_a_partition_is_noted() {
        let root = |name: &str| Some(TableName::new("s", name));
        for (now, before, expected) in [
            (root("p"), None, Some(root("p"))),
            (root("p"), root("p"), None),
            (root("q"), root("p"), Some(root("q"))),
            (None, root("p"), None),
        ] {
            let table = Table { root: now, ..table("t") };
            let origin = TableOrigin { root: before, ..table.origin() };
            let sync = TableSync::Synced { lsn: Lsn::new(1), origin };
            let checkpoint =
                Checkpoint { tables: [(table.name.clone(), sync)].into(), ..Checkpoint::default() };
            let noted = noted(&inspected(table), &checkpoint);
            let roots: Vec<_> = noted
                .into_iter()
                .map(|(_, sync)| match sync {
                    TableSync::Synced { origin, .. } => origin.root,
                    TableSync::Copying { .. } => None,
                })
                .collect();
            assert_eq!(roots, Vec::from_iter(expected));
        }
    }

    /// The stream may begin long before the copy that was interrupted: an endpoint that has rows as of that copy is told nothing older.
    #[test]
    fn what_came_before_an_interrupted_copy_is_not_told_after_it() {
        let kept = table("kept").name;
        let synced = TableSync::Synced { lsn: Lsn::new(20), origin: TableOrigin::default() };
        let begun = begun(vec![copying("copied", 50, None), (kept.clone(), synced)], "copied");
        let copied = table("copied");
        let expected = CountsFrom {
            names: [(copied.name, Lsn::new(50)), (kept, Lsn::new(20))].into(),
            owners: BTreeMap::new(),
            roots: BTreeMap::new(),
            relations: [(copied.id, Lsn::new(50))].into(),
            as_called_now: [copied.id].into(),
        };
        assert_eq!(begun.counts_from_while_settling(), expected);
    }

    /// Its rows are told of from its own copy on, whatever had its name before.
    #[test]
    fn an_interrupted_copy_is_known_under_the_next_name_of_its_table() {
        let copied = table("copied");
        let (this, other) = (Some(copied.id), Some(table("other").id));
        for (tables, from, as_called_now) in [
            (vec![copying("older", 30, this), copying("old", 50, this)], Some(50), false),
            (vec![copying("copied", 70, other), copying("old", 50, this)], Some(50), false),
            // Back under the name of an older copy, and of the last.
            (vec![copying("copied", 30, this), copying("old", 50, this)], Some(50), false),
            (vec![copying("copied", 50, this), copying("old", 30, this)], Some(50), true),
            // Another one had the name.
            (vec![copying("copied", 70, other)], Some(70), false),
            (vec![copying("copied", 70, None)], Some(70), true),
            (vec![copying("old", 70, other), copying("unknown", 60, None)], None, false),
        ] {
            let counts_from = begun(tables, "copied").counts_from_while_settling();
            assert_eq!(counts_from.relations.get(&copied.id).copied(), from.map(Lsn::new));
            assert_eq!(counts_from.as_called_now.contains(&copied.id), as_called_now);
        }
    }
}
