//! The contract with Kubernetes: the `SGStream` resource, the documents that stand beside it, and how a user's YAML is read.
//!
//! In: YAML text. Out: typed documents, or every [`Problem`] in them with file, line and path.
//! Does no I/O, knows no client, and decides nothing about a running stream.
//!
//! ```
//! let yaml = "
//! apiVersion: stackgres.io/v1alpha1
//! kind: SGStream
//! metadata: {name: orders}
//! spec:
//!   source: {type: SGCluster, sgCluster: {name: here}}
//!   target: {type: SGCluster, sgCluster: {name: there}}
//!   pods: {persistentVolume: {size: 1Gi}}
//! ";
//! let documents = stream_api::load(&[("stream.yaml".to_owned(), yaml.to_owned())])?;
//! let stream = documents.streams().next().ok_or("no stream")?;
//! assert_eq!(stream_api::names::identity(stream), "default.orders");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod problem;

mod schema;

mod connection;
mod http;
mod metadata;
mod pods;
pub mod properties;
mod secret_string;
mod source;
mod status;
mod stream;
mod target;

pub mod annotations;
pub mod names;

mod documents;
mod load;
mod node;
mod read;
mod validate;

#[cfg(feature = "throwaway")]
pub mod throwaway;

pub use connection::{ConfigMapKeyRef, SecretKeyRef, Tls, TlsMode};
pub use documents::{
    ClusterPostgres, ClusterSpec, ConfigMap, Document, Documents, SGCluster, Secret,
};
pub use http::{Http, HttpMode, Timeout};
pub use kube::CustomResourceExt;
pub use load::{load, load_with};
pub use metadata::Metadata;
pub use pods::{
    PersistentVolume, Pods, ResourceAnnotations, ResourceLabels, ResourceMetadata, Scheduling,
};
pub use problem::{Problem, Problems};
pub use secret_string::SecretString;
pub use source::{Capture, Source, SourceCluster, SourceKind, SourcePostgres, SourceType};
pub use status::{
    Condition, ConditionStatus, EventsStatus, SignalStatus, SnapshotStatus, StreamStatus,
    StreamingStatus,
};
pub use stream::{ReclaimPolicy, SGStream, StreamSpec};
pub use target::{
    Binding, CloudEvent, Format, Knative, PgLambda, Script, ScriptFrom, ScriptType, Target,
    TargetCluster, TargetKind, TargetType,
};
