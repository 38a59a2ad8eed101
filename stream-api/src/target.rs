//! `spec.target`: where the data goes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::connection::{ConfigMapKeyRef, SecretKeyRef, Tls, default_database};
use crate::http::Http;
use crate::problem::Problem;
use crate::properties::SinkProperties;

/// `spec.target`. Only the block of `type` is given.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.type != 'SGCluster' || has(self.sgCluster)",
        "message": "target.sgCluster is required when target.type is SGCluster",
        "fieldPath": ".sgCluster",
        "reason": "FieldValueRequired",
    },
    {
        "rule": "self.type != 'CloudEvent' || has(self.cloudEvent)",
        "message": "target.cloudEvent is required when target.type is CloudEvent",
        "fieldPath": ".cloudEvent",
        "reason": "FieldValueRequired",
    },
    {
        "rule": "self.type != 'CloudEvent' || !has(self.cloudEvent) || has(self.cloudEvent.http)",
        "message": "target.cloudEvent.http is required when target.type is CloudEvent",
        "fieldPath": ".cloudEvent.http",
        "reason": "FieldValueRequired",
    },
    {
        "rule": "self.type != 'PgLambda' || has(self.pgLambda)",
        "message": "target.pgLambda is required when target.type is PgLambda",
        "fieldPath": ".pgLambda",
        "reason": "FieldValueRequired",
    },
    {
        "rule": "[has(self.sgCluster), has(self.cloudEvent), has(self.pgLambda)].filter(given, given).size() <= 1",
        "message": "only the block of target.type may be set: remove the others of target.sgCluster, target.cloudEvent and target.pgLambda",
    },
]))]
pub struct Target {
    /// Kind of the target. The block of the same name has to be given as well.
    // Read it through `kind()`.
    pub r#type: TargetType,
    /// The target is an SGCluster in the stream's namespace. For type `SGCluster`.
    pub sg_cluster: Option<TargetCluster>,
    /// The target is an HTTP endpoint that takes CloudEvents. For type `CloudEvent`.
    pub cloud_event: Option<CloudEvent>,
    /// The target is a JavaScript function. For type `PgLambda`.
    pub pg_lambda: Option<PgLambda>,
}

/// `spec.target.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum TargetType {
    /// A StackGres cluster, by its name.
    SGCluster,
    /// An HTTP endpoint that is sent every event.
    CloudEvent,
    /// A function that is called with every event.
    PgLambda,
}

/// `spec.target.sgCluster`: a cluster in the stream's namespace.
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
pub struct TargetCluster {
    /// Name of the SGCluster. Example: `target-cluster`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Database to write to. Default: `postgres`. It has to exist.
    #[serde(default = "default_database")]
    pub database: String,
    /// User to log in as; goes with `password`. Default: the cluster's superuser.
    pub username: Option<SecretKeyRef>,
    /// Password of the user; goes with `username`. Default: that of the cluster's superuser.
    pub password: Option<SecretKeyRef>,
    /// Do not bring the schema over from the source. Default: false.
    ///
    /// Tables are then expected to exist, or are created as `schemaEvolution` says.
    #[serde(default)]
    pub skip_ddl_import: bool,
    /// Roles that are not brought over: a pattern for `SIMILAR TO`.
    ///
    /// Default: the source's own service users. Example: `(admin|monitor%)`.
    pub ddl_import_role_skip_filter: Option<String>,
    /// Keep indexes and constraints during the copy. Default: false.
    ///
    /// The copy is slower then. Implies `skipDropPrimaryKeys` and `skipRestoreIndexesAfterSnapshot`.
    #[serde(default)]
    pub skip_drop_indexes_and_constraints: bool,
    /// Keep primary keys during the copy. Default: false.
    #[serde(default)]
    pub skip_drop_primary_keys: bool,
    /// Do not restore indexes when the copy is done, only at the end. Default: false.
    #[serde(default)]
    pub skip_restore_indexes_after_snapshot: bool,
    /// Protection of the connection. Default: TLS where the server offers it.
    pub tls: Option<Tls>,
    /// Settings under the names that Debezium's JDBC sink has for them.
    #[serde(default)]
    pub debezium_properties: SinkProperties,
}

/// `spec.target.cloudEvent`: an HTTP endpoint for CloudEvents.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloudEvent {
    /// Encoding of an event. Default: `json`.
    #[serde(default)]
    pub format: Format,
    /// Protocol that carries an event. Default: `http`.
    #[serde(default)]
    pub binding: Binding,
    /// The endpoint, and how it is called.
    // Read it through `Target::kind`.
    pub http: Option<Http>,
}

/// `spec.target.cloudEvent.format`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// JSON.
    #[default]
    Json,
}

/// `spec.target.cloudEvent.binding`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Binding {
    /// HTTP, one POST for one event or more.
    #[default]
    Http,
}

/// `spec.target.pgLambda`: a JavaScript function that sees every event.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.script) != has(self.scriptFrom)",
    "message": "exactly one of script or scriptFrom must be set",
    "fieldPath": ".script",
}]))]
pub struct PgLambda {
    /// Language of the script. Default: `javascript`.
    #[serde(default)]
    pub script_type: ScriptType,
    /// The script itself; or give `scriptFrom`.
    ///
    /// It sees `event`, `request` and `response`. Example: `console.log(event.data.after); response.end('OK')`.
    // Read it through `code()`.
    pub script: Option<String>,
    /// Where the script is kept; or give `script`.
    // Read it through `code()`.
    pub script_from: Option<ScriptFrom>,
    /// The Knative service that runs the script. May be left out.
    #[serde(default)]
    pub knative: Knative,
    /// Image that runs the script. Default: the product's own. An addition to the resource.
    pub image: Option<String>,
}

/// `spec.target.pgLambda.scriptType`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScriptType {
    /// JavaScript.
    #[default]
    Javascript,
}

/// `spec.target.pgLambda.scriptFrom`: exactly one of the two.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.secretKeyRef) != has(self.configMapKeyRef)",
    "message": "exactly one of secretKeyRef or configMapKeyRef must be set",
    "fieldPath": ".secretKeyRef",
}]))]
pub struct ScriptFrom {
    /// Key of a Secret that holds the script.
    pub secret_key_ref: Option<SecretKeyRef>,
    /// Key of a ConfigMap that holds the script.
    pub config_map_key_ref: Option<ConfigMapKeyRef>,
}

/// `spec.target.pgLambda.knative`.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Knative {
    /// Annotations of the Knative service.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Labels of the Knative service.
    ///
    /// Default: `networking.knative.dev/visibility: cluster-local`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// How the service is called. Without `url`: at the address in its status.
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
    /// The block of the type is missing, or that of a `CloudEvent` has no `http`.
    pub fn kind(&self) -> Result<TargetKind<'_>, Problem> {
        let missing = |block: &str| {
            Problem::at(
                format!("spec.target.{block}"),
                format!("target.{block} is required when target.type is {:?}", self.r#type),
            )
        };
        match self.r#type {
            TargetType::SGCluster => self
                .sg_cluster
                .as_ref()
                .map(TargetKind::SGCluster)
                .ok_or_else(|| missing("sgCluster")),
            TargetType::CloudEvent => {
                let block = self.cloud_event.as_ref().ok_or_else(|| missing("cloudEvent"))?;
                let http = block.http.as_ref().ok_or_else(|| missing("cloudEvent.http"))?;
                Ok(TargetKind::CloudEvent(http))
            }
            TargetType::PgLambda => {
                self.pg_lambda.as_ref().map(TargetKind::PgLambda).ok_or_else(|| missing("pgLambda"))
            }
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
