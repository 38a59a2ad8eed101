//! Private Kubernetes API servers, for tests and for trying a resource out.
//!
//! In: where the [`Programs`] are. Out: a [`ControlPlane`], that is `etcd`, `kube-apiserver` and
//! `kube-controller-manager`, reachable on one port of 127.0.0.1 with a random token only. There is
//! no node, so no pod ever runs. Nothing here builds or fetches a program.
//!
//! A control plane never outlives the process that started it, unless it is
//! [let go](ControlPlane::let_go). Between each program and its owner runs a pipe, held by a shell
//! that waits for its end; when the owner ends in whatever way, `kill -9` included, the shell
//! kills the program.
//!
//! Everything here blocks, for a few seconds while a control plane starts.

mod control_plane;
mod process;
pub mod testing;

use std::io;
use std::path::{Path, PathBuf};

pub use control_plane::{ControlPlane, PROCESSES, running, stop};

/// Why a control plane cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ControlPlaneError {
    /// A program is in none of the directories.
    #[error("no `{program}` was found: `cargo xtask cluster up --control` finds or builds it")]
    Missing {
        /// The program's name.
        program: &'static str,
    },
    /// Another control plane has its files there.
    #[error(
        "`{home}` exists: another control plane uses it, stop that with `cargo xtask cluster down`"
    )]
    InUse {
        /// The directory.
        home: PathBuf,
    },
    /// A file, directory or program could not be used.
    #[error("`{path}` cannot be used for an API server: {source}")]
    Io {
        /// The file, directory or program.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program ended, or was not ready in time.
    #[error("`{program}` {reason}; the end of its log:\n{log}")]
    Start {
        /// The program's name.
        program: &'static str,
        /// What happened.
        reason: String,
        /// The last lines of its log.
        log: String,
    },
}

impl ControlPlaneError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

/// The programs of a control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// The store of the API server.
    pub etcd: PathBuf,
    /// The API server.
    pub api_server: PathBuf,
    /// What makes pods of Deployments and Jobs, and collects garbage.
    pub controller_manager: PathBuf,
    /// The client.
    pub kubectl: PathBuf,
}

impl Programs {
    /// The names of the programs.
    pub const NAMES: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl"];

    /// Each program from the first of `directories` that has it.
    ///
    /// # Errors
    ///
    /// [`ControlPlaneError::Missing`] names the first program that is nowhere.
    pub fn find(directories: &[PathBuf]) -> Result<Self, ControlPlaneError> {
        let [etcd, api_server, controller_manager, kubectl] = Self::NAMES.map(|program| {
            find(program, directories).ok_or(ControlPlaneError::Missing { program })
        });
        Ok(Self {
            etcd: etcd?,
            api_server: api_server?,
            controller_manager: controller_manager?,
            kubectl: kubectl?,
        })
    }

    /// The directories that [`find`](Self::find) needs to find the same again, in an order that does.
    #[must_use]
    pub fn directories(&self, among: &[PathBuf]) -> Vec<PathBuf> {
        let Self { etcd, api_server, controller_manager, kubectl } = self;
        let programs = [etcd, api_server, controller_manager, kubectl];
        let has_one = |dir: &&PathBuf| programs.iter().any(|path| path.parent() == Some(dir));
        among.iter().filter(has_one).cloned().collect()
    }
}

/// `program` in the first of `directories` that has it.
#[must_use]
pub fn find(program: &str, directories: &[PathBuf]) -> Option<PathBuf> {
    // An empty entry would mean whatever directory the process happens to stand in.
    let directories = directories.iter().filter(|directory| directory.is_absolute());
    directories.map(|directory| directory.join(program)).find(|path| path.is_file())
}
