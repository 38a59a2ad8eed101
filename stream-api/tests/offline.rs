//! Mistakes are told without an API server as one tells them: the same table as for the tests on one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "api_server/manifests.rs"]
mod manifests;

use manifests::{By, Mistake};
use serde_json::Value;
use stream_api::properties::{Property, SinkProperties, SourceProperties, Support};
use stream_api::{Problem, load};

/// What is said about a stream.
fn told(stream: &Value) -> Vec<Problem> {
    // JSON is YAML.
    let files = [("stream.json".to_owned(), stream.to_string())];
    load(&files).err().map(|problems| problems.0).unwrap_or_default()
}

#[test]
fn every_manifest_that_a_server_takes_is_taken_offline() {
    let names = manifests::all();
    assert!(names.len() >= 8, "{names:?}");
    for name in names {
        let documents: Vec<Value> = serde_saphyr::from_multiple(&manifests::text(&name)).unwrap();
        for stream in documents.iter().filter(|document| document["kind"] == "SGStream") {
            assert_eq!(told(stream), [], "{name}");
        }
    }
}

#[test]
fn values_that_a_server_rounds_or_leaves_out_are_taken_offline() {
    let text = manifests::text("external-migration").replace("port: 5432", "port: 5432.0");
    assert!(text.contains("5432.0"), "{text}");
    let files = [("stream.yaml".to_owned(), text)];
    assert!(load(&files).is_ok());
    let mut stream = manifests::stream("events-stream");
    stream["metadata"]["labels"] = serde_json::json!({"team": null});
    stream["spec"]["target"]["cloudEvent"]["http"]["headers"]["X-Empty"] = Value::Null;
    assert_eq!(told(&stream), []);
}

#[test]
fn every_address_that_a_server_takes_is_taken_offline() {
    for url in manifests::ADDRESSES {
        let mut stream = manifests::stream("events-stream");
        let change =
            serde_json::json!({"spec": {"target": {"cloudEvent": {"http": {"url": url}}}}});
        manifests::patch(&mut stream, &change);
        assert_eq!(told(&stream), [], "{url}");
    }
}

#[test]
fn a_refused_property_that_is_set_to_its_default_is_taken() {
    let defaults = |table: &[Property]| -> Value {
        let refused = table.iter().filter(|row| matches!(row.support, Support::Rejected(_)));
        refused
            .filter_map(|row| {
                let text = row.default?;
                let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
                Some((row.name.to_owned(), value))
            })
            .collect()
    };
    let (source, sink) =
        (defaults(SourceProperties::PROPERTIES), defaults(SinkProperties::PROPERTIES));
    let count = |table: &Value| table.as_object().unwrap().len();
    assert_eq!((count(&source), count(&sink)), (2, 4), "{source} {sink}");
    let mut stream = manifests::stream("migration-stream");
    let change = serde_json::json!({"spec": {
        "source": {"sgCluster": {"debeziumProperties": source}},
        "target": {"sgCluster": {"debeziumProperties": sink}},
    }});
    manifests::patch(&mut stream, &change);
    assert_eq!(told(&stream), []);
}

#[test]
fn every_mistake_that_a_server_refuses_is_told_offline() {
    let mistakes = manifests::mistakes();
    assert!(mistakes.len() >= 60, "{}", mistakes.len());
    let mut wrong = String::new();
    for Mistake { claim, of, patch, path, message, by } in mistakes {
        let mut stream = manifests::stream(&of);
        manifests::patch(&mut stream, &patch);
        let told = told(&stream);
        let is_told = |problem: &Problem| {
            problem.path == path
                && match by {
                    By::Rule => problem.message == message,
                    // The server's own words, but for the path in them; what reading a file says in other words names the
                    // remedy too.
                    By::Schema => {
                        let server =
                            message.rsplit_once(" in body ").map_or(&*message, |(_, words)| words);
                        let same = problem.message == server;
                        same || ["expected ", "unknown ", "required "]
                            .iter()
                            .any(|word| problem.message.starts_with(word))
                    }
                }
        };
        if told.len() != 1 || !told.iter().all(is_told) {
            let told: Vec<_> = told.iter().map(Problem::to_string).collect();
            wrong += &format!(
                "{claim}\n  expected: {path}: {message}\n  told: {}\n",
                told.join("\n        ")
            );
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
