//! Runs the tests with the servers they need, and counts them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, Result};

use crate::postgres::{self, Wanted};
use crate::workspace::Workspace;

/// What to test.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Against every supported version of PostgreSQL, not just the oldest here and the newest.
    #[arg(long)]
    all_versions: bool,
    /// Only tests whose name contains this.
    filter: Option<String>,
    /// Arguments for the test programs, such as `--nocapture`.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Runs the tests; the last line printed is `N passed, N failed`.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let Args { all_versions, filter, arguments } = args;
    let wanted = if *all_versions { Wanted::All } else { Wanted::OldestAndNewest };
    let servers = postgres::provide(workspace, &wanted)?;

    let mut cargo = workspace.cargo(&["test", "--workspace", "--all-features", "--no-fail-fast"]);
    cargo.args(filter).arg("--").args(arguments);
    cargo.envs(servers.variables()?).stdout(Stdio::piped());
    let mut child = cargo.spawn().context("`cargo` cannot be run")?;
    let output = child.stdout.take().context("`cargo test` has no output")?;
    let mut counted = Counted::default();
    // A test's output need not be UTF-8.
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("the output of `cargo test`")?;
        println!("{}", String::from_utf8_lossy(&line));
        counted.add(&String::from_utf8_lossy(&line));
    }
    let success = child.wait().context("`cargo test`")?.success();

    if !success && counted.failed == 0 {
        eprintln!("error: `cargo test` failed without a failed test, see above: counted as one");
        counted.failed = 1;
    }
    if counted.passed + counted.failed == 0 {
        eprintln!("error: no test ran");
    }
    std::io::stdout().flush()?;
    println!("{} passed, {} failed", counted.passed, counted.failed);
    let good = counted.failed == 0 && counted.passed > 0;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The sum over all test programs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    passed: u64,
    failed: u64,
}

impl Counted {
    /// Adds a line such as `test result: ok. 12 passed; 0 failed; 0 ignored; …`.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        for part in result.split([';', '.']) {
            match part.trim().split_once(' ') {
                Some((count, "passed")) => self.passed += count.parse().unwrap_or(0),
                Some((count, "failed")) => self.failed += count.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_all_programs_are_summed_and_other_lines_ignored() {
        let mut counted = Counted::default();
        for line in [
            "running 3 tests",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; \
             finished in 1.25s",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out",
            "the test result: ok. 100 passed; 100 failed",
        ] {
            counted.add(line);
        }
        assert_eq!(counted, Counted { passed: 15, failed: 2 });
    }
}
