//! Which sequence of the target is which of the source: a table that was renamed keeps its sequence's name, and a
//! sequence can be renamed while the stream runs. So the column that it is for counts for more than its name.

use std::collections::{BTreeMap, BTreeSet};

use stream_core::postgres::SqlClient;
use stream_core::relation::TableName;

/// Every sequence of a user, with each column that owns it or has its default from it. Lateral, so that indexes are used whatever the statistics:
/// a catalogue that was just filled has none.
const SEQUENCES: &str = "
SELECT n.nspname, c.relname, tn.nspname, t.relname, a.attname, used.owns, used.gives,
    format('AS %s INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s%s', format_type(s.seqtypid, NULL), s.seqincrement, s.seqmin,
           s.seqmax, s.seqstart, s.seqcache, CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END),
    EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_sequence s ON s.seqrelid = c.oid
LEFT JOIN LATERAL (
    SELECT refobjid AS relation, refobjsubid AS attribute, true AS owns, deptype = 'i' AS gives
    FROM pg_depend
    WHERE classid = 'pg_class'::regclass AND objid = c.oid AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i') AND refobjsubid > 0
    UNION ALL
    SELECT f.adrelid, f.adnum, false, true
    FROM pg_depend d JOIN pg_attrdef f ON f.oid = d.objid
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.refobjsubid = 0 AND d.classid = 'pg_attrdef'::regclass
) used ON true
LEFT JOIN pg_class t ON t.oid = used.relation
LEFT JOIN pg_namespace tn ON tn.oid = t.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = used.attribute
WHERE c.relkind = 'S' AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'sgstream')";

pub(super) type Column = (TableName, String);

/// A sequence and what it is for.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) name: TableName,
    /// The column it is dropped with.
    pub(super) owner: Option<Column>,
    /// The columns that it gives values.
    pub(super) users: BTreeSet<Column>,
    /// What follows its name in the statement that makes it.
    pub(super) definition: String,
    /// Whether it comes with an extension, and not with the schema.
    pub(super) of_extension: bool,
}

impl Sequence {
    /// The column that it belongs to; else those that it gives values.
    pub(super) fn columns(&self) -> impl Iterator<Item = &Column> {
        let users = self.users.iter().filter(|_| self.owner.is_none());
        self.owner.iter().chain(users)
    }

    fn only_column(&self) -> Option<&Column> {
        let mut columns = self.columns();
        columns.next().filter(|_| columns.next().is_none())
    }

    /// Whether its own column gets its values.
    fn is_in_use(&self) -> bool {
        self.columns().any(|column| self.users.contains(column))
    }
}

/// The sequences of a database.
pub(super) async fn read(client: &SqlClient) -> Result<Vec<Sequence>, tokio_postgres::Error> {
    let mut found = BTreeMap::new();
    for row in client.query(SEQUENCES, &[]).await? {
        let name = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let sequence = found.entry(name.clone()).or_insert_with(|| Sequence {
            name,
            owner: None,
            users: BTreeSet::new(),
            definition: row.get(7),
            of_extension: row.get(8),
        });
        let table = row.get::<_, Option<String>>(2).zip(row.get::<_, Option<String>>(3));
        let Some(((schema, table), column)) = table.zip(row.get::<_, Option<String>>(4)) else {
            continue;
        };
        let column = (TableName::new(schema, table), column);
        if row.get(6) {
            sequence.users.insert(column.clone());
        }
        if row.get(5) {
            sequence.owner = Some(column);
        }
    }
    Ok(found.into_values().collect())
}

/// For each of `wanted` the one of `there` that is the same: of that name at that column, else at that column, else of that name.
/// None is that of two.
pub(super) fn pair<'a>(wanted: &[Sequence], there: &'a [Sequence]) -> Vec<Option<&'a TableName>> {
    let by_name: BTreeMap<_, _> = there.iter().map(|other| (&other.name, other)).collect();
    let mut by_column: BTreeMap<&Column, Vec<&Sequence>> = BTreeMap::new();
    for other in there {
        if let Some(column) = other.only_column() {
            by_column.entry(column).or_default().push(other);
        }
    }
    let namesake = |sequence: &Sequence| by_name.get(&sequence.name).copied();
    let at_column = |sequence: &Sequence| {
        let found = sequence.owner.as_ref().and_then(|column| by_column.get(column));
        found.map_or(&[][..], Vec::as_slice).iter().copied()
    };
    let mut pairs = vec![None; wanted.len()];
    let mut taken = BTreeSet::new();
    let mut take = |found: &dyn Fn(&Sequence) -> Vec<&'a Sequence>| {
        for (sequence, pair) in wanted.iter().zip(&mut pairs).filter(|(_, pair)| pair.is_none()) {
            if let Some(other) = found(sequence).into_iter().find(|one| !taken.contains(&one.name))
            {
                taken.insert(&other.name);
                *pair = Some(&other.name);
            }
        }
    };
    take(&|one| at_column(one).filter(|other| other.name == one.name).collect());
    take(&|one| at_column(one).filter(|other| one.is_in_use() && other.is_in_use()).collect());
    take(&|one| at_column(one).collect());
    take(&|one| namesake(one).into_iter().collect());
    pairs
}
