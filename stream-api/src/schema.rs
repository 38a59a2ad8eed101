//! Makes the schema of our types one that Kubernetes takes, and that `kubectl explain` shows well.
//!
//! The derived schema says in JSON Schema's words what Kubernetes has other words for, or none: `null` beside a type, formats of Rust's integers, a
//! list of variants each with its text. Defaults that are numbers or words are kept: the API server writes them into the object, so that a user
//! sees what is used.

use schemars::Schema;
use schemars::transform::{Transform, transform_subschemas};
use serde_json::{Map, Value};

/// Rewrites a schema and all within. Set on the types of `spec` and `status`.
pub(crate) fn structural(schema: &mut Schema) {
    transform_subschemas(&mut structural, schema);
    let Some(node) = schema.as_object_mut() else { return };
    drop_null(node);
    collect_words(node);
    bound_integer(node);
    if let Some(Value::String(text)) = node.get_mut("description") {
        *text = reflowed(text);
    }
    for key in ["items", "additionalProperties"] {
        // The text of a type is for those who read the code; the field says what its entries are. Words have no other place.
        if let Some(Value::Object(entry)) = node.get_mut(key)
            && !entry.contains_key("enum")
        {
            entry.remove("description");
        }
    }
    if node.get("additionalProperties") == Some(&Value::Bool(false)) {
        node.remove("additionalProperties");
    }
    if node.get("default").is_some_and(|default| !default.is_number() && !default.is_string()) {
        node.remove("default");
    }
}

/// A field that may be left out. For Kubernetes `null` is the same as left out, so that the type says nothing of it.
fn drop_null(node: &mut Map<String, Value>) {
    if let Some(Value::Array(choices)) = node.get("anyOf").cloned() {
        let mut some = choices.into_iter().filter(|choice| choice["type"] != "null");
        if let (Some(Value::Object(only)), None) = (some.next(), some.next()) {
            node.remove("anyOf");
            for (key, value) in only {
                node.entry(key).or_insert(value);
            }
        }
    }
    if let Some(Value::Array(types)) = node.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            node.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(words)) = node.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
}

/// The variants of an enum: a list of words, and what each means at the end of the description.
fn collect_words(node: &mut Map<String, Value>) {
    let Some(Value::Array(variants)) = node.get("oneOf") else { return };
    let words: Vec<Value> =
        variants.iter().filter_map(|variant| variant.get("const").cloned()).collect();
    if words.is_empty() || words.len() != variants.len() {
        return;
    }
    let mut text = node.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    text.push('\n');
    for variant in variants {
        if let (Some(word), Some(meaning)) =
            (variant["const"].as_str(), variant["description"].as_str())
        {
            text.push_str(&format!("\n- `{word}`: {}", meaning.replace('\n', " ")));
        }
    }
    node.insert("description".to_owned(), text.into());
    node.insert("type".to_owned(), "string".into());
    node.insert("enum".to_owned(), words.into());
    node.remove("oneOf");
}

/// The bounds of Rust's integers instead of their names, which Kubernetes does not know.
fn bound_integer(node: &mut Map<String, Value>) {
    let largest = match node.get("format").and_then(Value::as_str) {
        Some("uint16") => Some(u64::from(u16::MAX)),
        Some("uint32") => Some(u64::from(u32::MAX)),
        Some("uint64") => None,
        _ => return,
    };
    node.remove("format");
    if let Some(largest) = largest {
        node.entry("maximum").or_insert(largest.into());
    }
}

/// Lines of a paragraph joined; paragraphs and lists stay.
fn reflowed(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines().map(str::trim) {
        let is_new = line.is_empty() || line.starts_with("- ");
        if !out.is_empty() {
            out.push(if is_new || out.ends_with('\n') { '\n' } else { ' ' });
        }
        out.push_str(line);
    }
    out
}

/// What is inside of a type of Kubernetes' own: instead of a copy of its texts, the command that shows them.
pub(crate) struct Explained(pub(crate) &'static str);

impl Transform for Explained {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(node) = schema.as_object_mut() {
            explain(node, self.0);
        }
    }
}

/// Goes down to properties, items and values of a map; only properties have a step of their own in the path.
fn explain(node: &mut Map<String, Value>, path: &str) {
    for key in ["items", "additionalProperties"] {
        if let Some(Value::Object(inner)) = node.get_mut(key) {
            inner.remove("description");
            explain(inner, path);
        }
    }
    if let Some(Value::Object(properties)) = node.get_mut("properties") {
        for (name, inner) in properties {
            let Value::Object(inner) = inner else { continue };
            let path = format!("{path}.{name}");
            inner.insert(
                "description".to_owned(),
                format!("As in a pod. See `kubectl explain {path}`.").into(),
            );
            explain(inner, &path);
        }
    }
}
