//! Private Kubernetes control planes: `cargo xtask cluster up --control`.
//!
//! Its programs are found, or built once. Its files are in `target/cluster`, one folder for each that runs.

mod build;
pub(crate) mod programs;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use stream_api::throwaway::{self, ControlPlane};

use crate::workspace::Workspace;

/// What to do with a private cluster.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Starts one, and prints how to speak to it.
    Up {
        /// Without a node: etcd, the API server and the controller manager. The only kind so far.
        #[arg(long, required = true)]
        control: bool,
        #[command(flatten)]
        name: Name,
    },
    /// Stops one, and deletes what it holds.
    Down {
        #[command(flatten)]
        name: Name,
    },
    /// Lists those that were started.
    Status,
}

/// One of several clusters.
#[derive(Args)]
pub(crate) struct Name {
    /// Which one; several can run at the same time.
    #[arg(long, default_value = "default", value_parser = parse_name)]
    name: String,
}

/// `cargo xtask cluster`.
pub(crate) fn run(workspace: &Workspace, command: &Command) -> Result<ExitCode> {
    let homes = workspace.target.join("cluster");
    match command {
        Command::Up { control: _, name } => up(&homes.join(&name.name))?,
        Command::Down { name } => {
            let stopped = throwaway::stop(&homes.join(&name.name))?;
            eprintln!("{}: {}", name.name, if stopped { "stopped" } else { "was not running" });
        }
        Command::Status => status(&homes)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn up(home: &Path) -> Result<()> {
    let provided = programs::provide()?;
    let started = Instant::now();
    let control_plane = ControlPlane::start(provided.programs.clone(), home)?;
    let kubeconfig = control_plane.kubeconfig();
    control_plane.let_go()?;
    eprintln!("ready in {:.1} s; logs in {}", started.elapsed().as_secs_f64(), home.display());
    println!("export KUBECONFIG='{}'", kubeconfig.display());
    if let Some(directory) = provided.kubectl_outside_of_path() {
        println!("export PATH='{}':\"$PATH\"", directory.display());
    }
    Ok(())
}

fn status(homes: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(homes) else { return Ok(()) };
    for entry in entries {
        let home = entry.with_context(|| format!("`{}`", homes.display()))?.path();
        let state = match throwaway::running(&home) {
            0 => "stopped; `cargo xtask cluster down` deletes its files".to_owned(),
            running if running < throwaway::PROCESSES => {
                format!("broken: {running} of {} programs run", throwaway::PROCESSES)
            }
            _ => format!("running: {}", home.join("kubeconfig").display()),
        };
        let name = home.file_name().unwrap_or_default();
        println!("{}: {state}", name.display());
    }
    Ok(())
}

/// A name becomes a directory, and must not lead out of its parent.
fn parse_name(name: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err("use letters, digits, `-` and `_`".to_owned());
    }
    Ok(name.to_owned())
}
