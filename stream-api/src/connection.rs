//! What the blocks of sources and targets share: references to keys of other objects, and TLS.

use serde::Deserialize;

/// One key of a Secret in the stream's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretKeyRef {
    /// Name of the Secret.
    pub name: String,
    /// Key in it.
    pub key: String,
}

/// One key of a ConfigMap in the stream's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigMapKeyRef {
    /// Name of the ConfigMap.
    pub name: String,
    /// Key in it.
    pub key: String,
}

/// How a connection to PostgreSQL is protected. An addition to the resource.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// What is asked of the server. Required, so that a `caSecret` is never given and then not used.
    pub mode: TlsMode,
    /// Certificates that may sign the server's; unset: those of the system.
    pub ca_secret: Option<SecretKeyRef>,
}

/// The `sslmode` of [libpq](https://www.postgresql.org/docs/current/libpq-ssl.html), without `allow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
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
