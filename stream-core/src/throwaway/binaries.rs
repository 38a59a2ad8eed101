//! Finds installations of PostgreSQL.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::ServerError;

/// The programs of one PostgreSQL server: at least `postgres` and `initdb`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The directory that holds the programs.
    pub dir: PathBuf,
    /// The major version, such as 15.
    pub major: u16,
}

/// A client program, such as `pg_dump`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The program.
    pub path: PathBuf,
    /// Its major version, such as 15.
    pub major: u16,
}

/// Where packages put PostgreSQL: a parent, the beginning of a name in it, and the rest.
const PACKAGES: [(&str, &str, &str); 5] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/local", "pgsql", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
];

impl Binaries {
    /// The server whose programs are in `dir`, or which links there point to.
    ///
    /// # Errors
    ///
    /// [`ServerError::Io`] without a `postgres` that runs, [`ServerError::Version`] when it does
    /// not tell its version.
    pub fn at(dir: &Path) -> Result<Self, ServerError> {
        let program = dir.join("postgres");
        let major = major_of(&program)?;
        // The real directory has the client programs too, which links often leave out.
        let program = program.canonicalize().map_err(ServerError::io(&program))?;
        let real = program.parent().filter(|real| real.join("initdb").is_file());
        Ok(Self { dir: real.unwrap_or(dir).to_owned(), major })
    }

    /// All servers in the directories of `path`, a list like the `PATH` variable's, and then in
    /// the places where packages put them; sorted by version, and as found within one.
    #[must_use]
    pub fn find_all(path: Option<&OsStr>) -> Vec<Self> {
        Self::among(directories(path))
    }

    /// All servers in the directories of `path`, and nowhere else; sorted by version.
    #[must_use]
    pub fn in_path(path: &OsStr) -> Vec<Self> {
        Self::among(std::env::split_paths(path))
    }

    /// One server of [`find_all`](Self::find_all): of version `major`, or the newest.
    ///
    /// # Errors
    ///
    /// [`ServerError::NoServer`] when there is none.
    pub fn find(path: Option<&OsStr>, major: Option<u16>) -> Result<Self, ServerError> {
        Self::choose(Self::find_all(path), major)
    }

    /// One of `servers`: of version `major`, or the newest.
    ///
    /// # Errors
    ///
    /// [`ServerError::NoServer`] when there is none.
    pub fn choose(servers: Vec<Self>, major: Option<u16>) -> Result<Self, ServerError> {
        let wanted = major.or(servers.iter().map(|server| server.major).max());
        let found = servers.into_iter().find(|server| Some(server.major) == wanted);
        found.ok_or(ServerError::NoServer { major })
    }

    fn among(directories: impl IntoIterator<Item = PathBuf>) -> Vec<Self> {
        let mut seen = HashSet::new();
        let mut servers: Vec<_> = directories
            .into_iter()
            .filter(|dir| dir.join("initdb").is_file())
            .filter_map(|dir| Self::at(&dir).ok())
            .filter(|server| seen.insert(server.dir.clone()))
            .collect();
        servers.sort_by_key(|server| server.major);
        servers
    }
}

impl Client {
    /// The client program `program` for servers up to `at_least_major`, searched like
    /// [`Binaries::find_all`]; of several the oldest that will do, whose output most servers read.
    ///
    /// # Errors
    ///
    /// [`ServerError::NoClient`] when there is none.
    pub fn find(
        program: &str,
        at_least_major: u16,
        path: Option<&OsStr>,
    ) -> Result<Self, ServerError> {
        directories(path)
            .into_iter()
            .map(|dir| dir.join(program))
            .filter_map(|path| Some(Self { major: major_of(&path).ok()?, path }))
            .filter(|client| client.major >= at_least_major)
            .min_by_key(|client| client.major)
            .ok_or_else(|| ServerError::NoClient { program: program.to_owned(), at_least_major })
    }
}

/// Where programs of PostgreSQL may be: the directories of `path`, then those of the system's packages. Runs none of them, which takes
/// longer than the start of a stream may.
#[must_use]
pub fn directories(path: Option<&OsStr>) -> Vec<PathBuf> {
    // An empty entry would mean whatever directory the process happens to stand in.
    let entries = path.map(std::env::split_paths).into_iter().flatten();
    let mut directories: Vec<_> = entries.filter(|entry| !entry.as_os_str().is_empty()).collect();
    for (parent, prefix, rest) in PACKAGES {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        let named = entries.filter(|entry| {
            entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix))
        });
        directories.extend(named.map(|entry| entry.path().join(rest)));
    }
    directories
}

fn major_of(program: &Path) -> Result<u16, ServerError> {
    let output =
        Command::new(program).arg("--version").output().map_err(ServerError::io(program))?;
    let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    parse_major(&answer).ok_or_else(|| ServerError::Version { program: program.to_owned(), answer })
}

/// Reads the 15 of `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn parse_major(answer: &str) -> Option<u16> {
    let (_, version) = answer.split_once("(PostgreSQL) ")?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_every_kind_of_release() {
        for (answer, major) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", Some(15)),
            ("pg_dump (PostgreSQL) 18beta1", Some(18)),
            ("postgres (PostgreSQL) 19devel", Some(19)),
            ("psql (PostgreSQL) ", None),
            ("cockroach 24.1", None),
            ("", None),
        ] {
            assert_eq!(parse_major(answer), major, "{answer}");
        }
    }

    #[test]
    fn the_newest_server_is_chosen_unless_a_version_is_wanted() {
        let server = |major| Binaries { dir: PathBuf::from(format!("/{major}")), major };
        let servers = vec![server(15), server(18)];
        assert_eq!(Binaries::choose(servers.clone(), None).unwrap(), server(18));
        assert_eq!(Binaries::choose(servers.clone(), Some(15)).unwrap(), server(15));
        let error = Binaries::choose(servers, Some(16)).unwrap_err().to_string();
        assert!(error.starts_with("no PostgreSQL server of version 16 was found"), "{error}");
    }
}
