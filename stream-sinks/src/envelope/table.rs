//! A table's columns as events show them: decided once for each description of the table, used for each row.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use stream_core::change::{OldTuple, Tuple, TupleData};
use stream_core::filter::TableFilter;
use stream_core::relation::{Column, Relation, RelationId, ReplicaIdentity, TableName};
use stream_core::table::Table;
use stream_core::types::Types;
use twox_hash::XxHash3_64;

use super::codec::{Codec, Scratch, ValueError};
use super::equality::Equality;
use super::json::put_string;
use super::options::ValueOptions;
use super::rules::{ColumnRules, MessageKeys, Treatment};
use super::unavailable::{Placeholder, Unavailable};

/// The first `pg_type.oid` that is not the same on every server.
const FIRST_OWN_OID: u32 = 10_000;
/// `pg_type.oid` of types whose modifier is their length plus 4.
const WITH_LENGTH: [u32; 2] = [1042, 1043];

/// What the tables of a stream are planned by.
pub(crate) struct Rules<'a> {
    pub(crate) values: &'a ValueOptions,
    pub(crate) columns: &'a ColumnRules,
    pub(crate) keys: &'a MessageKeys,
    pub(crate) filter: &'a TableFilter,
    /// What tables were part of when they were copied.
    pub(crate) roots: &'a BTreeMap<RelationId, TableName>,
    pub(crate) types: &'a Types,
}

/// How the rows of a table are written.
#[derive(Debug)]
pub(crate) struct TablePlan {
    pub(crate) relation: Arc<Relation>,
    /// `schema.table`, as no other table has it: see [`unique_name`].
    pub(crate) name: String,
    /// A number for this name.
    pub(crate) order: u64,
    columns: Vec<ColumnPlan>,
    /// Places of the key's columns, in the key's order; empty without a key.
    pub(crate) key: Vec<usize>,
    /// Where somebody chose that key: places of the columns that tell rows apart; empty where none do.
    identity: Option<Vec<usize>>,
}

#[derive(Debug)]
struct ColumnPlan {
    is_shown: bool,
    is_identity: bool,
    /// `"name":`, with a comma before it.
    label: BytesMut,
    codec: Codec,
    equality: Equality,
    placeholder: Placeholder,
    treatment: Treatment,
    has_treatment: bool,
    /// The length that the column declares.
    length: Option<usize>,
}

/// A value that cannot be shown, and its column.
pub(crate) struct ColumnError {
    pub(crate) column: String,
    pub(crate) problem: ValueError,
}

