//! What is wrong in a user's document, and where.
//!
//! A message names the thing and the remedy. It never repeats a text that the user wrote as a value, save a word that was to be one of a
//! few: a password in the wrong place stays out of logs.

use std::fmt;

/// One mistake. Prints as `stream.yaml:12: spec.source.sgCluster.databse: unknown field …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file it is in; none when it was not found while reading a file.
    pub file: Option<String>,
    /// The line in the file, from 1; none when not known.
    pub line: Option<usize>,
    /// The field, as `spec.source.sgCluster.includes[1]`; empty for the document as a whole.
    pub path: String,
    /// What is wrong and what to do: lower case, no full stop.
    pub message: String,
}

impl Problem {
    /// A problem of the field at `path`, not yet tied to a file.
    pub fn at(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: None, line: None, path: path.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line}: ")?,
            (Some(file), None) => write!(f, "{file}: ")?,
            (None, _) => {}
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// Every problem found, in the order of files and lines. Prints one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Problems {}

/// `did you mean …` when one of `known` is near to `word`, otherwise the list of them.
pub(crate) fn advice(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("expected one of {}", list(known.iter().copied())),
    }
}

/// The one of `known` that `word` was probably meant to be: up to a third of its letters mistyped, whatever their case.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .iter()
        .map(|name| (strsim::osa_distance(&word, &name.to_lowercase()), *name))
        .filter(|(distance, name)| *distance * 3 <= name.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Names in backticks, with commas between.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
