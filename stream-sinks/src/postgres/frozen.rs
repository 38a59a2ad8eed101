//! Rows that are copied frozen, into a table that the stream has just made.
//!
//! No later scan has to mark them, neither the builds of the indexes right after the copy nor the first vacuums. PostgreSQL does that only
//! in the transaction that has made or emptied the table, and whoever reads the table meanwhile waits for its end.

use stream_core::Error;
use stream_core::postgres::Wire;
use stream_core::sql::Literal;

use super::error::from_wire;
use super::plan::TargetTable;

/// Set to `on` in the transaction in which the table was emptied.
const EMPTIED: &str = "sgstream.emptied";

/// Whether rows can be copied frozen into `place` in the transaction that `wire` is in.
///
/// Nobody else can use the table from then on, until the transaction's end.
pub(super) async fn begin(wire: &mut Wire, place: &TargetTable) -> Result<bool, Error> {
    wire.simple_query(&empty_sql(place)).await.map_err(from_wire)?;
    let asked = format!("SELECT 1 WHERE current_setting('{EMPTIED}', true) = 'on'");
    Ok(!wire.simple_query(&asked).await.map_err(from_wire)?.is_empty())
}

/// Empties a table of the target that is empty, and does nothing else.
///
/// Not where somebody else would learn of it (triggers, foreign keys, publications), and not where it would have to wait. That the table
/// has no rows is seen in its file, once nobody can add any: neither row security nor what is not committed hides some.
fn empty_sql(place: &TargetTable) -> String {
    let name = place.name.quoted();
    let table = format!("{}::regclass", Literal(&name));
    let body = format!(
        "BEGIN \
         IF has_table_privilege({table}, 'TRUNCATE') \
            AND EXISTS (SELECT FROM pg_class WHERE oid = {table} AND relkind = 'r' AND NOT relhastriggers) \
            AND NOT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confrelid = {table}) \
            AND NOT EXISTS (SELECT FROM pg_publication WHERE pubtruncate) \
            AND pg_relation_size({table}) = 0 \
         THEN \
             LOCK TABLE ONLY {name} IN ACCESS EXCLUSIVE MODE NOWAIT; \
             IF pg_relation_size({table}) = 0 THEN \
                 TRUNCATE ONLY {name}; \
                 PERFORM set_config('{EMPTIED}', 'on', true); \
             END IF; \
         END IF; \
         EXCEPTION WHEN lock_not_available THEN NULL; \
         END"
    );
    format!("DO {}", Literal(&body))
}
