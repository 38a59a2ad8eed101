//! What was found, told line by line and counted.

use stream_api::Problem;
use stream_core::finding::{Finding, Weight};

use crate::show::say;
use crate::supervise::{BAD_INPUT, FAILED};

/// The number of things found so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Streams that were looked at.
    pub(super) streams: usize,
    aside: bool,
    problems: usize,
    unknown: usize,
    warnings: usize,
}

impl Report {
    /// Nothing was found yet. `aside`: the standard output is for something else.
    pub(super) fn new(aside: bool) -> Self {
        Self { aside, ..Self::default() }
    }

    /// Tells a line that is no finding.
    pub(super) fn line(&self, line: &str) {
        match self.aside {
            true => eprintln!("{line}"),
            false => say(line),
        }
    }

    /// Tells a mistake in a file.
    pub(super) fn problem(&mut self, problem: &Problem) {
        self.problems += 1;
        self.line(&problem.to_string());
    }

    /// Tells what may surprise.
    pub(super) fn warn(&mut self, message: &str) {
        self.warnings += 1;
        self.line(&format!("warning: {message}"));
    }

    /// Tells what was found at one end, `source` or `target`.
    pub(super) fn finding(&mut self, end: &str, finding: &Finding) {
        let (count, word) = match finding.weight {
            Weight::Unknown => (&mut self.unknown, "error"),
            Weight::Blocking => (&mut self.problems, "error"),
            Weight::Warning => (&mut self.warnings, "warning"),
        };
        *count += 1;
        self.line(&format!("{word}: {end}: {finding}"));
    }

    /// What the process ends with: what has to be changed weighs more than what another attempt may tell.
    pub(super) const fn exit_code(&self) -> u8 {
        match (self.problems, self.unknown) {
            (0, 0) => 0,
            (0, _) => FAILED,
            (_, _) => BAD_INPUT,
        }
    }

    /// The last line.
    pub(super) fn summary(&self) -> String {
        let Self { streams, aside: _, problems, unknown, warnings } = *self;
        let mut parts = Vec::new();
        let mut add = |count: usize, one: &str, several: &str| {
            if count > 0 {
                parts.push(format!("{count} {}", if count == 1 { one } else { several }));
            }
        };
        add(problems, "problem to solve first", "problems to solve first");
        add(
            unknown,
            "question without an answer: try again",
            "questions without an answer: try again",
        );
        if problems + unknown == 0 {
            add(
                streams,
                "stream, nothing stands in its way",
                "streams, nothing stands in their way",
            );
        }
        add(warnings, "warning", "warnings");
        parts.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_says_whether_another_attempt_may_help() {
        let report = |problems, unknown| Report { problems, unknown, ..Report::default() };
        assert_eq!(
            [report(0, 0), report(0, 1), report(1, 1)].map(|one| one.exit_code()),
            [0, 1, 2]
        );
    }
}
