//! The API server's checks of a stream, without an API server: the bounds of the schema, and its CEL rules.
//!
//! In: the YAML of a stream, and what reading it has found already. Out: the rest of what an API server would refuse, at the same
//! fields and with the same sentences. Types, words and unknown fields are not looked at again: reading finds them, and says
//! more. Both come from the one definition of the resource, so that there is no rule here.

use kube::CustomResourceExt as _;
use kube::core::cel::{ErrorKind, Validator};
use serde_json::{Map, Number, Value};

use crate::node::{Data, Node};
use crate::problem::{Problem, advice, nearest};
use crate::stream::SGStream;

/// The schema of the resource. Made for each validation: it is needed once at the start of a worker, and as large as an
/// idle worker may be in all.
fn schema() -> Value {
    let versions = SGStream::crd().spec.versions.into_iter();
    let schemas = versions.filter_map(|version| version.schema?.open_api_v3_schema);
    schemas.filter_map(|schema| serde_json::to_value(schema).ok()).next().unwrap_or_default()
}

/// The schema, made on a thread of its own: an allocator that keeps memory by thread gives it back as a whole afterwards. Beside
/// it the rules' parser allocates what it never frees, small pieces that would keep all pages of the schema.
fn schema_apart() -> Value {
    std::thread::scope(|scope| {
        scope.spawn(schema).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Adds to `problems` what else is wrong with the stream `node`.
pub(crate) fn validate(node: &Node, problems: &mut Vec<Problem>) {
    let schema = schema_apart();
    let mut found = Vec::new();
    bounds(&schema, node, "", &mut found);
    let object = value(node, "", problems).unwrap_or_default();
    let broken = Validator::new().validate(&schema, &object, None).err();
    found.extend(broken.into_iter().flat_map(|errors| errors.into_vec()).filter_map(|error| {
        // Where a value that was told about is missing, a rule may find nothing to look at.
        let is_certain = error.kind == ErrorKind::ValidationFailure || problems.is_empty();
        is_certain
            .then(|| Problem::at(place(node, &error.field_path, &error.message), error.message))
    }));
    tell(node, found, problems);
}

/// Adds to `problems` those of `found` that were not told yet, with their lines.
pub(crate) fn tell(node: &Node, found: Vec<Problem>, problems: &mut Vec<Problem>) {
    for problem in found {
        let (at, exact) = node.nearest(&problem.path);
        if !is_told(&problem.path, exact, problems) {
            problems.push(Problem { line: Some(at.line), ..problem });
        }
    }
}

/// The field that a rule is about. One of the object as a whole begins with it: a rule cannot point into `metadata`.
fn place(node: &Node, path: &str, message: &str) -> String {
    let first = message.split(' ').next().unwrap_or_default();
    let is_about_first = path.is_empty() && !first.is_empty() && node.nearest(first).1;
    if is_about_first { first } else { path }.to_owned()
}

/// Whether the problem of a field follows from one that was told, or is the same. `exact`: the field is there.
fn is_told(path: &str, exact: bool, told: &[Problem]) -> bool {
    let (above, name) = path.rsplit_once('.').unwrap_or(("", path));
    told.iter().any(|told| {
        let (other_above, other) = told.path.rsplit_once('.').unwrap_or(("", &told.path));
        // It is there under a wrong name.
        let is_misspelt = !exact
            && above == other_above
            && told.message.starts_with("unknown field")
            && nearest(other, &[name]).is_some();
        told.path == path || is_misspelt
    })
}

/// The value of a node, without the fields that were told about, and without those that have none.
fn value(node: &Node, path: &str, told: &[Problem]) -> Option<Value> {
    if !path.is_empty() && told.iter().any(|told| told.path == path) {
        return None;
    }
    Some(match &node.data {
        Data::Null => return None,
        Data::Boolean(value) => (*value).into(),
        Data::Integer(value) => match (i64::try_from(*value), u64::try_from(*value)) {
            (Ok(value), _) => value.into(),
            (_, Ok(value)) => value.into(),
            (Err(_), Err(_)) => return None,
        },
        Data::Number(value) => Number::from_f64(*value).map_or(Value::Null, Value::Number),
        Data::Text(value) => value.as_str().into(),
        Data::List(items) => {
            let items = items.iter().enumerate();
            items.filter_map(|(index, item)| value(item, &item_path(path, index), told)).collect()
        }
        Data::Map(entries) => {
            let values = entries.iter().filter_map(|(key, child)| {
                Some((key.clone(), value(child, &field_path(path, key), told)?))
            });
            Value::Object(values.collect::<Map<_, _>>())
        }
    })
}

/// Adds the values that are smaller, larger, shorter or longer than `schema` allows.
fn bounds(schema: &Value, node: &Node, path: &str, problems: &mut Vec<Problem>) {
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    let mut add = |message: String| problems.push(Problem::at(path, message));
    match &node.data {
        Data::Null | Data::Boolean(_) => {}
        #[expect(
            clippy::cast_precision_loss,
            reason = "bounds are far below what a float counts exactly"
        )]
        Data::Integer(value) => number(*value as f64, bound, add),
        // The types of Kubernetes' own read more than the API server takes.
        Data::Number(_) if schema["x-kubernetes-int-or-string"] == true => {
            add("expected an integer or a string, found a number: put it in quotes".to_owned());
        }
        Data::Number(value) => number(*value, bound, add),
        Data::Text(text) => {
            let length = size(text.chars().count());
            if let Some(least) = bound("minLength").filter(|least| length < *least) {
                add(format!("should be at least {least} chars long"));
            }
            if let Some(most) = bound("maxLength").filter(|most| length > *most) {
                add(format!("may not be more than {most} bytes"));
            }
        }
        Data::List(items) => {
            if let Some(least) = bound("minItems").filter(|least| size(items.len()) < *least) {
                add(format!("should have at least {least} items"));
            }
            if let Some(most) = bound("maxItems").filter(|most| size(items.len()) > *most) {
                add(format!("must have at most {most} items"));
            }
            let Some(schema) = schema.get("items") else { return };
            for (index, item) in items.iter().enumerate() {
                bounds(schema, item, &item_path(path, index), problems);
            }
        }
        Data::Map(entries) => {
            if let Some(least) = bound("minProperties").filter(|least| size(entries.len()) < *least)
            {
                add(format!("should have at least {least} properties"));
            }
            if let Some(most) = bound("maxProperties").filter(|most| size(entries.len()) > *most) {
                add(format!("must have at most {most} items"));
            }
            for name in
                schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str)
            {
                let is_there = |(key, child): &(String, Node)| {
                    key == name && !matches!(child.data, Data::Null)
                };
                if !entries.iter().any(is_there) {
                    problems.push(Problem::at(field_path(path, name), "required field is missing"));
                }
            }
            let fields = schema.get("properties").and_then(Value::as_object);
            // Who writes a stream has no say in its status.
            for (key, child) in
                entries.iter().filter(|(key, _)| !path.is_empty() || key != "status")
            {
                let path = field_path(path, key);
                let known = fields.and_then(|fields| fields.get(key));
                match (known.or_else(|| schema.get("additionalProperties")), fields) {
                    (Some(schema), _) => bounds(schema, child, &path, problems),
                    // The types of Kubernetes' own are read without a look at what else is there.
                    (None, Some(fields)) if path.starts_with("spec.") => {
                        let fields: Vec<&str> = fields.keys().map(String::as_str).collect();
                        let message = format!("unknown field `{key}`, {}", advice(key, &fields));
                        problems.push(Problem::at(path, message));
                    }
                    (None, _) => {}
                }
            }
        }
    }
}

