//! Writes what follows from the types of the resource: its definition for Kubernetes, and the reference page.

mod page;

use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde_json::{Number, Value};
use stream_api::{CustomResourceExt as _, SGStream};

use crate::workspace::Workspace;

/// Where the definition is.
const CRD: &str = "deploy/crds/sgstreams.yaml";
const PAGE: &str = "docs/reference/sgstream.md";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// `-` writes the definition to standard output, and no file.
    #[arg(value_parser = ["-"])]
    output: Option<String>,
    /// Write nothing, and fail where a file differs.
    #[arg(long, conflicts_with = "output")]
    check: bool,
}

impl Args {
    /// `--check`.
    pub(crate) fn check() -> Self {
        Self { output: None, check: true }
    }
}

/// Writes the files, or compares them.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let mut crd = serde_json::to_value(SGStream::crd())?;
    integers(&mut crd);
    let yaml = serde_saphyr::to_string(&crd)?;
    if args.output.is_some() {
        // A reader that has seen enough closes the pipe.
        return match std::io::stdout().write_all(yaml.as_bytes()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
            Ok(()) | Err(_) => Ok(ExitCode::SUCCESS),
        };
    }
    let crd_text =
        format!("# Written by `cargo xtask gen-crds` from the types in `stream-api`.\n{yaml}");
    let mut code = ExitCode::SUCCESS;
    for (name, text) in [(CRD, crd_text), (PAGE, page::page(&crd))] {
        let path = workspace.root.join(name);
        if !args.check {
            write(&path, &text)?;
            println!("{name}: {} bytes", text.len());
        } else if std::fs::read_to_string(&path).unwrap_or_default() != text {
            println!("{name}: differs from the types in `stream-api`: run `cargo xtask gen-crds`");
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// Writes a file, and its folder where there is none.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("`{}`", folder.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("`{}`", path.display()))
}

/// Bounds are numbers with a fraction in Kubernetes' types, and whole in ours.
fn integers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Ok(whole) = number.to_string().trim_end_matches(".0").parse::<i64>() {
                *number = Number::from(whole);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(integers),
        Value::Object(fields) => fields.values_mut().for_each(integers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}
