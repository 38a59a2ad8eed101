//! Looks a target over for a person, before anything is written.
//!
//! In: what the stream is to be, and what its source has. Out: all that stands in the way or may surprise, at once. The session is
//! read-only: nothing is changed. Where the schema would be imported, the import is planned, and not run.

use std::collections::BTreeSet;
use std::sync::Arc;

use stream_core::Error;
use stream_core::checkpoint::Checkpoint;
use stream_core::finding::Finding;
use stream_core::postgres::{ConnectOptions, SqlClient, problem};
use stream_core::relation::TableName;
use stream_core::source::Inspected;
use stream_core::sql::Ident;

use super::error::from_sql;
use super::schema::{Import, SchemaError};
use super::tables::Tables;
use super::{ImportOptions, PostgresSinkOptions, check, import, no_replica_role, progress, store};

/// A target that is looked at.
pub struct TargetSurvey {
    target: ConnectOptions,
    stream: String,
    client: Arc<SqlClient>,
}

const SERVER: &str = "
SELECT pg_is_in_recovery(),
       has_database_privilege(current_database(), 'CREATE'),
       CASE WHEN current_setting('server_version_num')::int >= 150000
            THEN has_parameter_privilege('session_replication_role', 'SET')
            ELSE (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) END";

/// The progress tables that the role may not write.
const PROGRESS: &str = "
SELECT 'sgstream.' || name FROM unnest(ARRAY['progress', 'table_sync', 'pending']) AS name
WHERE NOT (has_schema_privilege('sgstream', 'USAGE') AND (SELECT bool_and(has_table_privilege('sgstream.' || name, wanted))
           FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS wanted))";

/// The schemas in which the role may not create, and whether each is there.
const SCHEMAS: &str = "
SELECT wanted.name, n.oid IS NOT NULL FROM unnest($1::text[]) AS wanted (name)
LEFT JOIN pg_namespace n ON n.nspname = wanted.name
WHERE NOT coalesce(has_schema_privilege(n.oid, 'CREATE'), has_database_privilege(current_database(), 'CREATE'))
ORDER BY 1";

