//! An `SGStream` in the engine's own words.
//!
//! In: the resource. Out: a [`StreamConfig`], and every problem in it. Where servers are is not decided here, see
//! `resolve`.

mod events;
mod plugin;
pub(crate) mod problem;
pub(crate) mod sink;
pub(crate) mod source;

use stream_api::{Problem, ReclaimPolicy, SGStream, TargetKind, annotations, names};

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

/// What of `stream` is accepted and has no effect here, or another in a cluster, each with the reason.
pub(crate) fn without_effect(stream: &SGStream) -> Vec<Problem> {
    let signals = annotations::signals(stream).filter(|(signal, _)| *signal != TOMBSTONE).map(
        |(signal, _)| {
            let path = format!("metadata.annotations.{}{signal}", annotations::SIGNAL_PREFIX);
            Problem::at(path, "no effect: not implemented yet: only `tombstone` is carried out")
        },
    );
    let is_refused = |path: &str| {
        let name = path.rsplit_once('.').map_or(path, |(_, name)| name);
        source::is_refused(name) || sink::is_refused(name)
    };
    let properties = stream.spec.without_effect();
    let properties = properties.into_iter().filter(|problem| !is_refused(&problem.path));
    signals
        .chain(fields_without_effect(stream))
        .chain(properties)
        .chain(transforms_order(stream))
        .collect()
}

/// Fields beside the properties that are set and that nothing reads yet.
fn fields_without_effect(stream: &SGStream) -> impl Iterator<Item = Problem> {
    const KEPT: &str =
        "indexes and keys that a table at the target has are always kept during the copy";
    let mut set = Vec::new();
    if let Ok(TargetKind::SGCluster(block)) = stream.spec.target.kind() {
        set.extend(
            [
                (block.skip_drop_indexes_and_constraints, "skipDropIndexesAndConstraints", KEPT),
                (block.skip_drop_primary_keys, "skipDropPrimaryKeys", KEPT),
                (
                    block.skip_restore_indexes_after_snapshot,
                    "skipRestoreIndexesAfterSnapshot",
                    "indexes are always built when the copy is done",
                ),
                (
                    block.ddl_import_role_skip_filter.is_some(),
                    "ddlImportRoleSkipFilter",
                    "no role is brought over",
                ),
            ]
            .map(|(is_set, name, reason)| (is_set, format!("target.sgCluster.{name}"), reason)),
        );
    }
    set.push((
        stream.spec.reclaim_policy != ReclaimPolicy::Retain,
        "reclaimPolicy".to_owned(),
        "slot and publication are dropped when the stream completes, and by nothing else",
    ));
    set.into_iter().filter(|(is_set, ..)| *is_set).map(|(_, field, reason)| {
        Problem::at(format!("spec.{field}"), format!("no effect: not implemented yet: {reason}"))
    })
}

/// What to say when a cluster, whose objects are sorted, would run the transforms in another order.
fn transforms_order(stream: &SGStream) -> Option<Problem> {
    let written = stream.spec.debezium_engine_properties.transforms.keys();
    let list = |names: Vec<&String>| {
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    let (here, mut sorted) = (list(written.clone().collect()), written.clone().collect::<Vec<_>>());
    sorted.sort();
    (!written.is_sorted()).then(|| {
        let message = format!(
            "run in the order {here} here, and in the order {} in a cluster, which sorts them by name: give them names that sort as \
             they are to run",
            list(sorted)
        );
        Problem::at("spec.debeziumEngineProperties.transforms", message)
    })
}

/// How much is done at once where nobody says: more than four sessions keep a server busier than they are worth.
fn parallelism() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_of_transforms_that_a_cluster_would_not_keep_is_told() {
        let told = |transforms: &str| {
            let yaml = format!(
                "apiVersion: stackgres.io/v1alpha1\nkind: SGStream\nmetadata: {{name: a}}\nspec:\n  source: {{type: SGCluster, \
                 sgCluster: {{name: a}}}}\n  target: {{type: CloudEvent, cloudEvent: {{http: {{url: 'http://e'}}}}}}\n  pods: \
                 {{persistentVolume: {{size: 1Gi}}}}\n  debeziumEngineProperties: {{transforms: {{{transforms}}}}}\n"
            );
            let documents = stream_api::load(&[("s".to_owned(), yaml)]).unwrap();
            let found = without_effect(documents.streams().next().unwrap());
            found.iter().map(ToString::to_string).collect::<String>()
        };
        assert_eq!(told("a: {type: k}, b: {type: m}"), "");
        let found = told("b: {type: k}, a: {type: m}");
        assert!(
            found.contains("order `b`, `a` here, and in the order `a`, `b` in a cluster"),
            "{found}"
        );
    }
}
