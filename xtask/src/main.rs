//! Tasks of this repository: `cargo xtask --help` lists them.

mod bench;
mod ci;
mod cluster;
mod compare;
mod demo;
mod fetch;
mod gen_crds;
mod gen_errors;
mod mutants;
mod postgres;
mod shapes;
mod test;
mod tidy;
mod torture;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use workspace::Workspace;

/// Tasks of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Copies and follows a database under load, and compares it with its copy.
    Demo(demo::Args),
    /// Everything a change has to pass: formatting, lints, tidiness, documentation, tests.
    Ci,
    /// Runs all tests against real PostgreSQL servers, which it fetches where none is installed.
    Test(test::Args),
    /// Checks what the compiler does not: forbidden edges, orphan files, file sizes, escapes.
    Tidy,
    /// Writes the resource's definition and its reference page from the types in `stream-api`.
    GenCrds(gen_crds::Args),
    /// Writes the page of all errors, and names those that are not explained.
    GenErrors(gen_errors::Args),
    /// Measures streams against what PostgreSQL brings along.
    Bench(bench::Args),
    /// Runs streams through faults, seed by seed, and looks whether anything is lost, doubled or torn.
    Torture(torture::Args),
    /// Streams every shape of table between every pair of server versions, and compares both ends.
    Shapes(shapes::Args),
    /// Puts known bugs of other products into a copy of the tree, and looks whether a test notices each.
    Mutants(mutants::Args),
    /// Finds or fetches PostgreSQL servers and client programs.
    Postgres(postgres::Args),
    /// Starts a private Kubernetes API server, whose programs it builds where none are installed.
    #[command(subcommand)]
    Cluster(cluster::Command),
}

fn main() -> Result<ExitCode> {
    let command = Args::parse().command;
    let workspace = Workspace::load()?;
    match command {
        Command::Demo(args) => demo::run(&workspace, &args),
        Command::Ci => ci::run(&workspace),
        Command::Test(args) => test::run(&workspace, &args),
        Command::Tidy => tidy::run(&workspace),
        Command::GenCrds(args) => gen_crds::run(&workspace, &args),
        Command::GenErrors(args) => gen_errors::run(&workspace, &args),
        Command::Bench(args) => bench::run(&workspace, &args),
        Command::Torture(args) => torture::run(&workspace, &args),
        Command::Shapes(args) => shapes::run(&workspace, &args),
        Command::Mutants(args) => mutants::run(&workspace, &args),
        Command::Postgres(args) => postgres::run(&workspace, &args),
        Command::Cluster(command) => cluster::run(&workspace, &command),
    }
}
