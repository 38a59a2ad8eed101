//! The manifests beside the tests, and changes to them.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

/// One of `invalid.yaml`, which explains the fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mistake {
    pub(crate) claim: String,
    pub(crate) of: String,
    pub(crate) patch: Value,
    pub(crate) path: String,
    pub(crate) message: String,
    pub(crate) by: By,
}

/// Who says what is said about a mistake.
#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    /// A rule of the definition.
    Rule,
    /// The API server, in its own words.
    Schema,
}

/// The text of a manifest, by its name without `.yaml`.
pub(crate) fn text(name: &str) -> String {
    let path = folder().join(format!("{name}.yaml"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The `SGStream` of a manifest.
pub(crate) fn stream(name: &str) -> Value {
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text(name)).unwrap();
    let mut streams = documents.into_iter().filter(|document| document["kind"] == "SGStream");
    streams.next().unwrap_or_else(|| panic!("`{name}` has no SGStream"))
}

/// All mistakes.
pub(crate) fn mistakes() -> Vec<Mistake> {
    serde_saphyr::from_str(&text("invalid")).unwrap()
}

/// The names of all whole manifests.
pub(crate) fn all() -> Vec<String> {
    let mut names = Vec::new();
    for prefix in ["", "upstream/"] {
        for entry in std::fs::read_dir(folder().join(prefix)).unwrap() {
            let file = entry.unwrap().file_name().into_string().unwrap();
            if let Some(name) = file.strip_suffix(".yaml")
                && name != "invalid"
                && !name.ends_with(".fragment")
            {
                names.push(format!("{prefix}{name}"));
            }
        }
    }
    names.sort();
    names
}

/// Changes `value` as [a JSON merge patch](https://www.rfc-editor.org/rfc/rfc7386) says: null removes.
pub(crate) fn patch(value: &mut Value, change: &Value) {
    let Value::Object(change) = change else {
        *value = change.clone();
        return;
    };
    if !value.is_object() {
        *value = Value::Object(serde_json::Map::new());
    }
    let Value::Object(fields) = value else { unreachable!("made an object above") };
    for (name, change) in change {
        if change.is_null() {
            fields.remove(name);
        } else {
            patch(fields.entry(name).or_insert(Value::Null), change);
        }
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/manifests")
}
