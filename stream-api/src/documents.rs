//! The documents that may stand in a user's files, and how one finds another.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;

use crate::connection::{ConfigMapKeyRef, SecretKeyRef};
use crate::metadata::Metadata;
use crate::names;
use crate::problem::{Problem, list, nearest};
use crate::secret_string::SecretString;
use crate::stream::SGStream;

/// A document of one of the kinds that are read.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    /// A stream.
    SGStream(Box<SGStream>),
    /// A cluster that a stream names.
    SGCluster(SGCluster),
    /// A Secret that a stream names.
    Secret(Secret),
    /// A ConfigMap that a stream names.
    ConfigMap(ConfigMap),
}

impl Document {
    /// `kind`, as it is written.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SGStream(_) => "SGStream",
            Self::SGCluster(_) => "SGCluster",
            Self::Secret(_) => "Secret",
            Self::ConfigMap(_) => "ConfigMap",
        }
    }

    /// `metadata.namespace`, `default` when none is given.
    pub fn namespace(&self) -> &str {
        match self {
            Self::SGStream(stream) => names::namespace(stream),
            Self::SGCluster(cluster) => cluster.metadata.namespace(),
            Self::Secret(secret) => secret.metadata.namespace(),
            Self::ConfigMap(config_map) => config_map.metadata.namespace(),
        }
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        match self {
            Self::SGStream(stream) => names::name(stream),
            Self::SGCluster(cluster) => &cluster.metadata.name,
            Self::Secret(secret) => &secret.metadata.name,
            Self::ConfigMap(config_map) => &config_map.metadata.name,
        }
    }
}

/// An `SGCluster` of `stackgres.io/v1`, as far as it is read; its other fields are accepted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct SGCluster {
    /// Name and namespace.
    pub metadata: Metadata,
    /// What the cluster is.
    pub spec: ClusterSpec,
}

/// `spec` of an [`SGCluster`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct ClusterSpec {
    /// The server.
    pub postgres: ClusterPostgres,
}

/// `spec.postgres` of an [`SGCluster`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct ClusterPostgres {
    /// Version of the server, as `16`, `16.4` or `latest`.
    pub version: String,
}

/// A `Secret`. `Debug` shows keys only.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Secret {
    /// Name and namespace.
    pub metadata: Metadata,
    /// Accepted and not read.
    pub r#type: Option<String>,
    /// Accepted and not read.
    pub immutable: Option<bool>,
    /// Accepted and not read.
    pub status: Option<Value>,
    #[serde(default)]
    data: BTreeMap<String, Base64>,
    #[serde(default)]
    string_data: BTreeMap<String, SecretString>,
}

impl Secret {
    /// The bytes of a key, decoded; `stringData` wins over `data`.
    pub fn value(&self, key: &str) -> Option<&[u8]> {
        let text = self.string_data.get(key).map(|text| text.expose().as_bytes());
        text.or_else(|| self.data.get(key).map(|bytes| bytes.0.as_slice()))
    }

    /// The keys, in order.
    pub fn keys(&self) -> Vec<&str> {
        let mut keys: Vec<&str> =
            self.data.keys().chain(self.string_data.keys()).map(String::as_str).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

/// A `ConfigMap`.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMap {
    /// Name and namespace.
    pub metadata: Metadata,
    /// Accepted and not read.
    pub immutable: Option<bool>,
    /// Texts by key.
    #[serde(default)]
    pub data: BTreeMap<String, String>,
    /// Accepted and not read.
    pub binary_data: Option<Value>,
}

/// Bytes written in base64, possibly over several lines.
#[derive(Clone, PartialEq, Eq)]
struct Base64(Vec<u8>);

impl fmt::Debug for Base64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = SecretString::deserialize(deserializer)?;
        let text: String = text.expose().split_ascii_whitespace().collect();
        // The decoder's own message would show letters of the value.
        BASE64_STANDARD.decode(text).map(Self).map_err(|_| {
            D::Error::custom(
                "not base64: encode the value, or write it as it is under `stringData`",
            )
        })
    }
}

/// Documents of which no two have the same kind, namespace and name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Documents(pub(crate) Vec<Document>);

impl Documents {
    /// All of them, in the order of the files.
    pub fn iter(&self) -> impl Iterator<Item = &Document> {
        self.0.iter()
    }

