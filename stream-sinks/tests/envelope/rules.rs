//! Rules for columns and keys on the tables that a stream captures.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::collections::BTreeMap;
use std::sync::Arc;

use stream_core::change::Change;
use stream_core::columns::Attributes;
use stream_core::relation::{Relation, TableName};
use stream_core::table::{Identity, Table, TableColumn};
use stream_sinks::cloudevent::encoder::EventOptions;
use stream_sinks::envelope::hash::HashVersion;
use stream_sinks::envelope::rules::{ColumnRules, MessageKeys};

use crate::changes::{plain, row, table, trees, trees_of};

/// The table of a relation, as the catalogue has it.
fn catalogued(relation: &Relation) -> Table {
    let key = relation.columns.iter().filter(|column| column.is_key);
    let key: Vec<_> = key.map(|column| column.name.clone()).collect();
    let column = |column: &stream_core::relation::Column| TableColumn {
        name: column.name.clone(),
        number: 1,
        type_oid: column.type_oid,
        type_name: String::new(),
        type_modifier: column.type_modifier,
        declared_type: String::new(),
        binary_safe: true,
        binary_from: 0,
        not_null: false,
        identity: Identity::None,
        generated: false,
    };
    Table {
        id: relation.id,
        name: relation.name.clone(),
        root: None,
        columns: relation.columns.iter().map(column).collect(),
        attributes: Attributes::default(),
        left_out: Vec::new(),
        computed: BTreeMap::new(),
        unpublished: Vec::new(),
        primary_key: key.clone(),
        unique_key: Vec::new(),
        has_ctid: true,
        parts: None,
        identity_columns: key,
        replica_identity: relation.replica_identity,
        bytes: 0,
        row_filter: None,
        published_by: Vec::new(),
        published_as: None,
    }
}

/// Cuts, masks and hashes, each for the columns of one pattern; `keys` are entries.
fn options(truncate: &[&str], mask: &[&str], hash: &[&str], keys: &[&str]) -> EventOptions {
    let mut columns = ColumnRules::default();
    truncate.iter().for_each(|entry| columns.truncate(entry).unwrap());
    mask.iter().for_each(|entry| columns.mask(entry).unwrap());
    for pattern in hash {
        columns.hash(HashVersion::V2, "SHA-256", "s4lt", pattern).unwrap();
    }
    EventOptions { columns, keys: MessageKeys::new(keys).unwrap(), ..plain() }
}

#[test]
fn rules_for_a_partitioned_table_hold_for_its_partitions_and_those_for_a_partition_win() {
    let part = Table { root: Some(TableName::new("public", "whole")), ..catalogued(&table()) };
    let insert =
        || Change::Insert { relation: table(), new: row(b"1", Some(b"secret"), Some(b"7")) };
    let shown = |options| trees_of(options, vec![Arc::new(part.clone())], vec![insert()]).remove(0);
    let event = shown(options(&[], &[r"4:public\.whole\.a"], &[], &["public.whole:b"]));
    assert_eq!(event["data"]["after"]["a"], "****");
    assert_eq!(event["partitionkey"], "public.t/7");
    let event = shown(options(&[r"3:public\.whole\.a"], &[], &[r"public\.whole\.id"], &[]));
    assert_eq!(event["data"]["after"]["a"], "sec");
    assert_eq!(event["data"]["after"]["id"].as_str().unwrap().len(), 64);
    let masks = [r"4:public\.whole\.a", r"5:public\.t\.a"];
    let event = shown(options(&[], &masks, &[], &["public.whole:b", "public.t:a"]));
    assert_eq!(event["data"]["after"]["a"], "*****");
    assert!(!event["partitionkey"].as_str().unwrap().ends_with("/7"), "{event}");
}

#[test]
fn a_chosen_key_with_a_column_that_the_table_does_not_have_is_no_key_of_it() {
    for keys in ["public.t:bb", "public.t:b,aa"] {
        let insert = Change::Insert { relation: table(), new: row(b"1", Some(b"x"), Some(b"7")) };
        let events = trees(options(&[], &[], &[], &[keys]), vec![insert]);
        assert_eq!(events[0]["partitionkey"], "public.t/1", "{keys}");
    }
}

#[test]
fn rules_that_match_no_column_are_warned_of_with_field_pattern_and_remedy() {
    let well = Table { left_out: vec!["hidden".to_owned()], ..catalogued(&table()) };
    let well = [Arc::new(Table { root: Some(TableName::new("public", "whole")), ..well })];
    let good = options(
        &[r"3:PUBLIC\.t\.a", r"3:public\.whole\.a"],
        &[r"4:public\.t\.hidden", "4:.*"],
        &[r"public\.whole\.(a|id)"],
        &["public.whole:id"],
    );
    assert_eq!(good.warnings(&well), [""; 0]);
    let bad = options(
        &[r"3:public\.t\.a", r"3:public\.t\.aa"],
        &[r"4:public\.t"],
        &[r"public\.u\.a"],
        &[r"public\.u:a", r"public\.t:id,bb"],
    );
    let remedy = "so that nothing is done: correct its spelling, or remove it";
    assert_eq!(
        bad.warnings(&well),
        [
            format!(
                r"`columnTruncateToLengthChars[1]` = `public\.t\.aa` matches no `schema.table.column`, {remedy}"
            ),
            format!(
                r"`columnMaskWithLengthChars[0]` = `public\.t` matches no `schema.table.column`, {remedy}"
            ),
            format!(
                r"`columnMaskHashV2` = `public\.u\.a` matches no `schema.table.column`, {remedy}"
            ),
            format!(r"`messageKeyColumns` = `public\.u` matches no `schema.table`, {remedy}"),
            "`messageKeyColumns` names `bb` for table `public.t`, which has no such column or does not show it, so that the table \
             keeps its own key: correct the name, or remove it"
                .to_owned(),
        ]
    );
}

#[test]
fn a_chosen_key_that_the_log_does_not_hold_of_deleted_rows_is_warned_of() {
    let table = catalogued(&table());
    let keys = options(&[], &[], &[], &["public.t:b,id,a"]);
    assert_eq!(
        keys.warnings(&[Arc::new(table.clone())]),
        [
            "`messageKeyColumns` names `b`, `a` for table `public.t`, whose replica identity does not hold them, so that events of \
             deleted rows have no such key: run `ALTER TABLE \"public\".\"t\" REPLICA IDENTITY FULL`, or that with a unique \
             index of these columns"
        ]
    );
    let identity_columns = table.columns.iter().map(|column| column.name.clone()).collect();
    assert_eq!(keys.warnings(&[Arc::new(Table { identity_columns, ..table })]), [""; 0]);
}
