//! Headers that the user adds to every request.
//!
//! In: names and templates. Out: headers that cannot break a request, whose values are never shown.

use std::fmt;
use std::sync::Arc;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

/// Headers that belong to the request, beside those that begin with `ce-`.
const RESERVED: [&str; 8] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Why a header cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The name of a header has characters that none may have.
    ///
    /// Remedy: write letters, digits and `-` only.
    #[error("`{name}` is no name of a header: write letters, digits and `-` only")]
    Name {
        /// The name as it was written.
        name: String,
    },
    /// The header belongs to the event or the request itself.
    ///
    /// Remedy: remove it.
    #[error("header `{name}` belongs to the event itself and cannot be set: remove it")]
    Reserved {
        /// The name.
        name: String,
    },
    /// The header is there already, in other letters.
    ///
    /// Remedy: keep one.
    #[error("header `{name}` is given twice, in other letters: keep one")]
    Twice {
        /// The name.
        name: String,
    },
    /// The value would break the request.
    ///
    /// Remedy: remove line ends: `kubectl create secret --from-file` keeps that of the file, `printf %s` makes none.
    #[error(
        "the value of header `{name}` holds a line end or another character that no header may have: remove it; a Secret made \
         from a file often ends in a line end"
    )]
    Value {
        /// The name.
        name: String,
    },
    /// A `${NAME}` has no value: neither the Secret nor, locally, the environment has it.
    ///
    /// Remedy: add the key to the Secret that the message names (or `http.headersSecret`); locally set the variable.
    #[error("header `{name}` needs `${{{variable}}}`, which has no value")]
    Unset {
        /// The header's name.
        name: String,
        /// The variable.
        variable: String,
    },
    /// A `$` begins no variable.
    ///
    /// Remedy: write `${NAME}` for a value, or `$$` for a dollar sign.
    #[error(
        "the value of header `{name}` has a `$` that begins no variable: write `${{NAME}}` for a value, or `$$` for a dollar sign"
    )]
    Dollar {
        /// The header's name.
        name: String,
    },
}

/// Headers of every request.
#[derive(Clone, Debug, Default)]
pub struct Headers(HeaderMap);

impl Headers {
    /// Adds a header. `${NAME}` in `template` stands for the value that `value_of` gives, `$$` for a dollar sign.
    ///
    /// # Errors
    /// [`HeaderError`]. None of them shows a value.
    pub fn add(
        &mut self,
        name: &str,
        template: &str,
        value_of: impl Fn(&str) -> Option<String>,
    ) -> Result<(), HeaderError> {
        let owned = || name.to_owned();
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| HeaderError::Name { name: owned() })?;
        if header.as_str().starts_with("ce-") || RESERVED.contains(&header.as_str()) {
            return Err(HeaderError::Reserved { name: owned() });
        }
        if self.0.contains_key(&header) {
            return Err(HeaderError::Twice { name: owned() });
        }
        let value = expand(name, template, value_of)?;
        let mut value =
            HeaderValue::from_str(&value).map_err(|_| HeaderError::Value { name: owned() })?;
        value.set_sensitive(true);
        self.0.insert(header, value);
        Ok(())
    }

    pub(super) const fn map(&self) -> &HeaderMap {
        &self.0
    }

    pub(super) fn into_map(self) -> HeaderMap {
        self.0
    }
}

/// Reads the headers again; gives `None` when it cannot.
#[derive(Clone)]
pub struct Reread(Arc<dyn Fn() -> Option<Headers> + Send + Sync>);

impl Reread {
    /// Headers come from `read`, which may wait for files.
    #[must_use]
    pub fn new(read: impl Fn() -> Option<Headers> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    pub(super) fn headers(&self) -> Option<Headers> {
        (self.0)()
    }
}

impl fmt::Debug for Reread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reread")
    }
}

fn expand(
    name: &str,
    template: &str,
    value_of: impl Fn(&str) -> Option<String>,
) -> Result<String, HeaderError> {
    let mut expanded = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let variable = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        rest = if let Some(rest) = after.strip_prefix('$') {
            expanded.push('$');
            rest
        } else if let Some((variable, rest)) = variable.filter(|(name, _)| is_variable(name)) {
            let unset =
                || HeaderError::Unset { name: name.to_owned(), variable: variable.to_owned() };
            expanded.push_str(&value_of(variable).ok_or_else(unset)?);
            rest
        } else {
            return Err(HeaderError::Dollar { name: name.to_owned() });
        };
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Keys of a Secret and names of environment variables.
fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(name: &str, template: &str) -> Result<String, HeaderError> {
        let mut headers = Headers::default();
        headers.add(name, template, |variable| match variable {
            "TOKEN" => Some("s3cret".to_owned()),
            "LINES" => Some("one\ntwo: three".to_owned()),
            "DOLLAR" => Some("$${TOKEN}".to_owned()),
            _ => None,
        })?;
        Ok(headers.map().values().next().unwrap().to_str().unwrap().to_owned())
    }

    #[test]
    fn variables_are_replaced_once() {
        for (template, expected) in [
            ("Bearer ${TOKEN}", "Bearer s3cret"),
            ("${TOKEN}${TOKEN}", "s3crets3cret"),
            ("5$$", "5$"),
            ("$${TOKEN}", "${TOKEN}"),
            ("${DOLLAR}", "$${TOKEN}"),
            ("plain", "plain"),
            ("", ""),
        ] {
            assert_eq!(added("Authorization", template).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn what_would_break_a_request_is_refused_by_name_and_without_the_value() {
        let name = |name: &str| name.to_owned();
        for (header, template, expected) in [
            ("A b", "x", HeaderError::Name { name: name("A b") }),
            ("A\r\nB", "x", HeaderError::Name { name: name("A\r\nB") }),
            ("", "x", HeaderError::Name { name: name("") }),
            ("Ce-Id", "x", HeaderError::Reserved { name: name("Ce-Id") }),
            ("CONTENT-TYPE", "x", HeaderError::Reserved { name: name("CONTENT-TYPE") }),
            ("Content-Length", "0", HeaderError::Reserved { name: name("Content-Length") }),
            ("Transfer-Encoding", "x", HeaderError::Reserved { name: name("Transfer-Encoding") }),
            ("X", "a\r\nb: c", HeaderError::Value { name: name("X") }),
            ("X", "a\nb", HeaderError::Value { name: name("X") }),
            ("X", "${LINES}", HeaderError::Value { name: name("X") }),
            ("X", "a\0", HeaderError::Value { name: name("X") }),
            ("X", "${MISSING}", HeaderError::Unset { name: name("X"), variable: name("MISSING") }),
            ("X", "${}", HeaderError::Dollar { name: name("X") }),
            ("X", "${TOKEN", HeaderError::Dollar { name: name("X") }),
            ("X", "$TOKEN", HeaderError::Dollar { name: name("X") }),
            ("X", "5$", HeaderError::Dollar { name: name("X") }),
        ] {
            assert_eq!(added(header, template), Err(expected), "{header}: {template}");
        }
        assert!(added("Host", "orders.demo").is_ok());
    }

    #[test]
    fn values_are_not_shown() {
        let mut headers = Headers::default();
        headers.add("Authorization", "Bearer s3cret", |_| None).unwrap();
        assert!(!format!("{headers:?}").contains("s3cret"), "{headers:?}");
        let twice = headers.add("authorization", "x", |_| None);
        assert_eq!(twice, Err(HeaderError::Twice { name: "authorization".to_owned() }));
    }
}
