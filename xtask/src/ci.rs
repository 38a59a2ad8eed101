//! Everything a change has to pass, the quick checks first.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;
use crate::{gen_crds, gen_errors, test, tidy};

/// Runs every check and stops at the first that fails.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let clippy = ["clippy", "--workspace", "--all-targets", "--all-features"];
    for (arguments, flags) in [
        (&["fmt", "--all", "--check"][..], ""),
        (&[&clippy[..], &["--", "-D", "warnings"]].concat(), ""),
        (&["doc", "--workspace", "--no-deps", "--all-features"], "-D warnings"),
    ] {
        println!("== cargo {}", arguments.join(" "));
        let mut cargo = workspace.cargo(arguments);
        if !flags.is_empty() {
            cargo.env("RUSTDOCFLAGS", flags);
        }
        if !cargo.status().context("`cargo` cannot be run")?.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    println!("== cargo xtask tidy");
    if tidy::run(workspace)? != ExitCode::SUCCESS {
        return Ok(ExitCode::FAILURE);
    }
    println!("== cargo xtask gen-crds --check");
    if gen_crds::run(workspace, &gen_crds::Args::check())? != ExitCode::SUCCESS {
        return Ok(ExitCode::FAILURE);
    }
    println!("== cargo xtask gen-errors --check");
    if gen_errors::run(workspace, &gen_errors::Args::check())? != ExitCode::SUCCESS {
        return Ok(ExitCode::FAILURE);
    }
    println!("== cargo xtask test");
    test::run(workspace, &test::Args::default())
}
