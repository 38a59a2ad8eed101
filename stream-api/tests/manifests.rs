//! The manifests of the user's guide, as they are written there, load and mean what they say.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use stream_api::properties::{Operation, PublicationAutocreateMode, SnapshotMode};
use stream_api::{
    Document, Documents, HttpMode, Script, SourceKind, TargetKind, Timeout, annotations, load,
    names,
};

fn read(name: &str) -> (String, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests").join(name);
    (name.to_owned(), std::fs::read_to_string(path).unwrap())
}

fn loaded(names: &[&str]) -> Documents {
    let files: Vec<_> = names.iter().map(|name| read(name)).collect();
    load(&files).unwrap_or_else(|problems| panic!("{problems}"))
}

fn text(text: &str) -> Documents {
    load(&[("stream.yaml".to_owned(), text.to_owned())])
        .unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn every_manifest_loads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // A folder, and the mistakes.
        if name.ends_with(".yaml") && name != "invalid.yaml" && !name.ends_with(".fragment.yaml") {
            loaded(&[&name]);
            count += 1;
        }
    }
    assert_eq!(count, 10);
}

#[test]
fn the_first_example_is_a_stream_between_two_clusters() {
    let documents =
        loaded(&["source-cluster.yaml", "target-cluster.yaml", "migration-stream.yaml"]);
    let kinds: Vec<_> = documents.iter().map(Document::kind).collect();
    assert_eq!(kinds, ["SGCluster", "SGCluster", "SGStream"]);
    let stream = documents.streams().next().unwrap();
    let SourceKind::SGCluster(source) = stream.spec.source.kind().unwrap() else { panic!() };
    assert_eq!((source.name.as_str(), source.database.as_str()), ("source-cluster", "myapp"));
    let TargetKind::SGCluster(target) = stream.spec.target.kind().unwrap() else { panic!() };
    assert_eq!(target.name, "target-cluster");
    assert_eq!(stream.spec.max_retries, -1);
    assert_eq!(stream.spec.pods.persistent_volume.size, "1Gi");
    let cluster = documents.cluster("default", &source.name).unwrap();
    assert_eq!(cluster.spec.postgres.version, "16");
    assert_eq!(names::identity(stream), "default.migration-stream");
    assert_eq!(names::slot(stream), "default_migration_stream");
    assert_eq!(names::publication(stream), "default_migration_stream");
    let properties = &source.debezium_properties;
    assert_eq!(properties.snapshot_mode, SnapshotMode::Initial);
    assert_eq!(properties.publication_autocreate_mode, PublicationAutocreateMode::Filtered);
}

#[test]
fn an_endpoint_keeps_what_was_set_and_hides_its_headers() {
    let documents = loaded(&["events-stream.yaml"]);
    let stream = documents.streams().next().unwrap();
    let capture = stream.spec.source.kind().unwrap().capture();
    assert_eq!(capture.includes, [r"public\.orders", r"public\.order_items"]);
    let TargetKind::CloudEvent(http) = stream.spec.target.kind().unwrap() else { panic!() };
    assert_eq!(http.url, "https://events.example.com/webhook");
    assert_eq!(http.headers["Authorization"].expose(), "Bearer ${TOKEN}");
    assert_eq!(http.connect_timeout, Timeout::After(Duration::from_secs(5)));
    assert_eq!((http.retry_limit, http.retry_backoff_delay), (Some(5), 60));
    assert_eq!((http.mode, http.max_in_flight.get()), (HttpMode::Structured, 1));
    assert!(!format!("{documents:?}").contains("Bearer"));
}

#[test]
fn credentials_are_found_and_never_shown() {
    let documents = loaded(&["external-pg-credentials.yaml", "external-migration.yaml"]);
    let stream = documents.streams().next().unwrap();
    let SourceKind::Postgres(source) = stream.spec.source.kind().unwrap() else { panic!() };
    assert_eq!((source.host.as_str(), source.port), ("external-postgres.example.com", 5432));
    let password = source.password.as_ref().unwrap();
    let value =
        documents.secret_value("default", password, "spec.source.postgres.password").unwrap();
    assert_eq!(value.expose(), "secure_password");
    assert_eq!(format!("{value:?}"), "[redacted]");
    assert!(!format!("{documents:?}").contains("secure_password"));
}

