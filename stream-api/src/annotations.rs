//! Signals in annotations: which there are; never what one means.

use crate::stream::SGStream;

/// What comes before the type of a signal in an annotation's key.
pub const SIGNAL_PREFIX: &str = "debezium-signal.stackgres.io/";

/// The signals of a stream, `(type, data)` each, in the order of their types.
pub fn signals(stream: &SGStream) -> impl Iterator<Item = (&str, &str)> {
    stream
        .metadata
        .annotations
        .iter()
        .flatten()
        .filter_map(|(key, data)| Some((key.strip_prefix(SIGNAL_PREFIX)?, data.as_str())))
}
