//! `spec.source`: the database that is captured.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::connection::{SecretKeyRef, Tls, default_database};
use crate::problem::Problem;
use crate::properties::SourceProperties;

/// `spec.source`. Only the block of `type` is given.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.type != 'SGCluster' || has(self.sgCluster)",
        "message": "source.sgCluster is required when source.type is SGCluster",
        "fieldPath": ".sgCluster",
        "reason": "FieldValueRequired",
    },
    {
        "rule": "self.type != 'Postgres' || has(self.postgres)",
        "message": "source.postgres is required when source.type is Postgres",
        "fieldPath": ".postgres",
        "reason": "FieldValueRequired",
    },
    {
        "rule": "!(has(self.sgCluster) && has(self.postgres))",
        "message": "only the block of source.type may be set: remove the other one of source.sgCluster and source.postgres",
    },
]))]
pub struct Source {
    /// Kind of the source. The block of the same name has to be given as well.
    // Read it through `kind()`.
    pub r#type: SourceType,
    /// The source is an SGCluster in the stream's namespace. For type `SGCluster`.
    pub sg_cluster: Option<SourceCluster>,
    /// The source is any PostgreSQL server, 14 or newer. For type `Postgres`.
    pub postgres: Option<SourcePostgres>,
}

/// `spec.source.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum SourceType {
    /// A StackGres cluster, by its name.
    SGCluster,
    /// A server with `wal_level = logical`, by its address.
    Postgres,
}

/// `spec.source.sgCluster`: a cluster in the stream's namespace.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.username) || has(self.password)",
        "message": "username and password must be set together (or both omitted)",
        "fieldPath": ".password",
    },
    {
        "rule": "!has(self.password) || has(self.username)",
        "message": "username and password must be set together (or both omitted)",
        "fieldPath": ".username",
    },
]))]
pub struct SourceCluster {
    /// Name of the SGCluster. Example: `source-cluster`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Database to read from. Default: `postgres`. One stream reads one database.
    #[serde(default = "default_database")]
    pub database: String,
    /// User to log in as; goes with `password`. It needs REPLICATION and SELECT on the tables. Default: the cluster's superuser.
    pub username: Option<SecretKeyRef>,
    /// Password of the user; goes with `username`. Default: that of the cluster's superuser.
    pub password: Option<SecretKeyRef>,
    /// Regular expressions of what is captured. Default: all user tables.
    ///
    /// Each has to match a whole name and is tried, in any case, against `schema`, `schema.table` and `schema.table.column`. Where only columns of a table
    /// match, those and the key are captured. Examples: `public\.orders`, `inventory\..*`.
    #[serde(default)]
    pub includes: Vec<String>,
    /// Regular expressions of what is left out. They win over `includes`. Default: none.
    ///
    /// One that matches a schema or table leaves out the table; one that matches a column, the column. Example: `public\.audit_.*`.
    #[serde(default)]
    pub excludes: Vec<String>,
    /// Keep slot and publication after the tombstone signal. Default: false.
    ///
    /// A slot that is kept holds back the server's log until it is used or dropped.
    #[serde(default)]
    pub skip_drop_replication_slot_and_publication_on_tombstone: bool,
    /// Protection of the connection. Default: TLS where the server offers it.
    pub tls: Option<Tls>,
    /// Settings under the names that Debezium's connector for PostgreSQL has for them.
    #[serde(default)]
    pub debezium_properties: SourceProperties,
}

