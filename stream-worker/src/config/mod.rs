//! An `SGStream` in the engine's own words.
//!
//! In: the resource. Out: a [`StreamConfig`], and every problem in it. Where servers are is not decided here, see
//! `resolve`.

pub(crate) mod problem;
pub(crate) mod sink;
pub(crate) mod source;

use stream_api::{Problem, SGStream, annotations, names};

use problem::Found;
use sink::SinkConfig;
use source::SourceConfig;

/// The signal that completes a stream.
const TOMBSTONE: &str = "tombstone";

/// What a stream is to do, save where its servers are.
#[derive(Debug)]
pub(crate) struct StreamConfig {
    /// `<namespace>.<name>`, under which the target keeps its progress.
    pub(crate) identity: String,
    /// Restarts after a failure; `None`: without end.
    pub(crate) max_retries: Option<u32>,
    /// Whether the stream is not to run.
    pub(crate) paused: bool,
    /// Whether the stream is to complete.
    pub(crate) tombstone: bool,
    /// What is captured.
    pub(crate) source: SourceConfig,
    /// How it is delivered.
    pub(crate) sink: SinkConfig,
}

/// Translates `stream`; `None` when something was added to `found`.
pub(crate) fn read(stream: &SGStream, found: &mut Found) -> Option<StreamConfig> {
    let source = source::read(stream, found);
    let sink = sink::read(stream, found);
    Some(StreamConfig {
        identity: names::identity(stream),
        max_retries: u32::try_from(stream.spec.max_retries).ok(),
        paused: stream.spec.paused,
        tombstone: annotations::signals(stream).any(|(signal, _)| signal == TOMBSTONE),
        source: source?,
        sink: sink?,
    })
}

/// What is wrong with `stream` that the resource's own rules cannot say.
pub(crate) fn problems(stream: &SGStream) -> Vec<Problem> {
    source::patterns(stream).into_problems()
}

/// What of `stream` is accepted and has no effect here.
pub(crate) fn without_effect(stream: &SGStream) -> Vec<String> {
    let signals = annotations::signals(stream)
        .filter(|(signal, _)| *signal != TOMBSTONE)
        .map(|(signal, _)| format!("{}{signal}", annotations::SIGNAL_PREFIX));
    signals.chain(source::without_effect(stream)).chain(sink::without_effect(stream)).collect()
}

/// How much is done at once where nobody says: more than four sessions keep a server busier than they are worth.
fn parallelism() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(4)
}