    /// The streams.
    pub fn streams(&self) -> impl Iterator<Item = &SGStream> {
        self.0.iter().filter_map(|document| match document {
            Document::SGStream(stream) => Some(stream.as_ref()),
            Document::SGCluster(_) | Document::Secret(_) | Document::ConfigMap(_) => None,
        })
    }

    /// The cluster of this name.
    pub fn cluster(&self, namespace: &str, name: &str) -> Option<&SGCluster> {
        match self.find("SGCluster", namespace, name)? {
            Document::SGCluster(cluster) => Some(cluster),
            Document::SGStream(_) | Document::Secret(_) | Document::ConfigMap(_) => None,
        }
    }

    /// The Secret of this name.
    pub fn secret(&self, namespace: &str, name: &str) -> Option<&Secret> {
        match self.find("Secret", namespace, name)? {
            Document::Secret(secret) => Some(secret),
            Document::SGStream(_) | Document::SGCluster(_) | Document::ConfigMap(_) => None,
        }
    }

    /// The ConfigMap of this name.
    pub fn config_map(&self, namespace: &str, name: &str) -> Option<&ConfigMap> {
        match self.find("ConfigMap", namespace, name)? {
            Document::ConfigMap(config_map) => Some(config_map),
            Document::SGStream(_) | Document::SGCluster(_) | Document::Secret(_) => None,
        }
    }

    /// The text of a Secret's key, for the field at `path` that refers to it.
    ///
    /// # Errors
    /// The Secret or the key does not exist, or its value is no text: named with the keys there are.
    pub fn secret_value(
        &self,
        namespace: &str,
        reference: &SecretKeyRef,
        path: &str,
    ) -> Result<SecretString, Problem> {
        let SecretKeyRef { name, key } = reference;
        let Some(secret) = self.secret(namespace, name) else {
            return Err(self.no_document("Secret", namespace, name, path));
        };
        let Some(bytes) = secret.value(key) else {
            return Err(no_key("Secret", namespace, name, key, &secret.keys(), path));
        };
        if bytes.is_empty() {
            return Err(Problem::at(
                path,
                format!(
                    "key `{key}` of Secret `{namespace}/{name}` is empty: write the value there"
                ),
            ));
        }
        std::str::from_utf8(bytes).map(SecretString::new).map_err(|_| {
            Problem::at(
                path,
                format!("key `{key}` of Secret `{namespace}/{name}` is not UTF-8 text: write a text there"),
            )
        })
    }

    /// The text of a ConfigMap's key, for the field at `path` that refers to it.
    ///
    /// # Errors
    /// The ConfigMap or the key does not exist: named with the keys there are.
    pub fn config_map_value(
        &self,
        namespace: &str,
        reference: &ConfigMapKeyRef,
        path: &str,
    ) -> Result<&str, Problem> {
        let ConfigMapKeyRef { name, key } = reference;
        let Some(config_map) = self.config_map(namespace, name) else {
            return Err(self.no_document("ConfigMap", namespace, name, path));
        };
        config_map.data.get(key).map(String::as_str).ok_or_else(|| {
            let keys: Vec<&str> = config_map.data.keys().map(String::as_str).collect();
            no_key("ConfigMap", namespace, name, key, &keys, path)
        })
    }

    fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<&Document> {
        self.0.iter().find(|document| {
            (document.kind(), document.namespace(), document.name()) == (kind, namespace, name)
        })
    }

    fn no_document(&self, kind: &str, namespace: &str, name: &str, path: &str) -> Problem {
        let names: Vec<&str> = self
            .0
            .iter()
            .filter(|document| document.kind() == kind)
            .filter(|document| document.namespace() == namespace)
            .map(|document| document.name())
            .collect();
        let remedy = match nearest(name, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("add a document of kind {kind} with this name to the files"),
        };
        Problem::at(path, format!("{kind} `{namespace}/{name}` is in none of the files: {remedy}"))
    }
}

fn no_key(
    kind: &str,
    namespace: &str,
    name: &str,
    key: &str,
    keys: &[&str],
    path: &str,
) -> Problem {
    let message = format!("{kind} `{namespace}/{name}` has no key `{key}`");
    let remedy = match keys {
        [] => format!("it has no keys at all: add `{key}`"),
        _ => format!(
            "its keys are {}: add `{key}`, or correct the reference",
            list(keys.iter().copied())
        ),
    };
    Problem::at(path, format!("{message}; {remedy}"))
}
