//! The reference page: every field, every property and every rule, from the definition and the tables.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use stream_api::properties::{
    EngineProperties, Property, SinkProperties, SourceProperties, Support,
};

const HEAD: &str = "\
# SGStream

<!-- Written by `cargo xtask gen-crds` from the types in `stream-api`. -->

Every field of `SGStream` (`stackgres.io/v1alpha1`, short name `sgstr`), as `kubectl explain sgstream` shows it. Fields that are not marked as required may be left out.
";

/// How the fields begin that hold a table of properties.
const TABLE: &str = "debezium";

/// The tables of properties: heading, where it is in a stream, and rows.
const TABLES: [(&str, &str, &[Property]); 3] = [
    (
        "Properties of a source",
        "`debeziumProperties` of `spec.source.sgCluster` and `spec.source.postgres`",
        SourceProperties::PROPERTIES,
    ),
    (
        "Properties of a PostgreSQL target",
        "`debeziumProperties` of `spec.target.sgCluster`",
        SinkProperties::PROPERTIES,
    ),
    ("Properties of the engine", "`spec.debeziumEngineProperties`", EngineProperties::PROPERTIES),
];

/// The page for a definition.
pub(super) fn page(crd: &Value) -> String {
    let mut page = HEAD.to_owned();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    for (heading, path) in [("Spec", "spec"), ("Status", "status")] {
        let _ = write!(page, "\n## {heading}\n");
        block(&mut page, path, &schema["properties"][path]);
    }
    for (heading, place, rows) in TABLES {
        table(&mut page, heading, place, rows);
    }
    page.push_str("\n## Rules\n\nWhat the API server and `stream-worker validate` refuse beside wrong types, and where.\n\n");
    let mut found = Vec::new();
    rules("", schema, &mut found);
    for (message, places) in found {
        let _ = writeln!(page, "- {message}: {}", places.join(", "));
    }
    page
}

/// The fields of an object in a table, then those of the objects within.
fn block(page: &mut String, path: &str, schema: &Value) {
    let Some(fields) = schema["properties"].as_object() else { return };
    let _ = write!(page, "\n### `{path}`\n\n| field | type | meaning |\n|---|---|---|\n");
    let is_required = |name: &str| {
        schema["required"].as_array().is_some_and(|names| names.iter().any(|one| one == name))
    };
    for (name, field) in fields {
        let required = if is_required(name) { "<br>required" } else { "" };
        let text = field["description"].as_str().unwrap_or_default();
        let _ = writeln!(page, "| `{name}` | {}{required} | {} |", kind(field), cell(text));
    }
    for (name, field) in fields.iter().filter(|(name, field)| is_ours(name, field)) {
        match &field["items"] {
            Value::Object(_) => block(page, &format!("{path}.{name}[]"), &field["items"]),
            _ => block(page, &format!("{path}.{name}"), field),
        }
    }
}

/// Not a table of properties, which has a section of its own; no reference to a key, which is told as its type; and no type of Kubernetes,
/// which explains itself.
fn is_ours(name: &str, field: &Value) -> bool {
    let of = |schema: &Value| schema["properties"].as_object().is_some_and(is_explained);
    !name.starts_with(TABLE) && !is_reference(field) && !of(field) && !of(&field["items"])
}

fn is_reference(field: &Value) -> bool {
    field["properties"].as_object().is_some_and(|fields| fields.keys().eq(["key", "name"]))
}

fn is_explained(fields: &Map<String, Value>) -> bool {
    fields.values().any(|field| {
        field["description"].as_str().is_some_and(|text| text.contains("`kubectl explain "))
    })
}

fn table(page: &mut String, heading: &str, place: &str, rows: &[Property]) {
    let _ = write!(
        page,
        "\n## {heading}\n\n{place}.\n\n| property | default | meaning | here |\n|---|---|---|---|\n"
    );
    for property in rows {
        let default = property.default.map(|text| format!("`{text}`")).unwrap_or_default();
        let mut here = match property.support {
            Support::Honoured => "honoured".to_owned(),
            Support::Ignored(reason) => format!("no effect: {reason}"),
            Support::Rejected(reason) => format!("refused: {reason}"),
        };
        if let Some((_, message)) = property.rule {
            here = format!("{here}; {message}");
        }
        let (name, dotted) = (property.name, property.dotted_name());
        let text = cell(property.text);
        let _ = writeln!(page, "| `{name}`<br>`{dotted}` | {default} | {text} | {} |", cell(&here));
    }
}

/// The rules of an object and of all within, save those about properties, which the tables tell.
fn rules<'a>(path: &str, schema: &'a Value, found: &mut Vec<(&'a str, Vec<String>)>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let place = format!("{path}{}", rule["fieldPath"].as_str().unwrap_or_default());
        let place = if place.is_empty() { ".metadata" } else { &place };
        let place = format!("`{}`", place.trim_start_matches('.'));
        let message = rule["message"].as_str().unwrap_or_default();
        match found.iter_mut().find(|(known, _)| *known == message) {
            Some((_, places)) => places.push(place),
            None => found.push((message, vec![place])),
        }
    }
    let fields = schema["properties"].as_object().into_iter().flatten();
    for (name, field) in fields.filter(|(name, _)| !name.starts_with(TABLE)) {
        rules(&format!("{path}.{name}"), field, found);
    }
}

/// What a value looks like, in a word or two.
fn kind(schema: &Value) -> String {
    if schema["x-kubernetes-int-or-string"] == true {
        return "string or integer".to_owned();
    }
    if is_reference(schema) {
        return "object with `name` and `key`".to_owned();
    }
    let name = schema["type"].as_str().unwrap_or("any");
    match (&schema["items"], &schema["additionalProperties"]) {
        (Value::Object(_), _) => format!("list of {}", kind(&schema["items"])),
        (_, Value::Object(_)) => format!("map of {}", kind(&schema["additionalProperties"])),
        _ => name.to_owned(),
    }
}

/// A text in a cell: a table has no lines of its own.
fn cell(text: &str) -> String {
    text.trim()
        .replace('|', "\\|")
        .replace("\n\n- ", "<br>• ")
        .replace("\n- ", "<br>• ")
        .replace("\n\n", "<br>")
        .replace('\n', " ")
}
