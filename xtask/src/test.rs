//! Runs the tests with the servers they need, and counts them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result};

use crate::cluster::programs;
use crate::fetch;
use crate::postgres::{self, Wanted};
use crate::workspace::{Workspace, output};

/// What the path of a test that needs a Kubernetes API server contains.
const ON_A_CLUSTER: &str = "on_a_cluster::";

/// The release of the Python package that reads our requests in a test.
const CLOUDEVENTS_SDK: &str = "2.2.0";

/// What to test.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Against every supported version of PostgreSQL, not just the oldest here and the newest.
    #[arg(long)]
    all_versions: bool,
    /// Leave out, and count, the tests that need a Kubernetes API server.
    #[arg(long)]
    no_cluster: bool,
    /// Only tests whose name contains this.
    filter: Option<String>,
    /// Arguments for the test programs, such as `--nocapture`.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Runs the tests; the last line printed is `N passed, N failed`, and `N left out` where some were.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let Args { all_versions, no_cluster, filter, arguments } = args;
    let wanted = if *all_versions { Wanted::All } else { Wanted::OldestAndNewest };
    let servers = postgres::provide(workspace, &wanted)?;

    let mut left_out = String::new();
    let mut cargo = cargo_test(workspace, filter.as_deref());
    cargo.args(arguments).envs(servers.variables()?).stdout(Stdio::piped());
    if *no_cluster {
        let count = on_a_cluster(workspace, filter.as_deref())?;
        left_out = format!(", {count} left out: they need a cluster");
        cargo.args(["--skip", ON_A_CLUSTER]);
    } else {
        match programs::provide().and_then(|programs| programs.variable()) {
            Ok((name, value)) => drop(cargo.env(name, value)),
            // The tests that need it fail, the others are of interest still.
            Err(error) => eprintln!("error: no API server: {error:#}; or give `--no-cluster`"),
        }
    }
    // The test that needs it fails, the others are of interest still.
    let sdk = workspace.target.join("cloudevents-sdk");
    if let Err(error) = fetch::module("cloudevents", CLOUDEVENTS_SDK, &sdk) {
        eprintln!("error: no CloudEvents SDK: {error:#}");
    }
    cargo.env("STREAM_CLOUDEVENTS_SDK", &sdk);
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
    println!("{} passed, {} failed{left_out}", counted.passed, counted.failed);
    let good = counted.failed == 0 && counted.passed > 0;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `cargo test` for the tests whose name contains `filter`; it takes more arguments for the programs.
fn cargo_test(workspace: &Workspace, filter: Option<&str>) -> Command {
    let mut cargo = workspace.cargo(&["test", "--workspace", "--all-features", "--no-fail-fast"]);
    cargo.args(filter).arg("--");
    cargo
}

/// How many tests need a cluster.
fn on_a_cluster(workspace: &Workspace, filter: Option<&str>) -> Result<usize> {
    let mut list = cargo_test(workspace, filter);
    let listed = output(list.args(["--list", "--format=terse"]))?;
    Ok(count_on_a_cluster(&listed))
}

/// Counts lines such as `on_a_cluster::refused::every_mistake_is_refused: test`.
fn count_on_a_cluster(listed: &str) -> usize {
    listed.lines().filter(|line| line.contains(ON_A_CLUSTER) && line.ends_with(": test")).count()
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

    #[test]
    fn only_tests_on_a_cluster_are_counted_as_left_out() {
        let listed = "lsn::tests::an_lsn_is_read: test\non_a_cluster::updated::a_job_is_kept: test\n\
                      on_a_cluster::listed: test\nsrc/on_a_cluster::rs (line 1): benchmark\n";
        assert_eq!(count_on_a_cluster(listed), 2);
    }
}
