//! The names that follow from a stream's own. No name is built elsewhere.

use sha2::{Digest, Sha256};

use crate::metadata::DEFAULT_NAMESPACE;
use crate::stream::SGStream;

/// Longest name of a PostgreSQL object, in bytes: `NAMEDATALEN` - 1.
pub(crate) const MAX_NAME_BYTES: usize = 63;

/// Digits of the hash in a name that was too long.
const HASH_DIGITS: usize = 8;

/// The stream's own name.
pub fn name(stream: &SGStream) -> &str {
    stream.metadata.name.as_deref().unwrap_or_default()
}

/// The stream's namespace, `default` when none is given.
pub fn namespace(stream: &SGStream) -> &str {
    stream.metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
}

/// `<namespace>.<name>`: tells the stream from all others of the cluster.
pub fn identity(stream: &SGStream) -> String {
    format!("{}.{}", namespace(stream), name(stream))
}

/// The replication slot: property `slotName`, by default `<namespace>_<name>` in the letters a slot may have.
///
/// A name of more than 63 bytes is cut, and ends in a hash of [`identity`].
pub fn slot(stream: &SGStream) -> String {
    let properties = stream.spec.source.kind().ok().map(|kind| kind.capture().properties);
    if let Some(name) = properties.and_then(|properties| properties.slot_name.clone()) {
        return name;
    }
    let name: String = format!("{}_{}", namespace(stream), name(stream))
        .chars()
        .map(|letter| letter.to_ascii_lowercase())
        .map(|letter| if matches!(letter, 'a'..='z' | '0'..='9' | '_') { letter } else { '_' })
        .collect();
    if name.len() <= MAX_NAME_BYTES {
        return name;
    }
    let hash: String =
        Sha256::digest(identity(stream)).iter().map(|byte| format!("{byte:02x}")).collect();
    let start: String = name.chars().take(MAX_NAME_BYTES - HASH_DIGITS - 1).collect();
    let hash: String = hash.chars().take(HASH_DIGITS).collect();
    format!("{start}_{hash}")
}

/// The publication: property `publicationName`, by default the name of the [`slot`].
pub fn publication(stream: &SGStream) -> String {
    let properties = stream.spec.source.kind().ok().map(|kind| kind.capture().properties);
    properties
        .and_then(|properties| properties.publication_name.clone())
        .unwrap_or_else(|| slot(stream))
}
