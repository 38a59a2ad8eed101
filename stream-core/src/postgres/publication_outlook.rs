//! Whether the publication could be made as a stream needs it, without making it.

use serde::Deserialize;

use super::capture::Captured;
use super::publication::{
    AutoCreate, Publication, PublicationError, add_sql, create_sql, generated_sql,
};
use super::query::json_row;
use super::{PostgresSourceOptions, SnapshotMode, SqlClient, problem, tables};
use crate::error::Error;
use crate::finding::Finding;
use crate::relation::TableName;
use crate::sql::list;

/// What we may do here.
#[derive(Deserialize)]
struct Rights {
    role: String,
    database: String,
    is_superuser: bool,
    may_create: bool,
    is_standby: bool,
}

const RIGHTS: &str = "
SELECT row_to_json(t)::text FROM (
SELECT current_user AS role, current_database() AS database, pg_is_in_recovery() AS is_standby,
       has_database_privilege(current_database(), 'CREATE') AS may_create,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS is_superuser) t";

/// What stands in the way of the publication.
pub(super) async fn outlook(
    client: &SqlClient,
    options: &PostgresSourceOptions,
    captured: &Captured,
    publication: Option<&Publication>,
) -> Result<Option<Finding>, Error> {
    if captured.all().next().is_none() || options.snapshot == SnapshotMode::RowsOnly {
        return Ok(None);
    }
    let rights: Rights = json_row(client, "read the role's rights", RIGHTS, &[])
        .await
        .map_err(problem::from_query)?;
    let (name, via_root) = (&options.publication, options.via_partition_root);
    let needs_owner = |sql: String, reason: String| {
        Finding::blocking(PublicationError::NeedsOwner { name: name.clone(), sql, reason })
    };
    let Some(publication) = publication else {
        if options.auto_create == AutoCreate::Disabled {
            let sql = create_sql(name, captured, via_root, AutoCreate::Filtered);
            return Ok(Some(Finding::blocking(PublicationError::Missing {
                name: name.clone(),
                sql,
            })));
        }
        let sql = create_sql(name, captured, via_root, options.auto_create);
        let published = captured.published();
        let listed: Vec<_> = published.iter().copied().collect();
        return Ok(rights
            .refusal(options.auto_create, captured, &listed)
            .map(|why| needs_owner(sql, why)));
    };
    if publication.lacks_generated(captured) && options.auto_create.may_add() && !publication.owned
    {
        let why = format!("role `{}` does not own the publication", rights.role);
        return Ok(Some(needs_owner(generated_sql(name), why)));
    }
    let missing = publication.lacks(captured);
    if missing.is_empty() {
        return Ok(None);
    }
    if !options.auto_create.may_add() {
        return Ok(Some(Finding::blocking(tables::not_published(name, &missing))));
    }
    let listed: Vec<_> = missing.iter().collect();
    let refusal = match publication.owned {
        true => rights.refusal(AutoCreate::Filtered, captured, &listed),
        false => Some(format!("role `{}` does not own the publication", rights.role)),
    };
    Ok(refusal.map(|why| needs_owner(add_sql(name, &missing), why)))
}

impl Rights {
    /// Why the server would refuse a publication of `listed`.
    fn refusal(
        &self,
        mode: AutoCreate,
        captured: &Captured,
        listed: &[&TableName],
    ) -> Option<String> {
        let Self { role, database, is_superuser, may_create, is_standby } = self;
        if *is_standby {
            return Some("this server is a standby".to_owned());
        }
        if *is_superuser {
            return None;
        }
        if mode == AutoCreate::AllTables {
            return Some(format!("role `{role}` is no superuser"));
        }
        if !may_create {
            return Some(format!("role `{role}` may not create in database `{database}`"));
        }
        let foreign = captured
            .all()
            .filter(|table| !table.owned && listed.contains(&&table.name))
            .map(|table| format!("`{}`", table.name));
        let foreign = list(foreign);
        let needs_tables = mode == AutoCreate::Filtered && !foreign.is_empty();
        needs_tables.then(|| format!("role `{role}` does not own {foreign}"))
    }
}