impl TargetSurvey {
    /// Opens a session that cannot write, for the stream of that name.
    ///
    /// # Errors
    /// When the target cannot be reached.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn connect(target: ConnectOptions, stream: String) -> Result<Self, Error> {
        let client = SqlClient::connect(&target).await.map_err(problem::from_connect)?;
        client
            .batch_execute("SET default_transaction_read_only = on")
            .await
            .map_err(|error| from_sql("begin to look", &error))?;
        Ok(Self { target, stream, client: Arc::new(client) })
    }

    /// How far the stream is; the default when it never started.
    ///
    /// # Errors
    /// When the progress cannot be read.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn checkpoint(&self) -> Result<Checkpoint, Error> {
        if !progress::is_there(&self.client).await? {
            return Ok(Checkpoint::default());
        }
        Ok(store::read(&self.client, &self.stream).await?.unwrap_or_default())
    }

    /// What can be said without the source.
    ///
    /// # Errors
    /// When the target does not answer.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn server(&self) -> Result<Vec<Finding>, Error> {
        let Self { target, stream: _, client } = self;
        let failed = |error| from_sql("ask for the role's rights", &error);
        let row = client.query_one(SERVER, &[]).await.map_err(failed)?;
        let (is_standby, may_create, may_set): (bool, bool, bool) =
            (row.get(0), row.get(1), row.get(2));
        let mut findings = Vec::new();
        if is_standby {
            let server = target.server();
            findings.push(Finding::blocking(format!(
                "`{server}` is a standby, which takes no writes: connect to its primary"
            )));
        }
        if progress::is_there(client).await? {
            let rows = client.query(PROGRESS, &[]).await.map_err(failed)?;
            let tables: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            if !tables.is_empty() {
                let role = &target.user;
                findings.push(Finding::blocking(format!(
                    "role `{role}` may not keep the stream's progress: run `GRANT USAGE ON SCHEMA sgstream TO {0}; GRANT SELECT, \
                     INSERT, UPDATE, DELETE ON {1} TO {0}` there as their owner",
                    Ident(role),
                    tables.join(", ")
                )));
            }
        } else if !may_create {
            findings.push(Finding::blocking(progress::needs_schema(target)));
        }
        if !may_set {
            findings.push(Finding::warning(no_replica_role(&target.user)));
        }
        Ok(findings)
    }

    /// Whether the target can take what `source` has.
    ///
    /// # Errors
    /// When the target does not answer.
    ///
    /// # Cancel safety
    /// Nothing is changed; a running `pg_dump` is killed.
    pub async fn tables(
        &self,
        options: &PostgresSinkOptions,
        source: &Inspected,
        checkpoint: &Checkpoint,
    ) -> Result<Vec<Finding>, Error> {
        let source_session = check::namesake(options).await?;
        // All else would follow from it, and to follow that would harm the source.
        if let Some(same) = check::own_source(&self.client, source_session, &options.target).await?
        {
            return Ok(vec![Finding::blocking(same.to_string())]);
        }
        let client = &self.client;
        let (tables, missing) = Tables::find(Arc::clone(client), source, checkpoint).await?;
        let known: BTreeSet<TableName> = checkpoint.tables.keys().cloned().collect();
        let import = options.import.as_ref();
        let problems = check::problems(client, &tables, source, options, &known, import.is_some());
        let mut findings: Vec<_> = problems.await?.into_iter().map(Finding::blocking).collect();
        if let (Some(import), false) = (import, missing.is_empty()) {
            let gone = check::gone(&missing, source, checkpoint);
            findings.extend(gone.into_iter().map(Finding::blocking));
            findings.extend(self.schemas(&missing).await?);
            findings
                .extend(self.import(&options.source, import, source, &missing, checkpoint).await);
        }
        Ok(findings)
    }

    /// Schemas in which the missing tables could not be made.
    async fn schemas(&self, missing: &[TableName]) -> Result<Vec<Finding>, Error> {
        let schemas: BTreeSet<&str> = missing.iter().map(|name| name.schema.as_str()).collect();
        let schemas: Vec<&str> = schemas.into_iter().collect();
        let rows = self
            .client
            .query(SCHEMAS, &[&schemas])
            .await
            .map_err(|error| from_sql("ask for the rights on schemas", &error))?;
        let role = &self.target.user;
        let finding = |row: &tokio_postgres::Row| {
            let schema: &str = row.get(0);
            let object = match row.get(1) {
                true => format!("SCHEMA {}", Ident(schema)),
                false => format!("DATABASE {}", Ident(&self.target.database)),
            };
            Finding::blocking(format!(
                "role `{role}` may not create the tables of schema `{schema}`: run `GRANT CREATE ON {object} TO {}` there",
                Ident(role)
            ))
        };
        Ok(rows.iter().map(finding).collect())
    }

    /// What the import of the schema would say.
    async fn import(
        &self,
        from: &ConnectOptions,
        options: &ImportOptions,
        source: &Inspected,
        missing: &[TableName],
        checkpoint: &Checkpoint,
    ) -> Vec<Finding> {
        match import::plan(from, options, &self.client, source, missing, checkpoint).await {
            Ok(Import { warnings, left_out, .. }) => {
                let left_out = left_out.iter().map(|left_out| {
                    let statement = one_line(left_out.statement.as_deref().unwrap_or_default());
                    let add = if statement.is_empty() {
                        String::new()
                    } else {
                        format!("; to add it: `{statement}`")
                    };
                    format!(
                        "{} `{}` is not imported: {}{add}",
                        left_out.kind, left_out.name, left_out.reason
                    )
                });
                warnings.into_iter().chain(left_out).map(Finding::warning).collect()
            }
            Err(error) => {
                let is_list = matches!(error.reason(), Some(SchemaError::NoExtension { .. }));
                let Finding { weight, message } = error.into();
                let lines: Vec<&str> =
                    if is_list { message.lines().collect() } else { vec![&message] };
                lines.into_iter().map(|line| Finding { weight, message: line.to_owned() }).collect()
            }
        }
    }
}

/// A statement of several lines, to be copied from one.
fn one_line(statement: &str) -> String {
    statement.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}