/// `spec.source.postgres`: any server with logical replication.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.username) || has(self.password)",
        "message": "username and password must be set together (or both omitted)",
        "fieldPath": ".password",
    },
    {
        "rule": "!has(self.password) || has(self.username)",
        "message": "username and password must be set together (or both omitted)",
        "fieldPath": ".username",
    },
]))]
pub struct SourcePostgres {
    /// Host name or address of the server. Example: `db.example.com`.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// Port of the server. Default: 5432.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1))]
    pub port: u16,
    /// Database to read from. Default: `postgres`. One stream reads one database.
    #[serde(default = "default_database")]
    pub database: String,
    /// User to log in as; goes with `password`. It needs REPLICATION and SELECT on the tables.
    pub username: Option<SecretKeyRef>,
    /// Password of the user; goes with `username`.
    pub password: Option<SecretKeyRef>,
    /// Regular expressions of what is captured. Default: all user tables.
    ///
    /// Each has to match a whole name and is tried, in any case, against `schema`, `schema.table` and `schema.table.column`. Where only columns of a table
    /// match, those and the key are captured. Examples: `public\.orders`, `inventory\..*`.
    #[serde(default)]
    pub includes: Vec<String>,
    /// Regular expressions of what is left out. They win over `includes`. Default: none.
    ///
    /// One that matches a schema or table leaves out the table; one that matches a column, the column. Example: `public\.audit_.*`.
    #[serde(default)]
    pub excludes: Vec<String>,
    /// Keep slot and publication after the tombstone signal. Default: false.
    ///
    /// A slot that is kept holds back the server's log until it is used or dropped.
    #[serde(default)]
    pub skip_drop_replication_slot_and_publication_on_tombstone: bool,
    /// Protection of the connection. Default: TLS where the server offers it.
    pub tls: Option<Tls>,
    /// Settings under the names that Debezium's connector for PostgreSQL has for them.
    #[serde(default)]
    pub debezium_properties: SourceProperties,
}

/// The block that `spec.source.type` chooses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SourceKind<'a> {
    /// A cluster, by name.
    SGCluster(&'a SourceCluster),
    /// A server, by address.
    Postgres(&'a SourcePostgres),
}

/// What the source blocks have in common: all but the address.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Capture<'a> {
    /// Path of the block, as `spec.source.sgCluster`.
    pub path: &'static str,
    /// Database.
    pub database: &'a str,
    /// User, by reference.
    pub username: Option<&'a SecretKeyRef>,
    /// Password, by reference.
    pub password: Option<&'a SecretKeyRef>,
    /// Patterns of what is captured.
    pub includes: &'a [String],
    /// Patterns of what is not.
    pub excludes: &'a [String],
    /// Keep slot and publication at the tombstone.
    pub skip_drop_replication_slot_and_publication_on_tombstone: bool,
    /// Protection of the connection.
    pub tls: Option<&'a Tls>,
    /// `debeziumProperties`.
    pub properties: &'a SourceProperties,
}

impl Source {
    /// The block that `type` chooses. The one place that reads `type`.
    ///
    /// # Errors
    /// The block of the type is missing.
    pub fn kind(&self) -> Result<SourceKind<'_>, Problem> {
        let (block, name) = match self.r#type {
            SourceType::SGCluster => {
                (self.sg_cluster.as_ref().map(SourceKind::SGCluster), "sgCluster")
            }
            SourceType::Postgres => (self.postgres.as_ref().map(SourceKind::Postgres), "postgres"),
        };
        block.ok_or_else(|| {
            let message =
                format!("source.{name} is required when source.type is {:?}", self.r#type);
            Problem::at(format!("spec.source.{name}"), message)
        })
    }
}

impl<'a> SourceKind<'a> {
    /// What the block says beside the address.
    pub fn capture(&self) -> Capture<'a> {
        /// The fields have the same names in both blocks.
        macro_rules! capture {
            ($path:literal, $block:expr) => {
                Capture {
                    path: $path,
                    database: &$block.database,
                    username: $block.username.as_ref(),
                    password: $block.password.as_ref(),
                    includes: &$block.includes,
                    excludes: &$block.excludes,
                    skip_drop_replication_slot_and_publication_on_tombstone: $block
                        .skip_drop_replication_slot_and_publication_on_tombstone,
                    tls: $block.tls.as_ref(),
                    properties: &$block.debezium_properties,
                }
            };
        }
        match *self {
            Self::SGCluster(block) => capture!("spec.source.sgCluster", block),
            Self::Postgres(block) => capture!("spec.source.postgres", block),
        }
    }
}

fn default_port() -> u16 {
    5432
}