#[test]
fn a_script_is_inline_or_in_a_config_map() {
    let documents = loaded(&["lambda-stream.yaml"]);
    let TargetKind::PgLambda(lambda) =
        documents.streams().next().unwrap().spec.target.kind().unwrap()
    else {
        panic!()
    };
    let Script::Inline(script) = lambda.code().unwrap() else { panic!() };
    assert!(script.starts_with("// Access the CloudEvent\nconst data = event.data;"));
    assert_eq!(
        lambda.knative.http.as_ref().unwrap().read_timeout,
        Timeout::After(Duration::from_secs(60))
    );

    let documents = loaded(&["lambda-script.yaml"]);
    let TargetKind::PgLambda(lambda) =
        documents.streams().next().unwrap().spec.target.kind().unwrap()
    else {
        panic!()
    };
    let Script::ConfigMap(reference) = lambda.code().unwrap() else { panic!() };
    let script = documents.config_map_value("default", reference, "spec").unwrap();
    assert!(script.contains("response.end('OK');"));
}

#[test]
fn a_migration_in_job_mode_takes_a_snapshot_only() {
    let documents = loaded(&["one-time-migration.yaml"]);
    let stream = documents.streams().next().unwrap();
    assert_eq!(stream.spec.max_retries, 3);
    let capture = stream.spec.source.kind().unwrap().capture();
    assert_eq!(capture.properties.snapshot_mode, SnapshotMode::InitialOnly);
}

#[test]
fn the_fragments_load_once_completed() {
    let head = "apiVersion: stackgres.io/v1alpha1\nkind: SGStream\nmetadata: {name: filtered}\n";
    let tail = "  target: {type: SGCluster, sgCluster: {name: t}}\n  pods: {persistentVolume: {size: 1Gi}}\n";
    for (name, includes, excludes) in
        [("includes.fragment.yaml", 3, 0), ("excludes.fragment.yaml", 0, 2)]
    {
        let documents = text(&format!("{head}{}{tail}", read(name).1));
        let capture = documents.streams().next().unwrap().spec.source.kind().unwrap().capture();
        assert_eq!((capture.includes.len(), capture.excludes.len()), (includes, excludes));
    }
}

#[test]
fn everything_at_once_is_accepted() {
    let documents = text(include_str!("everything.yaml"));
    let stream = documents.streams().next().unwrap();
    let signals: Vec<_> = annotations::signals(stream).collect();
    assert_eq!(signals, [("command", r#"{"command":"SELECT 1"}"#), ("tombstone", "{}")]);
    let capture = stream.spec.source.kind().unwrap().capture();
    assert_eq!(capture.properties.snapshot_mode, SnapshotMode::Never);
    assert_eq!(capture.properties.skipped_operations, [Operation::Truncate]);
    assert_eq!(capture.properties.status_update_interval.0, Duration::from_secs(3));
    assert_eq!(capture.properties.heartbeat_interval.0, Duration::from_secs(5));
    assert!(capture.properties.slot_drop_on_stop);
    assert_eq!(names::slot(stream), "my_slot");
    assert_eq!(names::publication(stream), "my_publication");
    assert!(stream.spec.paused);
}

#[test]
fn a_name_without_room_ends_in_a_hash() {
    let name = "a".repeat(50);
    let slot = |namespace: &str| {
        let yaml = read("migration-stream.yaml").1;
        let metadata = format!("name: {name}\n  namespace: {namespace}");
        names::slot(
            text(&yaml.replace("name: migration-stream", &metadata)).streams().next().unwrap(),
        )
    };
    assert_eq!(slot("twelve-chars"), format!("twelve_chars_{name}"));
    assert_eq!(slot("thirteen-char"), format!("thirteen_char_{}_11f8e308", "a".repeat(40)));
    assert_ne!(slot("thirteen-char-x"), slot("thirteen-char-y"));
    assert_eq!(slot("thirteen-char").len(), 63);
}

#[test]
fn a_secret_gives_decoded_bytes_and_string_data_wins() {
    let documents = text(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: Zm9v, b: /w==, c: YQ==}\nstringData: {c: new}\n",
    );
    let secret = documents.secret("default", "s").unwrap();
    assert_eq!(secret.value("a"), Some(b"foo".as_slice()));
    assert_eq!(secret.value("b"), Some([255].as_slice()));
    assert_eq!(secret.value("c"), Some(b"new".as_slice()));
    assert_eq!(secret.value("d"), None);
    assert_eq!(secret.keys(), ["a", "b", "c"]);
}

#[test]
fn empty_documents_are_skipped() {
    let yaml =
        "---\n---\n# nothing\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n---\n";
    assert_eq!(text(yaml).iter().count(), 1);
    assert_eq!(text("").iter().count(), 0);
}

#[test]
fn transforms_keep_the_order_in_which_they_are_written() {
    let yaml = read("events-stream.yaml").1
        + "  debeziumEngineProperties:\n    transforms:\n      route: {type: a}\n      mask: {type: b}\n      add: {type: c}\n";
    let documents = text(&yaml);
    let stream = documents.streams().next().unwrap();
    let names: Vec<_> = stream.spec.debezium_engine_properties.transforms.keys().collect();
    assert_eq!(names, ["route", "mask", "add"]);
}
