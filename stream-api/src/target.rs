//! `spec.target`: where the data goes.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::connection::{ConfigMapKeyRef, SecretKeyRef, Tls, default_database};
use crate::http::Http;
use crate::problem::Problem;
use crate::properties::SinkProperties;

/// `spec.target`. Blocks of other types than `type` are accepted and not looked at.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// `SGCluster`, `CloudEvent` or `PgLambda`: read it through [`kind()`](Self::kind).
    pub r#type: String,
    /// The block of type `SGCluster`.
    pub sg_cluster: Option<TargetCluster>,
    /// The block of type `CloudEvent`.
    pub cloud_event: Option<CloudEvent>,
    /// The block of type `PgLambda`.
    pub pg_lambda: Option<PgLambda>,
}

/// `spec.target.sgCluster`: a cluster in the stream's namespace.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetCluster {
    /// Name of the SGCluster.
    pub name: String,
    /// Database; default `postgres`.
    #[serde(default = "default_database")]
    pub database: String,
    /// User; unset: the cluster's superuser.
    pub username: Option<SecretKeyRef>,
    /// Password; unset: that of the cluster's superuser.
    pub password: Option<SecretKeyRef>,
    /// Do not import the schema; default false.
    #[serde(default)]
    pub skip_ddl_import: bool,
    /// `SIMILAR TO` pattern of the roles that are not imported; unset: the source's own service users.
    pub ddl_import_role_skip_filter: Option<String>,
    /// Keep indexes and constraints during the copy; implies the two options below. Default false.
    #[serde(default)]
    pub skip_drop_indexes_and_constraints: bool,
    /// Keep primary keys during the copy; default false.
    #[serde(default)]
    pub skip_drop_primary_keys: bool,
    /// Do not restore indexes after the copy; default false.
    #[serde(default)]
    pub skip_restore_indexes_after_snapshot: bool,
    /// Protection of the connection; unset: the connection's own default. An addition to the resource.
    pub tls: Option<Tls>,
    /// `debeziumProperties`.
    #[serde(default)]
    pub debezium_properties: SinkProperties,
}

/// `spec.target.cloudEvent`: an HTTP endpoint for CloudEvents.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudEvent {
    /// Encoding of an event.
    #[serde(default)]
    pub format: Format,
    /// Protocol.
    #[serde(default)]
    pub binding: Binding,
    /// The endpoint: read it through [`Target::kind`].
    pub http: Option<Http>,
}

/// `spec.target.cloudEvent.format`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `json`, the only one.
    #[default]
    Json,
}

/// `spec.target.cloudEvent.binding`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Binding {
    /// `http`, the only one.
    #[default]
    Http,
}

/// `spec.target.pgLambda`: a JavaScript function that sees every event.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PgLambda {
    /// Language of the script.
    #[serde(default)]
    pub script_type: ScriptType,
    /// The script itself: read it through [`code()`](Self::code).
    pub script: Option<String>,
    /// Where the script is: read it through [`code()`](Self::code).
    pub script_from: Option<ScriptFrom>,
    /// The Knative service that runs it.
    #[serde(default)]
    pub knative: Knative,
    /// Image that runs the script; unset: that of the product. An addition to the resource.
    pub image: Option<String>,
}

/// `spec.target.pgLambda.scriptType`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScriptType {
    /// `javascript`, the only one.
    #[default]
    Javascript,
}

/// `spec.target.pgLambda.scriptFrom`: exactly one of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScriptFrom {
    /// Key of a Secret.
    pub secret_key_ref: Option<SecretKeyRef>,
    /// Key of a ConfigMap.
    pub config_map_key_ref: Option<ConfigMapKeyRef>,
}

/// `spec.target.pgLambda.knative`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Knative {
    /// Annotations of the Knative service.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Labels of the Knative service.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// How the service is called; without `url`: at the address in its status.
    pub http: Option<Http<Option<String>>>,
}

/// Where a function's script is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script<'a> {
    /// In the resource.
    Inline(&'a str),
    /// In a Secret.
    Secret(&'a SecretKeyRef),
    /// In a ConfigMap.
    ConfigMap(&'a ConfigMapKeyRef),
}

/// The block that `spec.target.type` chooses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TargetKind<'a> {
    /// A cluster, by name.
    SGCluster(&'a TargetCluster),
    /// An endpoint for CloudEvents.
    CloudEvent(&'a Http),
    /// A function.
    PgLambda(&'a PgLambda),
}

impl Target {
    /// The block that `type` chooses. The one place that reads `type`.
    ///
    /// # Errors
    /// The type is not known, its block is missing, or that of a `CloudEvent` has no `http`.
    pub fn kind(&self) -> Result<TargetKind<'_>, Problem> {
        let missing = |block: &str| {
            Problem::at(
                format!("spec.target.{block}"),
                format!("target.{block} is required when target.type is {}", self.r#type),
            )
        };
        match self.r#type.as_str() {
            "SGCluster" => self
                .sg_cluster
                .as_ref()
                .map(TargetKind::SGCluster)
                .ok_or_else(|| missing("sgCluster")),
            "CloudEvent" => {
                let block = self.cloud_event.as_ref().ok_or_else(|| missing("cloudEvent"))?;
                let http = block.http.as_ref().ok_or_else(|| missing("cloudEvent.http"))?;
                Ok(TargetKind::CloudEvent(http))
            }
            "PgLambda" => {
                self.pg_lambda.as_ref().map(TargetKind::PgLambda).ok_or_else(|| missing("pgLambda"))
            }
            _ => Err(Problem::at(
                "spec.target.type",
                "target.type must be one of: SGCluster, CloudEvent, PgLambda",
            )),
        }
    }
}

impl PgLambda {
    /// Where the script is. The one place that chooses between `script` and `scriptFrom`.
    ///
    /// # Errors
    /// None is given, or more than one.
    pub fn code(&self) -> Result<Script<'_>, Problem> {
        let from = match (&self.script, &self.script_from) {
            (Some(script), None) => return Ok(Script::Inline(script)),
            (None, Some(from)) => from,
            (Some(_), Some(_)) | (None, None) => {
                return Err(Problem::at(
                    "spec.target.pgLambda.script",
                    "exactly one of script or scriptFrom must be set",
                ));
            }
        };
        match (&from.secret_key_ref, &from.config_map_key_ref) {
            (Some(secret), None) => Ok(Script::Secret(secret)),
            (None, Some(config_map)) => Ok(Script::ConfigMap(config_map)),
            (Some(_), Some(_)) | (None, None) => Err(Problem::at(
                "spec.target.pgLambda.scriptFrom.secretKeyRef",
                "exactly one of secretKeyRef or configMapKeyRef must be set",
            )),
        }
    }
}
