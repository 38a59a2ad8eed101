//! Reads a user's files.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::documents::{Document, Documents};
use crate::metadata::Metadata;
use crate::node::{self, Data, Node};
use crate::problem::{Problem, Problems, list, nearest};
use crate::read::read;
use crate::stream::{SGStream, StreamSpec};
use crate::validate::{tell, validate};

/// Every kind that is read, with its `apiVersion`.
const KINDS: [(&str, &str); 4] = [
    ("SGStream", "stackgres.io/v1alpha1"),
    ("SGCluster", "stackgres.io/v1"),
    ("Secret", "v1"),
    ("ConfigMap", "v1"),
];

/// Reads the documents in `files`, each a name and a text with any number of YAML documents. Empty documents are skipped.
///
/// # Errors
/// Every problem in every file. Of a file that is not YAML, only that.
pub fn load(files: &[(String, String)]) -> Result<Documents, Problems> {
    load_with(files, |_| Vec::new())
}

/// As [`load`], with a further look at each stream: what `more` finds is told with the rest, at its line. The stream may lack what was
/// told about already.
///
/// # Errors
/// As [`load`].
pub fn load_with(
    files: &[(String, String)],
    more: impl Fn(&SGStream) -> Vec<Problem>,
) -> Result<Documents, Problems> {
    let mut loaded = Vec::new();
    let mut problems = Vec::new();
    for (file, text) in files {
        let mut found = Vec::new();
        match node::documents(text) {
            Ok(nodes) => {
                for node in &nodes {
                    let mut mistakes = Vec::new();
                    if let Some(document) = document(node, &more, &mut mistakes) {
                        let line = node.nearest("metadata.name").0.line;
                        let place = format!("{file}:{line}");
                        mistakes.extend(same(&document, line, &loaded));
                        loaded.push((document, place));
                    }
                    mistakes.sort_by_key(|problem| problem.line);
                    found.append(&mut mistakes);
                }
            }
            Err(problem) => found.push(problem),
        }
        problems.extend(
            found.into_iter().map(|problem| Problem { file: Some(file.clone()), ..problem }),
        );
    }
    if problems.is_empty() {
        Ok(Documents(loaded.into_iter().map(|(document, _)| document).collect()))
    } else {
        Err(Problems(problems))
    }
}

/// What says how to read the rest of a document.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: Option<String>,
    kind: Option<String>,
}

/// A stream as it is written in a file: without unknown fields at the top, and its status left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stream {
    metadata: Metadata,
    spec: StreamSpec,
    #[serde(rename = "status")]
    _status: Option<IgnoredAny>,
}

impl From<Stream> for SGStream {
    fn from(stream: Stream) -> Self {
        let Stream { metadata, spec, _status } = stream;
        Self { metadata: metadata.into(), spec, status: None }
    }
}

fn document(
    node: &Node,
    more: impl Fn(&SGStream) -> Vec<Problem>,
    problems: &mut Vec<Problem>,
) -> Option<Document> {
    Some(match kind(node, problems)? {
        "SGStream" => {
            let stream = read::<Stream>(node, problems).map(SGStream::from);
            validate(node, problems);
            let stream = stream?;
            tell(node, more(&stream), problems);
            Document::SGStream(Box::new(stream))
        }
        "SGCluster" => Document::SGCluster(read(node, problems)?),
        "Secret" => Document::Secret(read(node, problems)?),
        _ => Document::ConfigMap(read(node, problems)?),
    })
}

/// Reads `kind` and `apiVersion`, and sets them aside.
fn kind(node: &Node, problems: &mut Vec<Problem>) -> Option<&'static str> {
    let Head { api_version, kind } = read(node, problems)?;
    let kinds = KINDS.map(|(kind, _)| kind);
    let mut tell = |path: &str, message: String| {
        let (at, exact) = node.nearest(path);
        if !(exact && at.done.get()) {
            problems.push(Problem { line: Some(at.line), ..Problem::at(path, message) });
        }
    };
    let Some(kind) = kind else {
        tell("kind", format!("required field is missing: write one of {}", list(kinds)));
        return None;
    };
    let Some((kind, expected)) = KINDS.into_iter().find(|(known, _)| *known == kind) else {
        let remedy = match nearest(&kind, &kinds) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("remove the document; kinds that are read are {}", list(kinds)),
        };
        tell("kind", format!("`{kind}` is not read here: {remedy}"));
        return None;
    };
    match api_version {
        None => tell("apiVersion", format!("required field is missing: write `{expected}`")),
        Some(found) if found != expected => tell(
            "apiVersion",
            format!("`{found}` is not the version of `{kind}` that is read: write `{expected}`"),
        ),
        Some(_) => {}
    }
    if let Data::Map(entries) = &node.data {
        for (_, head) in entries.iter().filter(|(key, _)| key == "kind" || key == "apiVersion") {
            head.done.set(true);
        }
    }
    Some(kind)
}

/// The problem that an earlier document has the same kind, namespace and name.
fn same(document: &Document, line: usize, loaded: &[(Document, String)]) -> Option<Problem> {
    let (kind, namespace, name) = (document.kind(), document.namespace(), document.name());
    let (_, place) = loaded.iter().find(|(earlier, _)| {
        (earlier.kind(), earlier.namespace(), earlier.name()) == (kind, namespace, name)
    })?;
    let message =
        format!("{kind} `{namespace}/{name}` is already at {place}: rename or remove one");
    Some(Problem { line: Some(line), ..Problem::at("metadata.name", message) })
}
