//! A stream as it would run, as YAML: what is left out filled in, and what becomes of each property. Pure.
//!
//! Never shows what may be a secret: the values of headers, and salts.

use serde_json::{Map, Value, json};
use stream_api::properties::{
    EngineProperties, Property, SinkProperties, SourceProperties, Support,
};
use stream_api::{SGStream, names};

const REDACTED: &str = "[redacted]";
/// Properties whose values hold a salt.
const SALTED: [&str; 2] = ["columnMaskHash", "columnMaskHashV2"];
const STEP: &str = "  ";

/// The document.
///
/// # Errors
/// Never: a stream can be written as JSON.
pub(super) fn document(stream: &SGStream) -> Result<String, serde_json::Error> {
    let mut text = String::from("---\n");
    let metadata = json!({"name": names::name(stream), "namespace": names::namespace(stream)});
    let spec = serde_json::to_value(&stream.spec)?;
    let document = json!({
        "apiVersion": "stackgres.io/v1alpha1",
        "kind": "SGStream",
        "metadata": metadata,
        "spec": spec,
    });
    Writer { stream, text: &mut text }.fields(&document, "", 0);
    Ok(text)
}

struct Writer<'a> {
    stream: &'a SGStream,
    text: &'a mut String,
}

impl Writer<'_> {
    /// Writes the fields of an object that stands at `path`.
    fn fields(&mut self, object: &Value, path: &str, depth: usize) {
        let Value::Object(fields) = object else { return };
        for (name, value) in fields {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if let (Some(rows), Value::Object(set)) = (rows(&path), value) {
                self.line(depth, &format!("{name}:"));
                self.properties(rows, set, depth + 1);
                continue;
            }
            self.field(name, value, &path, depth);
        }
    }

    fn field(&mut self, name: &str, value: &Value, path: &str, depth: usize) {
        let name = word(name);
        match value {
            Value::Null => {}
            Value::Object(fields) if !fields.is_empty() => {
                self.line(depth, &format!("{name}:"));
                self.fields(value, path, depth + 1);
            }
            Value::String(text) if path.contains(".headers.") && !is_reference(text) => {
                self.line(depth, &format!("{name}: {}", word(REDACTED)));
            }
            _ => self.line(depth, &format!("{name}: {}", flow(value))),
        }
    }

    /// Writes every row of a table: those that are set or have a default as a field, the others as a comment.
    fn properties(&mut self, rows: &[Property], set: &Map<String, Value>, depth: usize) {
        for Property { name, text: _, default, support, rule: _ } in rows {
            let effect = match support {
                Support::Honoured => "honoured".to_owned(),
                Support::Ignored(reason) => format!("ignored: {reason}"),
                Support::Rejected(reason) => format!("refused: {reason}"),
            };
            let derived = match *name {
                "slotName" => Some(names::slot(self.stream)),
                // One that is named is the user's own, and kept when the stream completes.
                "publicationName" if !set.contains_key(*name) => {
                    let publication = names::publication(self.stream);
                    self.line(depth, &format!("# {name} is not set: {publication}; {effect}"));
                    continue;
                }
                _ => None,
            };
            let value = match set.get(*name) {
                // Their order counts, and a JSON value has none.
                Some(_) if *name == "transforms" => {
                    serde_json::to_string(&self.stream.spec.debezium_engine_properties.transforms)
                        .ok()
                }
                Some(value) if SALTED.contains(name) && *value != json!({}) => Some(word(REDACTED)),
                Some(value) => Some(flow(value)),
                None => derived.map(|name| word(&name)).or_else(|| Some(by_default((*default)?))),
            };
            match value {
                Some(value) => self.line(depth, &format!("{name}: {value}  # {effect}")),
                None => self.line(depth, &format!("# {name} is not set; {effect}")),
            }
        }
    }

    fn line(&mut self, depth: usize, line: &str) {
        self.text.push_str(&STEP.repeat(depth));
        self.text.push_str(line);
        self.text.push('\n');
    }
}