fn number(value: f64, bound: impl Fn(&str) -> Option<f64>, mut add: impl FnMut(String)) {
    if let Some(least) = bound("minimum").filter(|least| value < *least) {
        add(format!("should be greater than or equal to {least}"));
    }
    if let Some(most) = bound("maximum").filter(|most| value > *most) {
        add(format!("should be less than or equal to {most}"));
    }
}

#[expect(clippy::cast_precision_loss, reason = "no text is that long")]
const fn size(count: usize) -> f64 {
    count as f64
}

fn field_path(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn item_path(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the checks above, or reading, or Kubernetes' own storage look after.
    const LOOKED_AFTER: [&str; 19] = [
        "additionalProperties",
        "default",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "nullable",
        "properties",
        "required",
        "title",
        "type",
    ];

    fn walk(schema: &Value, path: &str, look: &mut impl FnMut(&str, &str)) {
        let Value::Object(node) = schema else { return };
        for (key, value) in node {
            look(path, key);
            match key.as_str() {
                "properties" => {
                    let Value::Object(properties) = value else { continue };
                    for (name, child) in properties {
                        walk(child, &field_path(path, name), look);
                    }
                }
                "items" | "additionalProperties" => walk(value, &format!("{path}[]"), look),
                _ => {}
            }
        }
    }

    #[test]
    fn the_schema_asks_for_nothing_that_nobody_looks_at() {
        let mut nodes = 0;
        walk(&schema(), "", &mut |path, key| {
            nodes += 1;
            let is_known = LOOKED_AFTER.contains(&key) || key.starts_with("x-kubernetes-");
            assert!(is_known, "`{key}` at `{path}`");
        });
        assert!(nodes > 500, "only {nodes} words in the schema");
    }

    #[test]
    fn every_rule_can_be_compiled_here() {
        let compiled = kube::core::cel::compile_schema(&schema());
        assert!(!compiled.has_errors(), "{:?}", compiled.compilation_errors());
    }
}
