//! Finds the programs of a control plane, and builds those that are not installed.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use stream_api::throwaway::{Programs, find, testing};

use super::build;

/// Where Kubernetes developers keep the programs that their tests need.
const ASSETS_VARIABLE: &str = "KUBEBUILDER_ASSETS";
/// Overrides the directory that built programs are kept in, for several checkouts together.
const CACHE_VARIABLE: &str = "SGSTREAM_CACHE";

/// Programs that are there.
pub(crate) struct Provided {
    pub(crate) programs: Programs,
    /// Where they are, in the order in which they were searched.
    directories: Vec<PathBuf>,
}

impl Provided {
    /// The environment that tests read.
    pub(crate) fn variable(&self) -> Result<(&'static str, OsString)> {
        Ok((testing::DIRECTORIES_VARIABLE, env::join_paths(&self.directories)?))
    }

    /// The directory of `kubectl`, when a shell would not find it.
    pub(crate) fn kubectl_outside_of_path(&self) -> Option<&Path> {
        let in_path = find("kubectl", &split(env::var_os("PATH")));
        if in_path.is_some() { None } else { self.programs.kubectl.parent() }
    }
}

/// Finds all programs, or builds those that are missing; says each on a line of the standard error
/// output.
pub(crate) fn provide() -> Result<Provided> {
    let cache = cache()?;
    let built = cache.join(format!("kubernetes-{}", build::version()?));
    let mut directories = split(env::var_os(ASSETS_VARIABLE));
    directories.extend(split(env::var_os("PATH")));
    directories.push(built.clone());
    let missing = || Programs::NAMES.into_iter().filter(|name| find(name, &directories).is_none());
    if missing().next().is_some() {
        let _lock = build::lock(&cache)?;
        // Another run may have built them while this one waited.
        build::build(&missing().collect::<Vec<_>>(), &cache, &built)?;
    }
    let programs = Programs::find(&directories)?;
    let directories = programs.directories(&directories);
    for directory in &directories {
        let here = [directory.clone()];
        let names = Programs::NAMES.into_iter().filter(|name| find(name, &here).is_some());
        eprintln!("{}: in {}", names.collect::<Vec<_>>().join(", "), directory.display());
    }
    Ok(Provided { programs, directories })
}

/// The directory for what takes long to make, outside of every checkout.
fn cache() -> Result<PathBuf> {
    if let Some(directory) = env::var_os(CACHE_VARIABLE) {
        return std::path::absolute(directory).context(CACHE_VARIABLE);
    }
    let home = || env::home_dir().context("the user has no home directory: set `SGSTREAM_CACHE`");
    let caches = match env::var_os("XDG_CACHE_HOME").map(PathBuf::from) {
        Some(directory) if directory.is_absolute() => directory,
        _ if cfg!(target_os = "macos") => home()?.join("Library/Caches"),
        _ => home()?.join(".cache"),
    };
    Ok(caches.join("sgstream"))
}

fn split(directories: Option<OsString>) -> Vec<PathBuf> {
    directories.iter().flat_map(env::split_paths).collect()
}
