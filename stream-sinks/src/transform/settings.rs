//! The settings of one transform or predicate, as somebody wrote them.

use std::collections::BTreeMap;

use super::TransformError;

/// Settings by name, taken one after another; what is left at the end is not known.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Where they stand: `transforms.unwrap`.
    path: String,
    values: BTreeMap<String, String>,
    known: Vec<&'static str>,
}

impl Settings {
    /// Names may be written `addFields` or `add.fields`.
    pub(crate) fn new(path: String, values: &BTreeMap<String, String>) -> Self {
        let values = values.iter().map(|(name, value)| (dotted(name), value.clone())).collect();
        Self { path, values, known: Vec::new() }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn take(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        self.values.remove(name)
    }

    pub(crate) fn required(&mut self, name: &'static str) -> Result<String, TransformError> {
        let path = &self.path;
        let missing = TransformError::Missing { path: format!("{path}.{name}") };
        self.take(name).filter(|value| !value.is_empty()).ok_or(missing)
    }

    /// A list, separated by commas.
    pub(crate) fn list(&mut self, name: &'static str) -> Vec<String> {
        let text = self.take(name).unwrap_or_default();
        text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    }

    pub(crate) fn flag(&mut self, name: &'static str) -> Result<bool, TransformError> {
        let text = self.take(name);
        self.word(name, text.as_deref().unwrap_or("false"), &[("true", true), ("false", false)])
    }

    /// One of some words.
    pub(crate) fn word<T: Copy>(
        &self,
        name: &str,
        text: &str,
        words: &[(&str, T)],
    ) -> Result<T, TransformError> {
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        found.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            self.invalid(name, text, &format!("use one of {}", words.join(", ")))
        })
    }

    pub(crate) fn invalid(&self, name: &str, value: &str, remedy: &str) -> TransformError {
        TransformError::Value {
            path: format!("{}.{name}", self.path),
            value: value.to_owned(),
            remedy: remedy.to_owned(),
        }
    }

    /// The end: what was not taken is a mistake, or something that is not supported.
    pub(crate) fn finish(self) -> Result<(), TransformError> {
        match self.values.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(TransformError::Unknown {
                path: format!("{}.{name}", self.path),
                known: self.known.join(", "),
            }),
        }
    }
}

/// A dot before each capital, all in lower case.
fn dotted(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() && !text.ends_with('.') {
            text.push('.');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}
