//! `spec.source`: the database that is captured.

use serde::Deserialize;

use crate::connection::{SecretKeyRef, Tls, default_database};
use crate::problem::Problem;
use crate::properties::SourceProperties;

/// `spec.source`. Blocks of other types than `type` are accepted and not looked at.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// `SGCluster` or `Postgres`: read it through [`kind()`](Self::kind).
    pub r#type: String,
    /// The block of type `SGCluster`.
    pub sg_cluster: Option<SourceCluster>,
    /// The block of type `Postgres`.
    pub postgres: Option<SourcePostgres>,
}

/// `spec.source.sgCluster`: a cluster in the stream's namespace.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceCluster {
    /// Name of the SGCluster.
    pub name: String,
    /// Database; default `postgres`.
    #[serde(default = "default_database")]
    pub database: String,
    /// User; unset: the cluster's superuser.
    pub username: Option<SecretKeyRef>,
    /// Password; unset: that of the cluster's superuser.
    pub password: Option<SecretKeyRef>,
    /// Patterns of what is captured; none: all user tables.
    #[serde(default)]
    pub includes: Vec<String>,
    /// Patterns of what is not captured; they win over `includes`.
    #[serde(default)]
    pub excludes: Vec<String>,
    /// Keep slot and publication at the tombstone; default false.
    #[serde(default)]
    pub skip_drop_replication_slot_and_publication_on_tombstone: bool,
    /// Protection of the connection; unset: the connection's own default. An addition to the resource.
    pub tls: Option<Tls>,
    /// `debeziumProperties`.
    #[serde(default)]
    pub debezium_properties: SourceProperties,
}

/// `spec.source.postgres`: any server with logical replication.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourcePostgres {
    /// Host name or address.
    pub host: String,
    /// Port; default 5432.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Database; default `postgres`.
    #[serde(default = "default_database")]
    pub database: String,
    /// User.
    pub username: Option<SecretKeyRef>,
    /// Password.
    pub password: Option<SecretKeyRef>,
    /// Patterns of what is captured; none: all user tables.
    #[serde(default)]
    pub includes: Vec<String>,
    /// Patterns of what is not captured; they win over `includes`.
    #[serde(default)]
    pub excludes: Vec<String>,
    /// Keep slot and publication at the tombstone; default false. An addition to the resource.
    #[serde(default)]
    pub skip_drop_replication_slot_and_publication_on_tombstone: bool,
    /// Protection of the connection; unset: the connection's own default. An addition to the resource.
    pub tls: Option<Tls>,
    /// `debeziumProperties`.
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
    /// The type is not known, or its block is missing.
    pub fn kind(&self) -> Result<SourceKind<'_>, Problem> {
        let missing = |block: &str| {
            Problem::at(
                format!("spec.source.{block}"),
                format!("source.{block} is required when source.type is {}", self.r#type),
            )
        };
        match self.r#type.as_str() {
            "SGCluster" => self
                .sg_cluster
                .as_ref()
                .map(SourceKind::SGCluster)
                .ok_or_else(|| missing("sgCluster")),
            "Postgres" => {
                self.postgres.as_ref().map(SourceKind::Postgres).ok_or_else(|| missing("postgres"))
            }
            _ => Err(Problem::at(
                "spec.source.type",
                "source.type must be one of: SGCluster, Postgres",
            )),
        }
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
