//! Finds and runs `pg_dump`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::SchemaError;

/// Where the child looks for programs (Debian's `pg_dump` is a script that starts another).
const SEARCH_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// Nobody waits longer behind another session's lock on a table: the error names the table, and a stream tries again.
const LOCK_WAIT: &str = "--lock-wait-timeout=5s";
/// Lines of `pg_dump`'s own words that an error repeats.
const LAST_WORDS: usize = 20;

/// A `pg_dump` that is new enough for the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PgDump {
    path: PathBuf,
    major: u32,
}

impl PgDump {
    /// The oldest `pg_dump` in `directories` that is not older than the source's major version: the
    /// nearer the two are, the less the dump holds that an older target does not understand.
    ///
    /// # Errors
    ///
    /// [`SchemaError::NoPgDump`] when there is none, [`SchemaError::OldPgDump`] when all are older.
    ///
    /// # Cancel safety
    ///
    /// A running `pg_dump --version` is killed.
    pub async fn find(directories: &[PathBuf], server_major: u32) -> Result<Self, SchemaError> {
        let paths = directories.iter().map(|directory| directory.join("pg_dump"));
        let mut paths: Vec<_> = paths.filter(|path| path.is_file()).collect();
        paths.sort_by_key(|path| is_wrapper(path));
        let mut found = Vec::new();
        for path in paths {
            match Self::ask_version(&path).await {
                // None is nearer.
                Ok(Some(major)) if major == server_major => return Ok(Self { path, major }),
                Ok(Some(major)) => found.push(Self { path, major }),
                Ok(None) => tracing::warn!(path = %path.display(), "pg_dump tells no version"),
                Err(error) => tracing::warn!(error = %error, "pg_dump does not run"),
            }
        }
        if found.is_empty() {
            return Err(SchemaError::NoPgDump { directories: directories.to_vec(), server_major });
        }
        let fits = found.iter().filter(|each| each.major >= server_major);
        fits.min_by_key(|each| each.major).cloned().ok_or_else(|| {
            let names: Vec<_> = found
                .iter()
                .map(|each| format!("`{}` (version {})", each.path.display(), each.major))
                .collect();
            SchemaError::OldPgDump { found: names.join(", "), server_major }
        })
    }

    /// The program's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The program's major version.
    #[must_use]
    pub const fn major(&self) -> u32 {
        self.major
    }

    async fn ask_version(path: &Path) -> Result<Option<u32>, SchemaError> {
        let output = command(path)
            .arg("--version")
            .output()
            .await
            .map_err(|source| SchemaError::Start { path: path.to_owned(), source })?;
        Ok(parse_major(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Dumps the whole schema: the archive's bytes.
    pub(super) async fn run(
        &self,
        environment: &[(String, OsString)],
    ) -> Result<Vec<u8>, SchemaError> {
        let output = command(&self.path)
            .args(["--format=custom", "--schema-only", "--no-publications", "--no-subscriptions"])
            .args(["--encoding=UTF8", "--no-password", LOCK_WAIT])
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .output()
            .await
            .map_err(|source| SchemaError::Start { path: self.path.clone(), source })?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(SchemaError::PgDump {
                path: self.path.clone(),
                status: output.status,
                stderr: last_lines(&stderr),
            });
        }
        for line in stderr.lines() {
            tracing::warn!(line, "pg_dump warns");
        }
        Ok(output.stdout)
    }
}

/// Whether it is the script that Debian puts into the `PATH`, which takes longer to start than a dump of a small schema. What it
/// would start is in a directory of its own.
fn is_wrapper(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|path| path.ends_with("pg_wrapper"))
}

/// A child that knows nothing of our environment and dies when nobody waits for it any more.
fn command(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.env_clear().env("PATH", SEARCH_PATH).env("LC_ALL", "C");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// From `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` or `… 19beta1`.
fn parse_major(text: &str) -> Option<u32> {
    let version = text.split_once("(PostgreSQL) ")?.1;
    let digits = version.bytes().take_while(u8::is_ascii_digit).count();
    version.get(..digits)?.parse().ok()
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.trim_end().lines().collect();
    lines.get(lines.len().saturating_sub(LAST_WORDS)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read() {
        let debian = "pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(parse_major(debian), Some(15));
        assert_eq!(parse_major("pg_dump (PostgreSQL) 19beta1\n"), Some(19));
        for other in ["", "pg_dump", "pg_dump (PostgreSQL) ", "pg_dump (PostgreSQL) x"] {
            assert_eq!(parse_major(other), None, "{other}");
        }
    }

    #[test]
    fn only_the_last_words_are_repeated() {
        let text: String = (0..30).map(|number| format!("line {number}\n")).collect();
        let last = last_lines(&text);
        assert_eq!(last.lines().count(), LAST_WORDS);
        assert!(last.ends_with("line 29") && last.starts_with("line 10"), "{last}");
        assert_eq!(last_lines(""), "");
    }
}