/// A value of a row's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyValue<'a> {
    Known(&'a [u8]),
    /// NULL, or not in the log.
    Unknown,
    /// As known, but it must be nowhere in an event.
    Hidden(&'a [u8]),
}

impl TablePlan {
    /// Decides. `table` is what the catalogue says of it, if it still has it.
    pub(crate) fn new(relation: &Arc<Relation>, table: Option<&Table>, rules: &Rules<'_>) -> Self {
        let root = match table {
            Some(table) => table.root.as_ref(),
            None => rules.roots.get(&relation.id),
        };
        let names = names(&relation.name, root);
        let shown = shown(relation, table, &names, rules.filter);
        let columns = relation
            .columns
            .iter()
            .zip(shown)
            .map(|(column, is_shown)| ColumnPlan::new(&names, column, is_shown, rules))
            .collect();
        let own = key(relation, table);
        let place = |name: &String| relation.columns.iter().position(|column| column.name == *name);
        // One that the table does not have all columns of is no key of it.
        let chosen = rules.keys.of(&names).and_then(|chosen| chosen.iter().map(place).collect());
        let (key, identity) = match chosen {
            Some(chosen) => (chosen, Some(own)),
            None => (own, None),
        };
        let name = unique_name(&relation.name);
        let order = XxHash3_64::oneshot(name.as_bytes());
        Self { relation: Arc::clone(relation), name, order, columns, key, identity }
    }

    /// A type of the table's that neither every server has nor the catalogue, as far as it is known here.
    pub(crate) fn unknown_type(relation: &Relation, types: &Types) -> Option<u32> {
        let oids = relation.columns.iter().map(|column| column.type_oid);
        oids.filter(|oid| *oid >= FIRST_OWN_OID).find(|oid| types.get(*oid).is_none())
    }

    /// Whether rows are told apart by the same columns, of the same types.
    pub(crate) fn has_keys_of(&self, other: &Self) -> bool {
        fn columns(plan: &TablePlan) -> impl Iterator<Item = Option<(&str, u32, i32)>> {
            let places = plan
                .key
                .iter()
                .map(Some)
                .chain([None])
                .chain(plan.identity.iter().flatten().map(Some));
            places.map(|at| {
                let column = plan.relation.columns.get(*at?)?;
                Some((column.name.as_str(), column.type_oid, column.type_modifier))
            })
        }
        columns(self).eq(columns(other))
    }

    /// Appends a row as an object. Values that `row` does not hold are taken from `before`, if that is the whole row.
    pub(crate) fn put_row(
        &self,
        row: &Tuple,
        before: Option<&OldTuple>,
        unavailable: &Unavailable,
        scratch: &mut Scratch,
        out: &mut BytesMut,
    ) -> Result<(), ColumnError> {
        let start = out.len();
        let only_identity = matches!(before, Some(OldTuple::Key(_)));
        let mut before = before.map(|before| before.tuple().iter());
        for (column, value) in self.columns.iter().zip(row) {
            let before = before.as_mut().and_then(Iterator::next);
            if !column.is_shown {
                continue;
            }
            out.extend_from_slice(&column.label);
            let value = match (value, before) {
                (TupleData::UnchangedToast, Some(before))
                    if !only_identity || column.is_identity =>
                {
                    before
                }
                (value, _) => value,
            };
            column.put(value, unavailable, scratch, out).map_err(|problem| {
                let label = String::from_utf8_lossy(&column.label);
                ColumnError { column: label.trim_matches([',', ':', '"']).to_owned(), problem }
            })?;
        }
        match out.get_mut(start) {
            // The first comma.
            Some(first) => *first = b'{',
            None => out.put_u8(b'{'),
        }
        out.put_u8(b'}');
        Ok(())
    }

    /// The values of a row's key, in the key's order. `row` is what a change left, if anything: of a value that was not touched
    /// and is stored apart, the log holds it in the `old` row.
    pub(crate) fn key_values<'a>(
        &'a self,
        row: Option<&'a Tuple>,
        old: Option<&'a OldTuple>,
    ) -> impl Iterator<Item = KeyValue<'a>> {
        self.values(&self.key, row, old)
    }

    /// The values that tell a row from all others, where those of its key may not; `None`: those of its key do.
    pub(crate) fn identity_values<'a>(
        &'a self,
        row: &'a Tuple,
    ) -> Option<impl Iterator<Item = KeyValue<'a>>> {
        self.identity.as_deref().map(|identity| self.values(identity, Some(row), None))
    }

    fn values<'a>(
        &'a self,
        places: &'a [usize],
        row: Option<&'a Tuple>,
        old: Option<&'a OldTuple>,
    ) -> impl Iterator<Item = KeyValue<'a>> {
        let only_identity = matches!(old, Some(OldTuple::Key(_)));
        places.iter().map(move |&at| match (row, old) {
            (Some(row), None) => self.key_value(at, row, false),
            (Some(row), Some(_)) if row.get(at) != Some(TupleData::UnchangedToast) => {
                self.key_value(at, row, false)
            }
            (_, Some(old)) => self.key_value(at, old.tuple(), only_identity),
            (None, None) => KeyValue::Unknown,
        })
    }

    /// What keeps a change's event in order: numbers for its row's key and, where somebody chose that, for what tells the row from all others.
    /// Equal values of one table, equal numbers. `None` where there is no key, one of these is not known or was another before, or nobody can tell by
    /// their text which values are equal.
    pub(crate) fn fingerprints(
        &self,
        row: Option<&Tuple>,
        old: Option<&OldTuple>,
    ) -> Option<(u64, Option<u64>)> {
        let key = self.fingerprint(&self.key, row, old)?;
        let Some(identity) = self.identity.as_deref().filter(|identity| !identity.is_empty())
        else {
            return Some((key, None));
        };
        let now = self.fingerprint(identity, row, old)?;
        let before = old.and_then(|old| self.fingerprint(identity, None, Some(old)));
        before.is_none_or(|before| before == now).then_some((key, Some(now)))
    }

    fn fingerprint(
        &self,
        places: &[usize],
        row: Option<&Tuple>,
        old: Option<&OldTuple>,
    ) -> Option<u64> {
        let mut texts =
            places.iter().zip(self.values(places, row, old)).map(|(at, value)| match value {
                KeyValue::Known(text) | KeyValue::Hidden(text) => {
                    self.columns.get(*at)?.equality.text(text)
                }
                KeyValue::Unknown => None,
            });
        let hash = texts
            .try_fold(self.order, |seed, text| Some(XxHash3_64::oneshot_with_seed(seed, text?)));
        hash.filter(|_| !places.is_empty())
    }

    fn key_value<'a>(&self, at: usize, row: &'a Tuple, only_identity: bool) -> KeyValue<'a> {
        let column = self.columns.get(at);
        let is_hidden = column.is_some_and(|column| column.treatment.hides());
        let is_held = !only_identity || column.is_some_and(|column| column.is_identity);
        match row.get(at).filter(|_| is_held) {
            Some(TupleData::Text(text)) if is_hidden => KeyValue::Hidden(text),
            Some(TupleData::Text(text)) => KeyValue::Known(text),
            Some(TupleData::Null | TupleData::UnchangedToast | TupleData::Binary(_)) | None => {
                KeyValue::Unknown
            }
        }
    }

    /// Whether an update changed the key, as far as the log tells.
    pub(crate) fn key_changed(&self, old: &OldTuple, new: &Tuple) -> bool {
        let old = self.key_values(None, Some(old));
        let mut is_usable = !self.key.is_empty();
        let mut is_changed = false;
        for (old, new) in old.zip(self.key_values(Some(new), None)) {
            is_usable &= old != KeyValue::Unknown;
            // A key that is stored apart and was not touched is the same.
            is_changed |= new != KeyValue::Unknown && old != new;
        }
        is_usable && is_changed
    }

    /// Whether an update changed nothing that is shown. Without the whole old row nobody knows.
    pub(crate) fn is_unchanged(&self, old: Option<&OldTuple>, new: &Tuple) -> bool {
        let Some(OldTuple::Full(old)) = old else { return false };
        let shown = self.columns.iter().map(|column| column.is_shown);
        old.iter().zip(new).zip(shown).all(|((old, new), is_shown)| {
            !is_shown || old == new || new == TupleData::UnchangedToast
        })
    }
}

