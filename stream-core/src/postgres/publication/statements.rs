//! The statements that make a publication, and change it. Pure.

use super::AutoCreate;
use crate::postgres::capture::Captured;
use crate::relation::TableName;
use crate::sql::{Ident, list};

/// The statement that creates the publication.
pub(in crate::postgres) fn create_sql(
    name: &str,
    captured: &Captured,
    via_root: bool,
    mode: AutoCreate,
) -> String {
    let tables = captured.published();
    let scope = match mode {
        AutoCreate::AllTables => " FOR ALL TABLES".to_owned(),
        AutoCreate::Filtered | AutoCreate::Disabled if !tables.is_empty() => {
            // ONLY: what inherits from a table without being its partition is listed by itself.
            let tables = tables.into_iter().map(|table| format!("ONLY {}", table.quoted()));
            format!(" FOR TABLE {}", list(tables))
        }
        AutoCreate::Filtered | AutoCreate::Disabled | AutoCreate::NoTables => String::new(),
    };
    let more = captured.needs_generated().then_some(", publish_generated_columns = stored");
    let options = format!("publish_via_partition_root = {via_root}{}", more.unwrap_or_default());
    format!("CREATE PUBLICATION {}{scope} WITH ({options})", Ident(name))
}

/// The statement that adds generated columns to the publication.
pub(in crate::postgres) fn generated_sql(name: &str) -> String {
    format!("ALTER PUBLICATION {} SET (publish_generated_columns = stored)", Ident(name))
}

/// The statement that adds tables to the publication.
pub(in crate::postgres) fn add_sql(name: &str, tables: &[TableName]) -> String {
    let tables = list(tables.iter().map(|table| format!("ONLY {}", table.quoted())));
    format!("ALTER PUBLICATION {} ADD TABLE {tables}", Ident(name))
}
