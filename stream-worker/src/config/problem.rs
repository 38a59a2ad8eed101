//! Collects what is wrong with a stream, so that the user sees all of it at once.

use stream_api::{Problem, Problems};
use stream_core::{Error, ErrorKind};

/// The problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Found(Vec<Problem>);

impl Found {
    /// Adds a problem of the field at `path`.
    pub(crate) fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem::at(path, message));
    }

    /// The value, or `None` after its problem was added.
    pub(crate) fn keep<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.0.push(problem)).ok()
    }

    /// All of them, in the order in which they were found.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.0
    }

    /// Fields of the stream, or what they refer to, cannot be used: all of them are told at once, one a line.
    ///
    /// Message: `<path of the field>`: `<what is wrong>`: `<what to write>`
    ///
    /// Remedy: what each line says; `stream-worker validate -f FILE` tells the same without starting anything.
    pub(crate) fn into_error(self) -> Option<Error> {
        let Self(problems) = self;
        (!problems.is_empty()).then(|| Error::new(ErrorKind::Configuration, Problems(problems)))
    }
}
