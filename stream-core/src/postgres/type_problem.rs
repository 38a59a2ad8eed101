//! Columns whose values do not mean at a target what they mean at the source. Pure.

use super::capture::Captured;
use crate::finding::Finding;

/// Types whose values no server takes.
const WITHOUT_INPUT: [&str; 6] = [
    "pg_node_tree",
    "pg_ndistinct",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
];
/// Types whose values name an object of the server.
const NAMES: [&str; 12] = [
    "regclass",
    "regcollation",
    "regconfig",
    "regdatabase",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
];

/// What to know of the captured columns' types.
pub(super) fn problems(captured: &Captured) -> Vec<Finding> {
    let columns = captured
        .tables
        .iter()
        .flat_map(|table| table.columns.iter().map(move |column| (&table.name, column)));
    columns
        .filter_map(|(table, column)| {
            let declared = &column.type_name;
            let element = declared.trim_end_matches("[]");
            let what = format!("column `{}` of `{table}` has type `{declared}`", column.name);
            let path = format!("{table}.{}", column.name);
            if WITHOUT_INPUT.contains(&element) {
                return Some(Finding::blocking(format!(
                    "{what}, whose values no server takes: add `{path}` to `excludes`"
                )));
            }
            if NAMES.contains(&element) {
                return Some(Finding::warning(format!(
                    "{what}: what its values name has to be at the target under the same name; create it there, or \
                     add `{path}` to `excludes`"
                )));
            }
            let is_large_object = matches!(element.rsplit('.').next(), Some("oid" | "lo"));
            (captured.has_large_objects && is_large_object).then(|| {
                Finding::warning(format!(
                    "{what}: where its values are large objects, these are missing at the target; copy them by \
                     other means"
                ))
            })
        })
        .collect()
}
