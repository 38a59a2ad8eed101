//! The resource's definition, as Kubernetes gets it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use stream_api::properties::{
    EngineProperties, Property, SinkProperties, SourceProperties, Support,
};
use stream_api::{CustomResourceExt as _, SGStream, load};

/// Longest first sentence of a description: what fits on a line of `kubectl explain`.
const FIRST_SENTENCE: usize = 80;

fn schema() -> Value {
    let crd = serde_json::to_value(SGStream::crd()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// Calls `look` for every property below `node`, with its path, itself, and whether it is required.
fn walk(node: &Value, path: &str, look: &mut impl FnMut(&str, &Value, bool)) {
    for (name, child) in node["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let required = node["required"].as_array().into_iter().flatten().any(|one| one == name);
        look(&path, child, required);
        walk(child, &path, look);
    }
    for (key, step) in [("items", "[]"), ("additionalProperties", ".*")] {
        if node[key].is_object() {
            look(&format!("{path}{step}"), &node[key], false);
            walk(&node[key], &format!("{path}{step}"), look);
        }
    }
}

#[test]
fn every_field_of_the_existing_resource_is_there() {
    let mut ours = BTreeMap::new();
    walk(&schema(), "", &mut |path, node, required| {
        // What is a number or a text in Kubernetes is a text in the list.
        let kind = node["type"].as_str().unwrap_or("string").to_owned();
        ours.insert(path.to_owned(), (kind, required));
    });
    // The existing product refuses a stream without these, too, though its definition does not.
    let required_later = |path: &str| {
        path.contains(".scriptFrom.")
            || ["status.conditions[].type", "status.conditions[].status"].contains(&path)
    };
    let mut count = 0;
    let list = include_str!("definition/upstream-fields.txt");
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let (path, rest) = line.split_once('\t').unwrap();
        let (kind, constraints) = rest.split_once('\t').unwrap();
        let (our_kind, required) = ours.get(path).unwrap_or_else(|| panic!("`{path}` is missing"));
        assert_eq!(our_kind, kind, "{path}");
        let may_be_required = constraints.contains("required") || required_later(path);
        assert!(!required || may_be_required, "`{path}` is required, and was not");
        count += 1;
    }
    assert_eq!(count, 612);
}

#[test]
fn every_field_is_described_in_a_line_first() {
    let mut count = 0;
    walk(&schema(), "", &mut |path, node, _| {
        let text = node["description"].as_str().unwrap_or_default();
        if path.ends_with("[]") || path.ends_with(".*") {
            assert!(text.is_empty() || node["enum"].is_array(), "`{path}`: {text}");
            return;
        }
        let end = [". ", ".\n", "\n"].iter().filter_map(|end| text.find(end)).min();
        let first = &text[..end.unwrap_or(text.len())];
        assert!(first.len() > 5, "`{path}`: {text}");
        assert!(first.chars().count() <= FIRST_SENTENCE, "`{path}`: {first}");
        assert!(!text.contains("](") && !text.contains("[`"), "`{path}` has a link: {text}");
        count += 1;
    });
    assert!(count > 500, "{count}");
}

#[test]
fn the_schema_has_nothing_that_kubernetes_does_not_know() {
    const KNOWN: [&str; 15] = [
        "additionalProperties",
        "default",
        "description",
        "enum",
        "format",
        "items",
        "maxLength",
        "maxProperties",
        "maximum",
        "minLength",
        "minimum",
        "nullable",
        "properties",
        "required",
        "type",
    ];
    walk(&schema(), "", &mut |path, node, _| {
        for (key, value) in node.as_object().unwrap() {
            let is_known = KNOWN.contains(&key.as_str()) || key.starts_with("x-kubernetes-");
            assert!(is_known, "`{key}` at `{path}`");
            match key.as_str() {
                "format" => {
                    let format = value.as_str().unwrap();
                    assert!(["int32", "int64", "date-time"].contains(&format), "{path}: {format}");
                }
                // `null` is as if the field was left out.
                "nullable" => assert!(value == false || path == "status", "{path}"),
                // Kubernetes writes defaults into the object: only those that say something.
                "default" => assert!(value.is_number() || value.is_string(), "{path}: {value}"),
                _ => {}
            }
        }
        let is_typed = node["type"].is_string() || node["x-kubernetes-int-or-string"] == true;
        assert!(is_typed, "`{path}` has no type");
    });
}

#[test]
fn the_definition_fits_into_an_annotation() {
    let size = serde_json::to_string(&SGStream::crd()).unwrap().len();
    assert!(size < 256 * 1024, "{size}");
}

#[test]
fn every_rule_says_what_is_wrong() {
    let schema = schema();
    let mut count = 0;
    let mut look = |path: &str, node: &Value| {
        for rule in node["x-kubernetes-validations"].as_array().into_iter().flatten() {
            assert!(rule["message"].as_str().is_some_and(|text| text.len() > 10), "{path}: {rule}");
            count += 1;
        }
    };
    look("", &schema);
    walk(&schema, "", &mut |path, node, _| look(path, node));
    assert!(count > 40, "{count}");
}

fn tables() -> [&'static [Property]; 3] {
    [SourceProperties::PROPERTIES, SinkProperties::PROPERTIES, EngineProperties::PROPERTIES]
}

#[test]
fn every_property_is_decided_and_explained() {
    assert_eq!(tables().map(<[Property]>::len), [84, 25, 13]);
    for property in tables().into_iter().flatten() {
        assert!(property.text.trim().len() > 10, "{}", property.name);
        if let Support::Ignored(reason) | Support::Rejected(reason) = property.support {
            assert!(reason.len() > 10 && !reason.ends_with('.'), "{}: {reason}", property.name);
        }
        if let Support::Rejected(reason) = property.support {
            assert!(reason.contains("remove it"), "{} has no remedy: {reason}", property.name);
        }
    }
}

/// Reads each row's default as a user would have written it.
fn check_defaults<T>(rows: &[Property])
where
    T: serde::de::DeserializeOwned + Default + PartialEq + std::fmt::Debug + serde::Serialize,
{
    let default = serde_json::to_value(T::default()).unwrap();
    for property in rows {
        let Some(text) = property.default else {
            assert_eq!(default.get(property.name), None, "{}", property.name);
            continue;
        };
        let read = |value: Value| serde_json::from_value::<T>(json!({property.name: value}));
        let table =
            serde_json::from_str(text).ok().and_then(|value| read(value).ok()).unwrap_or_else(
                || read(text.into()).unwrap_or_else(|e| panic!("{}: {e}", property.name)),
            );
        let set = serde_json::to_value(&table).unwrap();
        if let Some(value) = default.get(property.name) {
            assert_eq!(&set[property.name], value, "{}", property.name);
        }
    }
}

#[test]
fn every_default_is_a_value_of_its_property() {
    check_defaults::<SourceProperties>(SourceProperties::PROPERTIES);
    check_defaults::<SinkProperties>(SinkProperties::PROPERTIES);
    check_defaults::<EngineProperties>(EngineProperties::PROPERTIES);
}

/// Whether `text` says that this is the default.
fn says_default(text: &str, default: &str) -> bool {
    let said = match default {
        "[]" | "{}" => return text.contains("Default: none"),
        list if list.starts_with('[') => list.trim_matches(['[', ']', '"']),
        other => other,
    };
    [format!("Default: {said}."), format!("Default: `{said}`")]
        .iter()
        .any(|said| text.contains(said))
}

#[test]
fn every_default_is_the_one_that_the_text_says() {
    for property in tables().into_iter().flatten() {
        let Some(default) = property.default else { continue };
        let said = says_default(property.text.trim(), default);
        assert!(said, "{}: {default}: {}", property.name, property.text);
    }
    let mut count = 0;
    walk(&schema(), "", &mut |path, node, _| {
        let default = match &node["default"] {
            Value::String(text) if !text.is_empty() => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return,
        };
        let text = node["description"].as_str().unwrap_or_default().replace(", without end", ".");
        assert!(says_default(&text, &default), "`{path}`: {default}: {text}");
        count += 1;
    });
    assert!(count >= 15, "{count}");
}

#[test]
fn names_get_their_dots() {
    let dotted = |name: &str| {
        let property = tables().into_iter().flatten().find(|property| property.name == name);
        property.unwrap().dotted_name()
    };
    for (name, expected) in [
        ("slotName", "slot.name"),
        ("columnMaskHashV2", "column.mask.hash.v2"),
        ("connectionPoolMin_size", "connection.pool.min_size"),
        ("readOnly", "read.only"),
        ("transforms", "transforms"),
    ] {
        assert_eq!(dotted(name), expected);
    }
}

#[test]
fn properties_that_are_set_in_vain_are_known() {
    let table: SourceProperties = serde_json::from_value(json!({
        "slotName": "a",
        "snapshotMode": "no_data",
        "topicCacheSize": 5,
        "heartbeatIntervalMs": 1000,
        "readOnly": false,
        "maxBatchSize": 2048,
        "tombstonesOnDelete": true,
        "topicDelimiter": ".",
        "columnPropagateSourceType": [".*"],
    }))
    .unwrap();
    let names: Vec<_> = table.without_effect().iter().map(|property| property.name).collect();
    assert_eq!(names, ["heartbeatIntervalMs", "topicCacheSize"]);
}

#[test]
fn a_stream_tells_where_a_property_is_set_in_vain() {
    let spec: stream_api::StreamSpec = serde_json::from_value(json!({
        "source": {"type": "SGCluster", "sgCluster": {
            "name": "a", "debeziumProperties": {"maxQueueSizeInBytes": 1},
        }},
        "target": {"type": "SGCluster", "sgCluster": {
            "name": "b", "debeziumProperties": {"batchSize": 9},
        }},
        "pods": {"persistentVolume": {"size": "1Gi"}},
        "debeziumEngineProperties": {"offsetFlushIntervalMs": 1},
    }))
    .unwrap();
    let told: Vec<_> = spec.without_effect().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "spec.source.sgCluster.debeziumProperties.maxQueueSizeInBytes: no effect: at most three batches of 4 MiB are held at a time",
            "spec.target.sgCluster.debeziumProperties.batchSize: no effect: batches are bounded by bytes",
            "spec.debeziumEngineProperties.offsetFlushIntervalMs: no effect: the position is saved with every batch",
        ]
    );
}

