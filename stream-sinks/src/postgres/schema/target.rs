//! What the target has already.

use std::collections::HashSet;

use stream_core::relation::TableName;
use tokio_postgres::Client;

use super::archive::Entry;
use super::{SchemaError, server_words};

/// The part of the target's catalogue that an import has to know.
#[derive(Clone, Debug, Default)]
pub(super) struct Target {
    /// Objects: a letter for their class, the schema, and the name as a dump spells it.
    objects: HashSet<(u8, String, String)>,
    /// The user we are.
    pub(super) user: String,
}

/// The classes of [`Target::objects`], and what is not in any schema: `e` extension, `n` schema,
/// `r` relation, `t` type, `f` function, `c` collation, `o` role, `s` tablespace, `a` available extension.
const OBJECTS: &str = "
    SELECT 'n', '', nspname::text FROM pg_catalog.pg_namespace
    UNION ALL SELECT 'e', '', extname::text FROM pg_catalog.pg_extension
    UNION ALL SELECT 'a', '', name::text FROM pg_catalog.pg_available_extensions
    UNION ALL SELECT 'o', '', rolname::text FROM pg_catalog.pg_roles
    UNION ALL SELECT 's', '', spcname::text FROM pg_catalog.pg_tablespace
    UNION ALL SELECT class, nspname::text, name FROM (
        SELECT 'r', relnamespace, relname::text FROM pg_catalog.pg_class
        WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        UNION ALL SELECT 't', typnamespace, typname::text FROM pg_catalog.pg_type
        UNION ALL SELECT 'c', collnamespace, collname::text FROM pg_catalog.pg_collation
        UNION ALL SELECT 'f', pronamespace, proname || '(' || CASE
            WHEN prokind = 'a' AND pronargs = 0 THEN '*'
            ELSE coalesce((
                SELECT pg_catalog.string_agg(pg_catalog.format_type(argument, NULL), ', ' ORDER BY place)
                FROM pg_catalog.unnest(proargtypes) WITH ORDINALITY AS arguments (argument, place)
            ), '') END || ')' FROM pg_catalog.pg_proc
    ) AS objects (class, namespace, name)
    JOIN pg_catalog.pg_namespace AS n ON n.oid = namespace
    WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
";

impl Target {
    /// Asks the target. Leaves the session with an empty search path: names of types depend on it.
    pub(super) async fn read(client: &Client) -> Result<Self, SchemaError> {
        let failed = |source| SchemaError::Catalogue { message: server_words(&source), source };
        client.batch_execute("SET search_path TO ''").await.map_err(failed)?;
        let user = client.query_one("SELECT current_user::text", &[]).await.map_err(failed)?;
        let mut target = Self { user: user.try_get(0).map_err(failed)?, ..Self::default() };
        for row in client.query(OBJECTS, &[]).await.map_err(failed)? {
            let class: String = row.try_get(0).map_err(failed)?;
            let class = class.bytes().next().unwrap_or_default();
            let name = (row.try_get(1).map_err(failed)?, row.try_get(2).map_err(failed)?);
            target.objects.insert((class, name.0, name.1));
        }
        Ok(target)
    }

    fn contains(&self, class: u8, schema: &str, name: &str) -> bool {
        self.objects.contains(&(class, schema.to_owned(), name.to_owned()))
    }

    /// Whether the target has the object of an entry. Kinds that are never looked up are not found.
    pub(super) fn has(&self, entry: &Entry) -> bool {
        class(&entry.kind).is_some_and(|class| self.contains(class, &entry.schema, &entry.name))
    }

    pub(super) fn has_relation(&self, table: &TableName) -> bool {
        self.contains(b'r', &table.schema, &table.name)
    }

    pub(super) fn has_role(&self, role: &str) -> bool {
        self.contains(b'o', "", role)
    }

    pub(super) fn has_tablespace(&self, tablespace: &str) -> bool {
        self.contains(b's', "", tablespace)
    }

    /// Whether the server could install an extension.
    pub(super) fn offers(&self, extension: &str) -> bool {
        self.contains(b'a', "", extension)
    }

    #[cfg(test)]
    pub(super) fn with(objects: &[(u8, &str, &str)]) -> Self {
        let objects = objects
            .iter()
            .map(|&(class, schema, name)| (class, schema.to_owned(), name.to_owned()));
        Self { objects: objects.collect(), user: "postgres".to_owned() }
    }
}

/// The class under which objects of a kind are looked up.
pub(super) fn class(kind: &str) -> Option<u8> {
    match kind {
        "SCHEMA" => Some(b'n'),
        "EXTENSION" => Some(b'e'),
        "TABLE" | "VIEW" | "MATERIALIZED VIEW" | "FOREIGN TABLE" | "SEQUENCE" => Some(b'r'),
        "TYPE" | "DOMAIN" | "SHELL TYPE" => Some(b't'),
        "FUNCTION" | "PROCEDURE" | "AGGREGATE" => Some(b'f'),
        "COLLATION" => Some(b'c'),
        _ => None,
    }
}
