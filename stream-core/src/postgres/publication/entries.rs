//! What of a publication publishes a table, and how: by what a later look sees that changes may be missing. Pure.

use super::{Operations, Publication};
use crate::postgres::capture::CapturedTable;
use crate::table::PublishedAs;

impl Publication {
    /// By what it publishes a table: `oid` of each entry that covers it, or its own where no entry names tables. As long as
    /// one of them stays, no change of the table is missing. An entry of an ancestor covers a partition only while it is one: it
    /// counts as another entry once the partition was detached and attached again, and one of a schema once the table was elsewhere.
    pub(in crate::postgres) fn entries(&self, table: &CapturedTable) -> Vec<u32> {
        let names: Vec<_> = [&table.name].into_iter().chain(&table.ancestors).collect();
        let over = |entry: u32, ancestor: usize| {
            let links = table.attached_by.iter().take(ancestor);
            links.fold(entry, |mixed, link| mixed.rotate_left(7) ^ link)
        };
        let mut schemas = names.iter().enumerate().filter_map(|(at, name)| {
            let schema = self.schemas.iter().find(|schema| schema.name == name.schema)?;
            Some((at, schema.id))
        });
        let whole = self.all_tables.then(|| over(self.id, 0));
        let in_schema = schemas.next();
        let placed = in_schema.map(|(at, id)| {
            let placed_by = table.placed_by.get(at).copied().unwrap_or_default();
            over(id.rotate_left(7) ^ placed_by, at)
        });
        // What an older version has noted.
        let not_placed = in_schema.map(|(at, id)| over(id, at));
        let listed = self.tables.iter().filter_map(|listed| {
            let at = names.iter().position(|name| **name == listed.name)?;
            Some(over(listed.id, at))
        });
        whole.into_iter().chain(placed).chain(listed).chain(not_placed).collect()
    }

    /// How it publishes a table; `None`: not at all.
    pub(in crate::postgres) fn published_as(&self, table: &CapturedTable) -> Option<PublishedAs> {
        let name = self.comes_as(table)?;
        let own = self.listed(name).filter(|_| !self.has_schema_of(name));
        let restricts = own.filter(|own| own.row_filter.is_some() || own.columns.is_some());
        Some(PublishedAs {
            version: self.version,
            operations: self.operations.names(),
            restricted_by: restricts.map_or(0, |entry| entry.id),
            generated: self.generated_columns,
        })
    }
}

impl Operations {
    /// Their names in `publish`.
    pub(in crate::postgres) fn names(self) -> Vec<String> {
        let Self { insert, update, delete, truncate } = self;
        let all =
            [("insert", insert), ("update", update), ("delete", delete), ("truncate", truncate)];
        let published = all.into_iter().filter(|(_, is_published)| *is_published);
        published.map(|(name, _)| name.to_owned()).collect()
    }
}
