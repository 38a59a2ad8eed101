//! What the blocks of sources and targets share: references to keys of other objects, and TLS.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

/// One key of a Secret in the stream's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct SecretKeyRef {
    /// Name of the Secret. It is looked for in the stream's namespace. Example: `pg-credentials`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key within the Secret. Example: `password`.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// One key of a ConfigMap in the stream's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct ConfigMapKeyRef {
    /// Name of the ConfigMap. It is looked for in the stream's namespace. Example: `scripts`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key within the ConfigMap. Example: `route.js`.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// How a connection to PostgreSQL is protected. An addition to the resource.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// What is asked of the server. Required, so that a `caSecret` is never given without being used.
    pub mode: TlsMode,
    /// Certificate authorities that may have signed the server's certificate, in PEM.
    ///
    /// Used by `verify-ca` and `verify-full`. Default: those that the worker's image trusts.
    pub ca_secret: Option<SecretKeyRef>,
}

/// The `sslmode` of [libpq](https://www.postgresql.org/docs/current/libpq-ssl.html), without `allow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// Never.
    Disable,
    /// If the server offers it.
    Prefer,
    /// Always, any certificate.
    Require,
    /// Always, a certificate signed by a known authority.
    VerifyCa,
    /// Always, a certificate signed by a known authority for the host's name.
    VerifyFull,
}

/// The database of a source or target that names none.
pub(crate) fn default_database() -> String {
    "postgres".to_owned()
}