impl ColumnPlan {
    fn new(names: &[&TableName], column: &Column, is_shown: bool, rules: &Rules<'_>) -> Self {
        let codec = Codec::new(column.type_oid, column.type_modifier, rules.types, rules.values);
        let treatment = rules.columns.treatment(names, &column.name);
        let mut label = BytesMut::from(&b","[..]);
        put_string(&column.name, &mut label);
        label.put_u8(b':');
        let length = WITH_LENGTH.contains(&column.type_oid).then(|| column.type_modifier - 4);
        Self {
            is_shown: is_shown && (rules.values.include_unknown || !codec.is_unknown()),
            is_identity: column.is_key,
            label,
            placeholder: Placeholder::of(column.type_oid, &codec),
            codec,
            equality: Equality::of(column.type_oid, column.type_modifier, rules.types),
            has_treatment: !treatment.is_none(),
            treatment,
            length: length.and_then(|length| usize::try_from(length).ok()),
        }
    }

    fn put(
        &self,
        value: TupleData<'_>,
        unavailable: &Unavailable,
        scratch: &mut Scratch,
        out: &mut BytesMut,
    ) -> Result<(), ValueError> {
        match value {
            TupleData::Text(text) if !self.has_treatment => self.codec.put(text, scratch, out),
            TupleData::Null if !self.has_treatment => {
                out.extend_from_slice(b"null");
                Ok(())
            }
            TupleData::Text(text) => {
                self.treatment.put(Some(text), &self.codec, self.length, scratch, out)
            }
            TupleData::Null => self.treatment.put(None, &self.codec, self.length, scratch, out),
            TupleData::UnchangedToast => {
                out.extend_from_slice(unavailable.get(self.placeholder));
                Ok(())
            }
            TupleData::Binary(_) => Err(ValueError::Binary),
        }
    }
}

/// The names that rules know a table by: its own and, for a partition, that of its root.
pub(super) fn names<'a>(own: &'a TableName, root: Option<&'a TableName>) -> Vec<&'a TableName> {
    std::iter::once(own).chain(root).collect()
}

/// `schema.table`, in which the dots of either part are `%2E`, and its percent signs `%25`: `"a.b".c` is not `a."b.c"`.
fn unique_name(name: &TableName) -> String {
    let part = |text: &str| text.replace('%', "%25").replace('.', "%2E");
    format!("{}.{}", part(&name.schema), part(&name.name))
}

/// Which columns are shown: those that are captured. One that the catalogue did not have when it was read is judged as
/// it would be there.
fn shown(
    relation: &Relation,
    table: Option<&Table>,
    names: &[&TableName],
    filter: &TableFilter,
) -> Vec<bool> {
    let columns = relation.columns.iter().zip(filter.takes(names, relation));
    columns
        .map(|(column, is_taken)| match table {
            Some(table) if table.left_out.contains(&column.name) => false,
            Some(table) if table.columns.iter().any(|known| known.name == column.name) => true,
            _ => is_taken,
        })
        .collect()
}

/// Places of the key's columns: those by which the log finds rows, or the primary key, or a unique index.
fn key(relation: &Relation, table: Option<&Table>) -> Vec<usize> {
    let place = |name: &String| relation.columns.iter().position(|column| column.name == *name);
    let places = |names: fn(&Table) -> &[String]| -> Vec<_> {
        let found: Option<_> = table.and_then(|table| names(table).iter().map(place).collect());
        found.unwrap_or_default()
    };
    let primary = places(|table| &table.primary_key);
    let flagged: Vec<_> = (0..)
        .zip(&relation.columns)
        .filter(|(_, column)| column.is_key)
        .map(|(at, _)| at)
        .collect();
    let key = match relation.replica_identity {
        ReplicaIdentity::Full | ReplicaIdentity::Nothing => primary,
        ReplicaIdentity::Default | ReplicaIdentity::Index => {
            let is_same =
                primary.len() == flagged.len() && flagged.iter().all(|at| primary.contains(at));
            if is_same { primary } else { flagged }
        }
    };
    if key.is_empty() { places(|table| &table.unique_key) } else { key }
}