/// Whether a header's value only refers to another place, which is no secret: `${NAME}`, after a word such as `Bearer` or alone.
fn is_reference(text: &str) -> bool {
    const SCHEMES: [&str; 4] = ["", "Basic ", "Bearer ", "Token "];
    text.split_once("${").is_some_and(|(scheme, rest)| {
        let name = rest.strip_suffix('}').unwrap_or_default();
        SCHEMES.contains(&scheme)
            && !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// The table of the properties at `path`.
fn rows(path: &str) -> Option<&'static [Property]> {
    match path {
        "spec.source.sgCluster.debeziumProperties" | "spec.source.postgres.debeziumProperties" => {
            Some(SourceProperties::PROPERTIES)
        }
        "spec.target.sgCluster.debeziumProperties" => Some(SinkProperties::PROPERTIES),
        "spec.debeziumEngineProperties" => Some(EngineProperties::PROPERTIES),
        _ => None,
    }
}

/// A default as a table has it: JSON, or a text as it is.
fn by_default(text: &str) -> String {
    serde_json::from_str::<Value>(text).map_or_else(|_| word(text), |value| flow(&value))
}

/// A value on one line: JSON, which is YAML too, but for words that need no quotes.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => word(text),
        other => other.to_string(),
    }
}

/// A text that is read back as the same text.
fn word(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    let is_other = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
        .iter()
        .any(|other| text.eq_ignore_ascii_case(other));
    if is_plain && !is_other { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "\
apiVersion: stackgres.io/v1alpha1
kind: SGStream
metadata: {name: orders, namespace: shop}
spec:
  source:
    type: SGCluster
    sgCluster:
      name: here
      includes: ['public\\.orders']
      debeziumProperties: {snapshotMode: no_data, columnMaskHash: {SHA-256: {s4lt: [a.b.c]}}}
  target:
    type: CloudEvent
    cloudEvent:
      http: {url: 'http://e', headers: {X-Key: s3cret, X-Mixed: 's3cret-${TOKEN}', X-Dollar: '$${x}s3cret', Authorization: 'Bearer ${TOKEN}'}}
  pods: {persistentVolume: {size: 1Gi}}
";

    fn written(yaml: &str) -> (SGStream, String) {
        let documents = stream_api::load(&[("s".to_owned(), yaml.to_owned())]).unwrap();
        let stream = documents.streams().next().unwrap();
        (stream.clone(), document(stream).unwrap())
    }

    #[test]
    fn what_is_left_out_is_filled_in_and_what_becomes_of_it_is_said() {
        let (_, text) = written(STREAM);
        for line in [
            "      database: postgres",
            "      includes: [\"public\\\\.orders\"]",
            "        snapshotMode: no_data  # honoured",
            "        slotName: shop_orders  # honoured",
            "        maxBatchSize: 2048  # ignored: ",
            "        # publicationName is not set: shop_orders; honoured",
            "  maxRetries: -1",
            "          Authorization: \"Bearer ${TOKEN}\"",
        ] {
            assert!(text.lines().any(|one| one.starts_with(line)), "{line}\nin\n{text}");
        }
        for secret in ["s3cret", "s4lt"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }

    #[test]
    fn transforms_are_written_in_their_order() {
        let transforms = "debeziumEngineProperties: {transforms: {b: {type: k}, a: {type: m}}}";
        let (_, text) = written(&format!("{STREAM}  {transforms}\n"));
        assert!(text.contains(r#"transforms: {"b":{"type":"k"},"a":{"type":"m"}}"#), "{text}");
    }

    #[test]
    fn what_is_written_reads_back_as_the_same_stream() {
        let yaml = STREAM.replace(", columnMaskHash: {SHA-256: {s4lt: [a.b.c]}}", "");
        let yaml = yaml
            .replace("X-Key: s3cret, X-Mixed: 's3cret-${TOKEN}', X-Dollar: '$${x}s3cret', ", "");
        let (stream, text) = written(&yaml);
        let (again, _) = written(&text);
        assert_eq!(names::slot(&stream), names::slot(&again));
        let publication = |stream: &SGStream| {
            stream.spec.source.kind().unwrap().capture().properties.publication_name.clone()
        };
        assert_eq!(publication(&stream), publication(&again));
        assert_eq!(document(&stream).unwrap(), document(&again).unwrap());
    }
}