#[test]
fn a_stream_is_the_same_after_a_way_through_the_api_server() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests");
    let mut texts: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok())
        .collect();
    texts.push(include_str!("everything.yaml").to_owned());
    let mut count = 0;
    for text in texts {
        let Ok(documents) = load(&[(String::new(), text)]) else { continue };
        for stream in documents.streams() {
            let value = serde_json::to_value(stream).unwrap();
            assert_eq!(value["kind"], "SGStream");
            assert!(!value["spec"].to_string().contains("null"), "{value}");
            assert_eq!(&serde_json::from_value::<SGStream>(value).unwrap(), stream);
            count += 1;
        }
    }
    assert!(count >= 7, "{count}");
}

#[test]
fn a_status_of_another_version_can_be_read() {
    let status = json!({
        "conditions": [{"type": "Running", "status": "True", "reason": "OperationRunning"}],
        "snapshot": {"snapshotRunning": true, "rowsScanned": {"public.a": 3}, "novel": 1},
        "novel": {"a": 1},
    });
    let status: stream_api::StreamStatus = serde_json::from_value(status).unwrap();
    assert_eq!(status.conditions[0].reason, "OperationRunning");
    assert_eq!(
        serde_json::to_value(&status).unwrap(),
        json!({
            "conditions": [{"type": "Running", "status": "True", "reason": "OperationRunning", "message": ""}],
            "snapshot": {"snapshotRunning": true, "rowsScanned": {"public.a": 3}},
        })
    );
}
